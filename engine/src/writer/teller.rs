//! What follows a commit, beside the writer: answering its commands, telling followers and clearing up must not hold up
//! the next batch.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kernel::{Position, ShardId};
use tokio::sync::mpsc;

use super::{Answer, Asker};
use crate::feed::Live;
use crate::journal::{AppendItem, envelopes};

/// A batch that is durable, and whom to tell.
pub(super) struct Committed {
    pub items: Vec<AppendItem>,
    pub answers: Vec<(Asker, Answer)>,
    pub first: Position,
    pub recorded_at: DateTime<Utc>,
}

/// The way to the teller's task. Each ends when the other does, as the task does with its runtime. What waits there is
/// bounded by the commands that are under way.
#[derive(Clone)]
pub(super) struct Teller(mpsc::UnboundedSender<Committed>);

impl Teller {
    pub fn start(shard: ShardId, live: Live) -> Self {
        let (sender, mut waiting) = mpsc::unbounded_channel::<Committed>();
        tokio::spawn(async move {
            while let Some(mut batch) = waiting.recv().await {
                for (asker, answer) in batch.answers.drain(..) {
                    asker.tell(Ok(answer));
                }
                // With nobody to hear it, all there is to do is to drop the batch.
                if live.is_heard() {
                    tell(shard, &live, batch);
                }
            }
        });
        Self(sender)
    }

    /// Returns when nobody is told any more.
    pub async fn ended(&self) {
        self.0.closed().await;
    }

    pub fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Takes a committed batch off the writer's hands; never waits.
    pub fn hand_over(&self, batch: Committed) {
        // Without the task those who ask hear that nobody knows; the writer ends.
        let _ = self.0.send(batch);
    }
}

fn tell(shard: ShardId, live: &Live, batch: Committed) {
    let Committed { items, mut first, recorded_at, .. } = batch;
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
