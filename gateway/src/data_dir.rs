//! The data directory: one server at a time, the node's id, and the witness of the journal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kernel::{Ids, Position};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const LOCK: &str = "server.lock";
const NODE: &str = "node.id";
const WITNESS: &str = "journal.witness";
const ANNOUNCEMENT: &str = "server.json";

/// The data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{path} can't be used")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another process uses the data directory {path}: {holder}")]
    InUse { path: PathBuf, holder: String },
    #[error("{path} does not hold a node's id; remove it, and the node gets another one")]
    NodeId { path: PathBuf },
    #[error("{path} can't be understood; remove it only if you know that the database is the right one")]
    Witness { path: PathBuf },
    #[error(
        "the database holds another journal ({found}) than this data directory has seen ({expected}).\n\
         Either DATABASE_URL or TENANTRY_DATA_DIR is wrong. If the journal was replaced on purpose, remove {path}"
    )]
    OtherJournal { expected: Uuid, found: Uuid, path: PathBuf },
    #[error(
        "the journal in the database ends at position {found}, but position {expected} has been acknowledged.\n\
         An older backup was restored, or commits were lost. If that is known and meant, remove {path}"
    )]
    OlderJournal { expected: Position, found: Position, path: PathBuf },
}

/// The data directory of a running process; nobody else can have it meanwhile.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// What the journal was when it was last seen, kept outside the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    pub journal: Uuid,
    /// The highest position known to be acknowledged.
    pub position: Position,
}

/// How the last server was reached, for commands that are told nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Where the API is served.
    pub url: String,
    /// The issuer of its tokens.
    pub issuer: String,
}

impl Announcement {
    /// What the last server with this data directory said; `None` if there was none.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(data_dir.join(ANNOUNCEMENT)).ok()?).ok()
    }
}

impl DataDir {
    /// Takes the directory, made if there is none.
    ///
    /// # Errors
    /// [`DataDirError::InUse`], [`DataDirError::Io`].
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        if !path.exists() {
            // Root's is entered by the user PostgreSQL runs as.
            let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
            std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io(path))?;
        }
        let path = path.canonicalize().map_err(io(path))?;
        let file = path.join(LOCK);
        let mut options = OpenOptions::new();
        let mut lock = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&file)
            .map_err(io(&file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = std::fs::read_to_string(&file).unwrap_or_default();
                let holder = match holder.trim() {
                    "" => "it has not said which one".to_owned(),
                    holder => holder.to_owned(),
                };
                return Err(DataDirError::InUse { path, holder });
            }
            Err(TryLockError::Error(source)) => return Err(DataDirError::Io { path: file, source }),
        }
        let holder = format!("process {}\n", std::process::id());
        lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes())).map_err(io(&file))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This node's id, as the lease names it. Kept, so that a restart need not wait for its own lease to lapse.
    ///
    /// # Errors
    /// The file can't be read, or holds no id.
    pub fn node(&self, ids: &dyn Ids) -> Result<Uuid, DataDirError> {
        let file = self.path.join(NODE);
        match std::fs::read_to_string(&file) {
            Ok(text) => Uuid::try_parse(text.trim()).map_err(|_| DataDirError::NodeId { path: file }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let node = ids.fresh();
                self.replace(NODE, format!("{node}\n").as_bytes())?;
                Ok(node)
            }
            Err(source) => Err(DataDirError::Io { path: file, source }),
        }
    }

    /// Refuses a database whose journal is not the one that was seen, or an older copy of it.
    ///
    /// # Errors
    /// [`DataDirError::OtherJournal`], [`DataDirError::OlderJournal`], [`DataDirError::Witness`].
    pub fn recognise(&self, now: Witness) -> Result<(), DataDirError> {
        let path = self.path.join(WITNESS);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return self.witness(now),
            Err(source) => return Err(DataDirError::Io { path, source }),
        };
        let Ok(seen) = serde_json::from_str::<Witness>(&text) else {
            return Err(DataDirError::Witness { path });
        };
        if seen.journal != now.journal {
            return Err(DataDirError::OtherJournal { expected: seen.journal, found: now.journal, path });
        }
        if seen.position > now.position {
            return Err(DataDirError::OlderJournal { expected: seen.position, found: now.position, path });
        }
        Ok(())
    }

    /// Writes down what the journal is now.
    ///
    /// # Errors
    /// [`DataDirError::Io`]
    pub fn witness(&self, now: Witness) -> Result<(), DataDirError> {
        let text = serde_json::to_string(&now).expect("an id and a number are JSON");
        self.replace(WITNESS, text.as_bytes())
    }

    /// Tells later commands how this server is reached.
    ///
    /// # Errors
    /// [`DataDirError::Io`]
    pub fn announce(&self, announcement: &Announcement) -> Result<(), DataDirError> {
        let text = serde_json::to_string(announcement).expect("texts are JSON");
        self.replace(ANNOUNCEMENT, text.as_bytes())
    }

    /// Replaces a file as a whole, so that a crash leaves the old or the new one.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), DataDirError> {
        let (path, beside) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(true).write(true).mode(0o600).open(&beside).map_err(io(&beside))?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(io(&beside))?;
        std::fs::rename(&beside, &path).map_err(io(&path))
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DataDirError + '_ {
    move |source| DataDirError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::clock::SystemIds;

    fn seen(journal: u128, position: u64) -> Witness {
        Witness { journal: Uuid::from_u128(journal), position: Position(position) }
    }

    #[test]
    fn two_servers_never_share_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::take(dir.path()).unwrap();
        let refused = DataDir::take(dir.path()).unwrap_err();
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        DataDir::take(dir.path()).unwrap();
    }

    #[test]
    fn a_node_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        let node = data.node(&SystemIds).unwrap();
        assert_eq!(data.node(&SystemIds).unwrap(), node);
    }

    #[test]
    fn a_server_tells_how_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Announcement::read(dir.path()), None);
        let told = Announcement { url: "http://127.0.0.1:9000".into(), issuer: "https://t.example".into() };
        DataDir::take(dir.path()).unwrap().announce(&told).unwrap();
        assert_eq!(Announcement::read(dir.path()), Some(told));
    }

    #[test]
    fn another_journal_or_an_older_one_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        data.recognise(seen(1, 5)).unwrap();
        data.witness(seen(1, 9)).unwrap();
        data.recognise(seen(1, 9)).unwrap();
        data.recognise(seen(1, 12)).unwrap();
        assert!(matches!(data.recognise(seen(1, 8)), Err(DataDirError::OlderJournal { .. })));
        assert!(matches!(data.recognise(seen(2, 9)), Err(DataDirError::OtherJournal { .. })));
        std::fs::write(dir.path().join(WITNESS), "{").unwrap();
        assert!(matches!(data.recognise(seen(1, 9)), Err(DataDirError::Witness { .. })));
    }
}
