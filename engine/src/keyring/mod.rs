//! The keys under which personal and confidential fields are sealed: one for each person, one for each tenant.
//!
//! master key (a file or a variable) → key-encryption key (`wrapped_keys`) → a subject's key (`subject_keys`). A new
//! subject's key is made in memory by whoever decides the first event about it, and its row goes into the transaction
//! of that event: nothing is ever sealed under a key that could be lost. To forget is to replace the row by a tombstone.

mod cache;
mod data_key;
mod master;
mod rotate;
mod store;
mod tombstones;
mod wrap;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use kernel::{Clock, Ids, Subject};

pub(crate) use cache::Known;
pub(crate) use data_key::DataKey;
pub use master::{
    FILE as MASTER_KEY_FILE, MasterKey, MasterKeyError, VARIABLE as MASTER_KEY_VARIABLE, WrapError,
};
pub use rotate::rotate_master;
pub(crate) use store::KeyColumns;
pub use store::KeyringError;
pub use tombstones::{FILE as TOMBSTONES_FILE, Tombstones, TombstonesError};

use cache::Cache;
use data_key::SubjectKeys;
use wrap::{Cipher, KEY_LEN};

/// Subjects whose keys are kept in memory, at most; about a kilobyte each.
const SUBJECTS_MAX: usize = 50_000;

/// Where the master key is had; asked again when a key-encryption key is met that is not known yet.
pub type MasterSource = Arc<dyn Fn() -> Result<MasterKey, MasterKeyError> + Send + Sync>;

/// The keys of all subjects, as far as they are needed. Prints nothing.
pub struct Keyring {
    pool: Pool,
    master: MasterSource,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    wrapping: RwLock<Wrapping>,
    cache: Mutex<Cache>,
    /// Who was forgotten, outside the database.
    tombstones: Option<Tombstones>,
}

/// The key-encryption keys.
#[derive(Debug)]
struct Wrapping {
    by_id: HashMap<Arc<str>, Arc<Cipher>>,
    /// The one that wraps new keys.
    current: Arc<str>,
}

/// The keys of some subjects, in hand for as long as a document is sealed or opened; in the order of the subjects. It is
/// most often one.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<(Subject, Known)>);

impl Held {
    pub(crate) fn get(&self, subject: Subject) -> Option<&Known> {
        let found = self.0.binary_search_by_key(&subject, |(of, _)| *of);
        found.ok().map(|index| &self.0[index].1)
    }

    fn put(&mut self, subject: Subject, known: Known) {
        match self.0.binary_search_by_key(&subject, |(of, _)| *of) {
            Ok(index) => self.0[index].1 = known,
            Err(index) => self.0.insert(index, (subject, known)),
        }
    }
}

/// A key of a subject's that no database knows.
#[cfg(test)]
pub(crate) fn made_up(subject: Subject) -> Known {
    let key = DataKey::new(subject, 1, &[7; 32], (Vec::new(), "kek".into()), true).expect("it is a key");
    Known::Keys(Arc::new(SubjectKeys::new(vec![Arc::new(key)]).expect("it is one")))
}

#[cfg(test)]
impl Held {
    pub(crate) fn with(mut self, subject: Subject, known: Option<Known>) -> Self {
        match known {
            Some(known) => self.put(subject, known),
            None => self.0.retain(|(of, _)| *of != subject),
        }
        self
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(…)")
    }
}

impl Keyring {
    /// Opens the key-encryption keys, and makes the first if there is none and `may_make`. Two nodes may do so at once.
    ///
    /// # Errors
    /// [`KeyringError`]
    pub async fn open(
        pool: Pool,
        master: MasterSource,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        may_make: bool,
    ) -> Result<Self, KeyringError> {
        let mut wrapping = store::wrapping(&pool, &master).await?;
        if wrapping.is_none() && may_make {
            store::make_wrapping(&pool, &master, &*clock, &*ids).await?;
            wrapping = store::wrapping(&pool, &master).await?;
        }
        let wrapping = wrapping.ok_or(KeyringError::NoWrapping)?;
        let cache = Mutex::new(Cache::new(SUBJECTS_MAX));
        let wrapping = RwLock::new(wrapping);
        Ok(Self { pool, master, clock, ids, wrapping, cache, tombstones: None })
    }

    /// Whoever is forgotten is written down there too, before the key goes.
    #[must_use]
    pub fn with_tombstones(self, tombstones: Tombstones) -> Self {
        Self { tombstones: Some(tombstones), ..self }
    }

    /// Who was forgotten once and is not now: a backup from before was restored.
    ///
    /// # Errors
    /// The database can't be asked.
    pub async fn recalled(&self) -> Result<Vec<Subject>, KeyringError> {
        let Some(tombstones) = &self.tombstones else { return Ok(Vec::new()) };
        store::not_forgotten(&self.pool, &tombstones.all()).await
    }

    /// The keys of these subjects if all of them are in memory.
    pub(crate) fn in_hand(&self, subjects: &[Subject]) -> Option<Held> {
        let mut held = Held(Vec::with_capacity(subjects.len()));
        let mut cache = self.cache();
        for subject in subjects {
            held.put(*subject, cache.get(*subject)?);
        }
        Some(held)
    }

    /// The keys of those subjects who have any.
    ///
    /// # Errors
    /// The database can't be asked, or a key-encryption key is missing.
    pub(crate) async fn for_opening(&self, subjects: Vec<Subject>) -> Result<Held, KeyringError> {
        let mut held = Held::default();
        let mut missing = Vec::new();
        {
            let mut cache = self.cache();
            for subject in subjects {
                match cache.get(subject) {
                    Some(known) => held.put(subject, known),
                    None => missing.push(subject),
                }
            }
        }
        if !missing.is_empty() {
            let rows = store::load(&self.pool, &missing).await?;
            let found = self.unwrap_rows(rows).await?;
            let mut cache = self.cache();
            for (subject, known) in found {
                // What was forgotten since the rows were read stays forgotten.
                if !matches!(known, Known::Broken) && !matches!(cache.get(subject), Some(Known::Forgotten)) {
                    cache.put(subject, known.clone());
                }
                held.put(subject, known);
            }
        }
        Ok(held)
    }

    /// The keys of these subjects; who has none gets one, whose row is not durable yet.
    ///
    /// # Errors
    /// As [`Keyring::for_opening`], and if there are no random bytes.
    pub(crate) async fn for_sealing(&self, subjects: Vec<Subject>) -> Result<Held, KeyringError> {
        let mut held = self.for_opening(subjects.clone()).await?;
        for subject in subjects {
            if held.get(subject).is_some() {
                continue;
            }
            let new = Arc::new(self.new_key(subject, 1)?);
            let new = SubjectKeys::new(vec![new]).ok_or(KeyringError::NoRandomness)?;
            let mut cache = self.cache();
            // Whoever was faster on this node: the same key serves both.
            let known = cache.get(subject).unwrap_or_else(|| Known::Keys(Arc::new(new)));
            cache.put(subject, known.clone());
            held.put(subject, known);
        }
        Ok(held)
    }

    /// These keys lost a race: another node's rows stand in their place and are read when they are needed.
    pub(crate) fn discard(&self, lost: &[Arc<DataKey>]) {
        let mut cache = self.cache();
        for key in lost {
            if let Some(Known::Keys(keys)) = cache.get(key.subject)
                && keys.versions().iter().any(|known| Arc::ptr_eq(known, key))
            {
                cache.remove(key.subject);
            }
        }
    }

    /// Replaces the subject's key by its tombstone, for ever. Also a subject without a key gets none any more.
    ///
    /// # Errors
    /// [`KeyringError`]; it may be asked again.
    pub async fn forget(&self, subject: Subject) -> Result<(), KeyringError> {
        let now = self.clock.now();
        if let Some(tombstones) = &self.tombstones {
            tombstones.keep(subject, now)?;
        }
        store::bury(&self.pool, subject, now).await?;
        self.cache().put(subject, Known::Forgotten);
        Ok(())
    }

    /// Takes over what others forgot or rotated since a time; returns whom they forgot.
    ///
    /// # Errors
    /// [`KeyringError`]
    pub async fn refresh(&self, since: DateTime<Utc>) -> Result<Vec<Subject>, KeyringError> {
        self.reload_wrapping().await?;
        let (forgotten, rotated) = store::changed(&self.pool, since).await?;
        let mut cache = self.cache();
        forgotten.iter().for_each(|subject| cache.put(*subject, Known::Forgotten));
        rotated.iter().for_each(|subject| cache.remove(*subject));
        Ok(forgotten)
    }

    fn new_key(&self, subject: Subject, version: i32) -> Result<DataKey, KeyringError> {
        let bytes = wrap::random::<KEY_LEN>().map_err(|_| KeyringError::NoRandomness)?;
        let wrapping = self.wrapping.read().unwrap_or_else(PoisonError::into_inner);
        let (kid, cipher) = wrapping.current().ok_or(KeyringError::NoWrapping)?;
        let mut wrapped = Vec::new();
        cipher
            .seal(&store::bound(subject, version, &kid), &*bytes, &mut wrapped)
            .map_err(|_| KeyringError::NoRandomness)?;
        DataKey::new(subject, version, &*bytes, (wrapped, kid), false).map_err(|_| KeyringError::NoRandomness)
    }

    /// Rows turned into keys; asks for key-encryption keys that are new.
    async fn unwrap_rows(&self, rows: Vec<store::Row>) -> Result<HashMap<Subject, Known>, KeyringError> {
        let unknown = {
            let wrapping = self.wrapping.read().unwrap_or_else(PoisonError::into_inner);
            rows.iter().any(|row| !wrapping.by_id.contains_key(&*row.wrapped_under))
        };
        if unknown {
            self.reload_wrapping().await?;
        }
        let wrapping = self.wrapping.read().unwrap_or_else(PoisonError::into_inner);
        let mut versions: HashMap<Subject, Vec<Arc<DataKey>>> = HashMap::new();
        let mut known = HashMap::new();
        for row in rows {
            let Some(wrapped) = row.wrapped else {
                known.insert(row.subject, Known::Forgotten);
                continue;
            };
            let Some((kid, cipher)) = wrapping.by_id.get_key_value(&*row.wrapped_under) else {
                return Err(KeyringError::WrappingLost { kid: row.wrapped_under });
            };
            let key = cipher.open(&store::bound(row.subject, row.version, kid), &wrapped).and_then(|bytes| {
                DataKey::new(row.subject, row.version, &bytes, (wrapped, kid.clone()), true)
            });
            match key {
                Ok(key) => versions.entry(row.subject).or_default().push(Arc::new(key)),
                Err(_) => {
                    tracing::error!(subject.kind = row.subject.kind(), subject.id = %row.subject.id(), version = row.version,
                        "a key does not open under the key it was wrapped with: restore its row from the backup of the keys");
                    known.entry(row.subject).or_insert(Known::Broken);
                }
            }
        }
        for (subject, versions) in versions {
            if let Some(keys) = SubjectKeys::new(versions) {
                known.entry(subject).or_insert_with(|| Known::Keys(Arc::new(keys)));
            }
        }
        Ok(known)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wrapping {
    fn current(&self) -> Option<(Arc<str>, Arc<Cipher>)> {
        self.by_id.get_key_value(&self.current).map(|(kid, cipher)| (kid.clone(), cipher.clone()))
    }
}
