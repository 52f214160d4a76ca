//! The data directory: one server at a time, the node's id, and the witness of the journal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use engine::witness::{Found, Sighting, Witness, WitnessError, replace_file};
use kernel::Ids;
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
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error(
        "{refusal}.\n\
         Correct DATABASE_URL or TENANTRY_DATA_DIR, or restore what is missing. If this journal is meant, accept it on \
         purpose, once: tenantry serve --accept-journal {seen}"
    )]
    NotTheJournal { refusal: Box<WitnessError>, seen: String },
}

/// The data directory of a running process; nobody else can have it meanwhile.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
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

    /// The witness of the journal that this directory goes with.
    ///
    /// # Errors
    /// [`DataDirError::Witness`]: it can't be read.
    pub fn witness(&self) -> Result<Witness, DataDirError> {
        Ok(Witness::open(self.path.join(WITNESS))?)
    }

    /// Refuses a journal that is not the one the witness has seen. `accepted` names the sighting that is to be given
    /// up, as an earlier refusal told it; for any other one it does nothing, so it harms nobody if it stays set.
    ///
    /// # Errors
    /// [`DataDirError::NotTheJournal`] tells what to do, [`DataDirError::Witness`].
    pub fn recognise(
        witness: &Witness,
        found: Option<&Found>,
        accepted: Option<&str>,
    ) -> Result<(), DataDirError> {
        let Err(refusal) = witness.recognise(found) else { return Ok(()) };
        match refusal.seen().map(Sighting::to_string) {
            Some(seen) if accepted == Some(seen.as_str()) => {
                let found = found.map(|found| found.head.to_string());
                tracing::warn!(seen, found, "another journal than was seen is accepted on purpose");
                Ok(())
            }
            Some(seen) => Err(DataDirError::NotTheJournal { seen, refusal: Box::new(refusal) }),
            None => Err(refusal.into()),
        }
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
        let path = self.path.join(name);
        replace_file(&path, content).map_err(io(&path))
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DataDirError + '_ {
    move |source| DataDirError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::clock::SystemIds;
    use engine::witness::Place;
    use kernel::{EventId, Position, ShardId};

    /// A journal that ends at a position; what the witness has seen is not in it.
    fn found(journal: u128, position: u64) -> Found {
        let place = Place { position: Position(position), event: Some(EventId(Uuid::from_u128(7))) };
        let head = Sighting { journal: Uuid::from_u128(journal), shards: [(ShardId(0), place)].into() };
        Found { head, witnessed: [(ShardId(0), None)].into() }
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
    fn a_journal_is_accepted_only_by_naming_what_speaks_against_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        let (first, older, forked, other) = (found(1, 9), found(1, 5), found(1, 12), found(2, 1));
        let witness = data.witness().unwrap();
        witness.replace(first.head.clone()).unwrap();
        let named = first.head.to_string();
        for found in [Some(&older), Some(&forked), Some(&other), None] {
            let refused = DataDir::recognise(&witness, found, None).unwrap_err();
            assert!(refused.to_string().contains(&format!("--accept-journal {named}")), "{refused}");
            DataDir::recognise(&witness, found, Some("")).unwrap_err();
            DataDir::recognise(&witness, found, Some(&older.head.to_string())).unwrap_err();
            DataDir::recognise(&witness, found, Some(&named)).unwrap();
        }
        // Once accepted, the same word accepts nothing more.
        witness.replace(older.head).unwrap();
        DataDir::recognise(&witness, Some(&self::found(1, 4)), Some(&named)).unwrap_err();
    }
}
