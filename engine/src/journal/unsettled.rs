//! The new keys that batches bring, until it is known what became of the batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::keyring::DataKey;

/// Of each batch that is under way, and of those whose commit ended unclear, the keys whose rows it brings.
#[derive(Default)]
pub(super) struct UnsettledKeys(Mutex<Vec<(Uuid, Vec<Arc<DataKey>>)>>);

impl UnsettledKeys {
    fn batches(&self) -> MutexGuard<'_, Vec<(Uuid, Vec<Arc<DataKey>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is about to be sent. If it names none before it, none is under way any more.
    pub(super) fn begin(&self, batch: Uuid, after: Option<Uuid>, brings: &[Arc<DataKey>]) {
        let mut batches = self.batches();
        if after.is_none() {
            batches.clear();
        }
        if !brings.is_empty() {
            batches.push((batch, brings.to_vec()));
        }
    }

    /// What a batch brings: whoever follows right behind it need not bring it again.
    pub(super) fn of(&self, batch: Option<Uuid>) -> Vec<Arc<DataKey>> {
        let batches = self.batches();
        let of_batch = batches.iter().filter(|(id, _)| Some(*id) == batch);
        of_batch.flat_map(|(_, keys)| keys).cloned().collect()
    }

    /// It is known now what became of a batch.
    pub(super) fn settle(&self, batch: Uuid, committed: bool) {
        let mut batches = self.batches();
        for (_, keys) in batches.extract_if(.., |(id, _)| *id == batch) {
            if committed {
                keys.iter().for_each(|key| key.became_durable());
            }
        }
    }
}
