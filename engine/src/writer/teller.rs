//! Tells followers what was appended, beside the writer: making envelopes and clearing up must not hold up the next batch.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kernel::{Position, ShardId};
use tokio::sync::mpsc;

use crate::feed::Live;
use crate::journal::{AppendItem, Appended, envelopes};

/// Batches that wait to be told, at most. One more is not told: whoever follows finds the gap and reads the journal.
const WAITING_MAX: usize = 64;

struct Batch {
    items: Vec<AppendItem>,
    first: Position,
    recorded_at: DateTime<Utc>,
}

/// The way to the teller's task, which ends with it.
pub(super) struct Teller(mpsc::Sender<Batch>);

impl Teller {
    pub fn start(shard: ShardId, live: Live) -> Self {
        let (sender, mut waiting) = mpsc::channel::<Batch>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(batch) = waiting.recv().await {
                // With nobody to hear it, all there is to do is to drop the batch.
                if live.is_heard() {
                    tell(shard, &live, batch);
                }
            }
        });
        Self(sender)
    }

    /// Takes a committed batch off the writer's hands; never waits.
    pub fn hand_over(&self, items: Vec<AppendItem>, appended: Appended) {
        let Appended { base, recorded_at } = appended;
        let _ = self.0.try_send(Batch { items, first: base.next(), recorded_at });
    }
}

fn tell(shard: ShardId, live: &Live, batch: Batch) {
    let Batch { items, mut first, recorded_at } = batch;
    let mut told = Vec::with_capacity(items.len());
    for item in items {
        let count = item.events.len() as u64;
        told.extend(envelopes(item, shard, first, recorded_at).map(Arc::new));
        first = Position(first.0 + count);
    }
    if !told.is_empty() {
        live.tell(told.into());
    }
}
