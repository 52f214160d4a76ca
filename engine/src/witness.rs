//! The witness: what the journal was when it was last seen, kept in a file outside the database.
//!
//! A database can be restored from an older backup, or another one can stand behind the same address. Neither can tell
//! by itself; the witness can. It may lag behind the journal but never leads it: what it names was committed before it
//! was written, so a crash at any instant leaves a witness that the true journal satisfies.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kernel::{EventId, Position, ShardId};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

/// A journal, and how far each of its shards is known to be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub journal: Uuid,
    pub shards: BTreeMap<ShardId, Place>,
}

/// A position, and the event that stands there: a copy that was written on has other events at the same positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub position: Position,
    /// `None` before the first event.
    pub event: Option<EventId>,
}

impl std::fmt::Display for Sighting {
    /// `journal@shard:position:event,…`, one word, so that it can be given as a flag.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@", self.journal)?;
        for (index, (shard, place)) in self.shards.iter().enumerate() {
            write!(f, "{}{}:{}", if index > 0 { "," } else { "" }, shard.0, place.position)?;
            if let Some(event) = place.event {
                write!(f, ":{}", event.0)?;
            }
        }
        Ok(())
    }
}

/// What a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub head: Sighting,
    /// Which events stand where the witness has seen some.
    pub witnessed: BTreeMap<ShardId, Option<EventId>>,
}

/// The journal is not the one that was seen, or the witness can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error("{path} can't be used")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} can't be understood; remove it only if you know that the database is the right one")]
    Unreadable { path: PathBuf },
    #[error("the database holds no journal, but {path} has seen one ({seen}): this is another database")]
    NoJournal { seen: Sighting, path: PathBuf },
    #[error("the database holds another journal ({found}) than {path} has seen ({seen})")]
    OtherJournal { seen: Sighting, found: Sighting, path: PathBuf },
    #[error(
        "shard {shard} of the journal ends at position {found}, but position {acknowledged} has been acknowledged, says \
         {path}: an older backup was restored, or commits were lost", shard = shard.0
    )]
    OlderJournal { seen: Sighting, shard: ShardId, found: Position, acknowledged: Position, path: PathBuf },
    #[error(
        "position {acknowledged} of shard {shard} holds another event than was acknowledged there, says {path}: an older \
         backup was restored and has been written to since", shard = shard.0
    )]
    ForkedJournal { seen: Sighting, shard: ShardId, acknowledged: Position, path: PathBuf },
}

impl WitnessError {
    /// What was seen, if that is what speaks against the journal: naming it accepts the journal on purpose.
    pub fn seen(&self) -> Option<&Sighting> {
        match self {
            Self::Io { .. } | Self::Unreadable { .. } => None,
            Self::NoJournal { seen, .. }
            | Self::OtherJournal { seen, .. }
            | Self::OlderJournal { seen, .. }
            | Self::ForkedJournal { seen, .. } => Some(seen),
        }
    }
}

/// The file, and what it says.
#[derive(Debug)]
pub struct Witness {
    path: PathBuf,
    seen: Mutex<Option<Sighting>>,
}

impl Witness {
    /// Reads the file; none is fine, then nothing was seen yet.
    ///
    /// # Errors
    /// [`WitnessError::Io`], [`WitnessError::Unreadable`].
    pub fn open(path: PathBuf) -> Result<Self, WitnessError> {
        let seen = match std::fs::read_to_string(&path) {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(seen) => Some(seen),
                Err(_) => return Err(WitnessError::Unreadable { path }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(WitnessError::Io { path, source }),
        };
        Ok(Self { path, seen: Mutex::new(seen) })
    }

    /// What the database holds now; `None` if it is no journal at all.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn look(&self, client: &Client) -> Result<Option<Found>, tokio_postgres::Error> {
        let there = client.query_one("SELECT to_regclass('journal_identity') IS NOT NULL", &[]).await?;
        if !there.get::<_, bool>(0) {
            return Ok(None);
        }
        let mut head = None;
        for row in client.query(include_str!("journal/sql/sighting.sql"), &[]).await? {
            let head = head.get_or_insert_with(|| Sighting { journal: row.get(0), shards: BTreeMap::new() });
            let position = Position(u64::try_from(row.get::<_, i64>(2)).unwrap_or(0));
            let event = row.get::<_, Option<Uuid>>(3).map(EventId);
            head.shards.insert(ShardId(row.get(1)), Place { position, event });
        }
        let Some(head) = head else { return Ok(None) };
        let mut witnessed = BTreeMap::new();
        for (shard, place) in self.seen().map(|seen| seen.shards).unwrap_or_default() {
            let position = i64::try_from(place.position.0).unwrap_or(i64::MAX);
            let at = "SELECT event_id FROM events WHERE shard = $1 AND position = $2";
            let row = client.query_opt(at, &[&shard.0, &position]).await?;
            witnessed.insert(shard, row.map(|row| EventId(row.get(0))));
        }
        Ok(Some(Found { head, witnessed }))
    }

    /// Compares what the database holds with what was seen. Writes nothing.
    ///
    /// # Errors
    /// [`WitnessError::NoJournal`], [`WitnessError::OtherJournal`], [`WitnessError::OlderJournal`],
    /// [`WitnessError::ForkedJournal`].
    pub fn recognise(&self, found: Option<&Found>) -> Result<(), WitnessError> {
        let (Some(seen), path) = (self.seen(), self.path.clone()) else { return Ok(()) };
        let Some(found) = found else { return Err(WitnessError::NoJournal { seen, path }) };
        if found.head.journal != seen.journal {
            return Err(WitnessError::OtherJournal { seen, found: found.head.clone(), path });
        }
        for (&shard, place) in &seen.shards {
            let now = found.head.shards.get(&shard).copied().unwrap_or_default().position;
            let acknowledged = place.position;
            if now < acknowledged {
                return Err(WitnessError::OlderJournal { seen, shard, found: now, acknowledged, path });
            }
            if found.witnessed.get(&shard).copied().flatten() != place.event {
                return Err(WitnessError::ForkedJournal { seen, shard, acknowledged, path });
            }
        }
        Ok(())
    }

    /// What was seen so far.
    pub fn seen(&self) -> Option<Sighting> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes down what is found now, whatever was seen before: the journal is new, or was accepted on purpose.
    ///
    /// # Errors
    /// [`WitnessError::Io`]
    pub fn replace(&self, found: Sighting) -> Result<(), WitnessError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&found)?;
        *seen = Some(found);
        Ok(())
    }

    /// Writes down how far each shard is now known to be acknowledged, durably. Never goes back, ignores another
    /// journal, and writes nothing if all of it was known. Blocks for an fsync: keep it off the hot path.
    ///
    /// # Errors
    /// [`WitnessError::Io`]; what was written before stays.
    pub fn observe(&self, found: &Sighting) -> Result<(), WitnessError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = seen.as_mut().filter(|known| known.journal == found.journal) else { return Ok(()) };
        let mut next = known.clone();
        for (shard, place) in &found.shards {
            let known = next.shards.entry(*shard).or_default();
            if known.position < place.position {
                *known = *place;
            }
        }
        if next != *known {
            self.write(&next)?;
            *known = next;
        }
        Ok(())
    }

    fn write(&self, sighting: &Sighting) -> Result<(), WitnessError> {
        let failed = |source| WitnessError::Io { path: self.path.clone(), source };
        let text = serde_json::to_string(sighting).map_err(|error| failed(error.into()))?;
        replace_file(&self.path, text.as_bytes()).map_err(failed)
    }
}

/// Replaces a file (mode 0600) as a whole and durably: a crash leaves the old one or the new one, never a part.
///
/// # Errors
/// The file beside it can't be written, or not be put in its place.
pub fn replace_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        // The new name is durable only when the directory is.
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(0);

    fn place(fork: u128, position: u64) -> Place {
        let event = (position > 0).then(|| EventId(Uuid::from_u128(fork << 64 | u128::from(position))));
        Place { position: Position(position), event }
    }

    /// A journal that ends at a position, with the events of a fork.
    fn sighting(journal: u128, position: u64) -> Sighting {
        Sighting { journal: Uuid::from_u128(journal), shards: [(SHARD, place(0, position))].into() }
    }

    /// What `witness` would find if the database held that.
    fn found(witness: &Witness, head: Sighting, fork: u128) -> Option<Found> {
        let seen = witness.seen().map(|seen| seen.shards).unwrap_or_default();
        let there =
            |shard: &ShardId, position| head.shards.get(shard).is_some_and(|head| position <= head.position);
        let event = |(shard, seen): (&ShardId, &Place)| {
            (*shard, place(fork, seen.position.0).event.filter(|_| there(shard, seen.position)))
        };
        Some(Found { witnessed: seen.iter().map(event).collect(), head })
    }

    fn in_a_directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.witness");
        (directory, path)
    }

    #[test]
    fn another_journal_an_older_one_a_fork_and_none_at_all_are_recognised() {
        let (_directory, path) = in_a_directory();
        let witness = Witness::open(path.clone()).unwrap();
        witness.recognise(found(&witness, sighting(1, 5), 0).as_ref()).expect("nothing was seen yet");
        witness.recognise(None).expect("nothing was seen yet");
        witness.replace(sighting(1, 5)).unwrap();
        witness.observe(&sighting(1, 9)).unwrap();
        // What counts is what a restarted process reads.
        let witness = Witness::open(path).unwrap();
        let look = |journal, position, fork| {
            witness.recognise(found(&witness, sighting(journal, position), fork).as_ref())
        };
        look(1, 9, 0).unwrap();
        look(1, 12, 0).unwrap();
        let older = look(1, 8, 0).unwrap_err();
        assert!(
            matches!(older, WitnessError::OlderJournal { found: Position(8), acknowledged: Position(9), .. }),
            "{older}"
        );
        assert_eq!(older.seen(), Some(&sighting(1, 9)));
        // Restored to before the ninth event, and written on.
        for position in [9, 12] {
            assert!(matches!(look(1, position, 1), Err(WitnessError::ForkedJournal { .. })), "{position}");
        }
        assert!(matches!(look(2, 99, 0), Err(WitnessError::OtherJournal { .. })));
        assert!(matches!(witness.recognise(None), Err(WitnessError::NoJournal { .. })));
    }

    #[test]
    fn a_witness_never_goes_back_nor_over_to_another_journal() {
        let (_directory, path) = in_a_directory();
        let witness = Witness::open(path.clone()).unwrap();
        witness.replace(sighting(1, 9)).unwrap();
        witness.observe(&sighting(1, 5)).unwrap();
        witness.observe(&sighting(2, 99)).unwrap();
        assert_eq!(Witness::open(path).unwrap().seen(), Some(sighting(1, 9)));
    }

    #[test]
    fn each_shard_is_witnessed_by_itself() {
        let (_directory, path) = in_a_directory();
        let witness = Witness::open(path).unwrap();
        witness.replace(sighting(1, 0)).unwrap();
        let second = [(ShardId(1), place(0, 3))].into();
        witness.observe(&Sighting { shards: second, ..sighting(1, 0) }).unwrap();
        let error = witness.recognise(found(&witness, sighting(1, 100), 0).as_ref()).unwrap_err();
        assert!(matches!(error, WitnessError::OlderJournal { shard: ShardId(1), .. }), "{error}");
        let seen = error.seen().unwrap().to_string();
        assert_eq!(seen, "00000000-0000-0000-0000-000000000001@0:0,1:3:00000000-0000-0000-0000-000000000003");
    }

    #[test]
    fn a_witness_that_cannot_be_read_is_no_missing_witness() {
        let (_directory, path) = in_a_directory();
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Witness::open(path), Err(WitnessError::Unreadable { .. })));
    }
}
