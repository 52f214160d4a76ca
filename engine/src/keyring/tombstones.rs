//! Who was forgotten, written down outside the database: a restored backup must not bring anybody back.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use kernel::Subject;
use uuid::Uuid;

/// The file's name in a data directory.
pub const FILE: &str = "tombstones";

/// The tombstones can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TombstonesError {
    #[error("{path} can't be used")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("line {line} of {path} names nobody: expected `person` or `tenant`, an id and a time")]
    Malformed { path: PathBuf, line: usize },
}

/// A file that is only appended to: a line for each subject, ids and times only. One process at a time may have it.
#[derive(Debug)]
pub struct Tombstones {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    file: File,
    subjects: BTreeSet<Subject>,
}

impl Tombstones {
    /// Reads the file, made if there is none. A last line that a crash tore off is written anew when it is due again.
    ///
    /// # Errors
    /// [`TombstonesError`]
    pub fn open(path: &Path) -> Result<Self, TombstonesError> {
        let io = |source| TombstonesError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).read(true).mode(0o600).open(path).map_err(io)?;
        let text = std::fs::read_to_string(path).map_err(io)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut subjects = BTreeSet::new();
        for (line, number) in text[..whole].lines().zip(1..) {
            let subject = parse(line);
            let subject =
                subject.ok_or(TombstonesError::Malformed { path: path.to_owned(), line: number })?;
            subjects.insert(subject);
        }
        if whole < text.len() {
            file.set_len(whole as u64).map_err(io)?;
        }
        file.flush().and_then(|()| file.sync_all()).map_err(io)?;
        if let Some(directory) = path.parent() {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), kept: Mutex::new(Kept { file, subjects }) })
    }

    /// Writes a subject down; durable when it returns. Once is enough.
    ///
    /// # Errors
    /// [`TombstonesError::Io`]
    pub fn keep(&self, subject: Subject, now: DateTime<Utc>) -> Result<(), TombstonesError> {
        let mut kept = self.lock();
        if kept.subjects.contains(&subject) {
            return Ok(());
        }
        let now = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let line = format!("{} {} {now}\n", subject.kind(), subject.id());
        let written = kept.file.write_all(line.as_bytes()).and_then(|()| kept.file.sync_all());
        written.map_err(|source| TombstonesError::Io { path: self.path.clone(), source })?;
        kept.subjects.insert(subject);
        Ok(())
    }

    /// Everybody who was ever forgotten here.
    pub fn all(&self) -> Vec<Subject> {
        self.lock().subjects.iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> Option<Subject> {
    let mut words = line.split(' ');
    let subject = Subject::from_kind(words.next()?, Uuid::try_parse(words.next()?).ok()?)?;
    DateTime::parse_from_rfc3339(words.next()?).ok()?;
    words.next().is_none().then_some(subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{PersonId, TenantId};

    #[test]
    fn who_was_forgotten_is_remembered_by_id_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (ann, acme) =
            (Subject::Person(PersonId(Uuid::from_u128(1))), Subject::Tenant(TenantId(Uuid::from_u128(1))));
        let tombstones = Tombstones::open(&path).unwrap();
        tombstones.keep(ann, DateTime::UNIX_EPOCH).unwrap();
        tombstones.keep(acme, DateTime::UNIX_EPOCH).unwrap();
        tombstones.keep(ann, DateTime::UNIX_EPOCH).unwrap();
        drop(tombstones);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("person 00000000-0000-0000-0000-000000000001 1970-01-01T00:00:00.000Z\n"));
        assert_eq!(Tombstones::open(&path).unwrap().all(), [ann, acme]);
    }

    #[test]
    fn a_torn_line_is_dropped_and_a_strange_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let whole = "person 00000000-0000-0000-0000-000000000001 1970-01-01T00:00:00.000Z\n";
        std::fs::write(&path, format!("{whole}tenant 0000")).unwrap();
        let tombstones = Tombstones::open(&path).unwrap();
        assert_eq!(tombstones.all().len(), 1);
        tombstones.keep(Subject::Person(PersonId(Uuid::nil())), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(Tombstones::open(&path).unwrap().all().len(), 2);
        std::fs::write(&path, "dragon\n").unwrap();
        assert!(matches!(Tombstones::open(&path), Err(TombstonesError::Malformed { line: 1, .. })));
    }
}
