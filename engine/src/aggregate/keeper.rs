//! Keeps the snapshots of a node's aggregates: out of the way of the actors, and many at a time.
//!
//! A snapshot spares a load some time and can be made again, so nobody waits for one: what there is no room for is left
//! out, and what fails is tried again with the next.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Clock, StreamId};
use tokio::sync::{mpsc, oneshot};

use crate::journal::{Journal, ReadError, Snapshot};
use crate::telemetry::SNAPSHOTS;

/// How many wait to be kept, at most.
const WAITING_MAX: usize = 4_096;
/// How many are kept in one transaction, at most.
const TOGETHER_MAX: usize = 64;
/// How long one transaction may take: a connection that has gone silent must not keep all later ones waiting.
const ANSWER_MAX: Duration = Duration::from_secs(15);

enum Errand {
    Keep(StreamId, Snapshot),
    /// Tells when all before it has been done.
    Tell(oneshot::Sender<()>),
}

/// The way to the keeper's task, which ends with the last of those who know it.
pub(crate) struct Keeper(mpsc::Sender<Errand>);

impl Keeper {
    pub fn start(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        let (errands, mut waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            let mut gathered = Vec::with_capacity(TOGETHER_MAX);
            while waiting.recv_many(&mut gathered, TOGETHER_MAX).await > 0 {
                let (mut snapshots, mut waits) = (Vec::new(), Vec::new());
                for errand in gathered.drain(..) {
                    match errand {
                        Errand::Keep(stream, snapshot) => snapshots.push((stream, snapshot)),
                        Errand::Tell(tell) => waits.push(tell),
                    }
                }
                if !snapshots.is_empty() {
                    keep(&*journal, &snapshots, &*clock).await;
                }
                for tell in waits {
                    // Whoever waited may have gone away.
                    let _ = tell.send(());
                }
            }
        });
        Self(errands)
    }

    /// Takes a snapshot whose events are durable, if there is room; never waits.
    pub fn keep(&self, stream: StreamId, snapshot: Snapshot) {
        if self.0.try_send(Errand::Keep(stream, snapshot)).is_err() {
            metrics::counter!(SNAPSHOTS, "outcome" => "left_out").increment(1);
        }
    }

    /// Waits until what was taken so far is kept.
    pub async fn drain(&self) {
        let (tell, told) = oneshot::channel();
        if self.0.send(Errand::Tell(tell)).await.is_ok() {
            let _ = told.await;
        }
    }
}

async fn keep(journal: &dyn Journal, snapshots: &[(StreamId, Snapshot)], clock: &dyn Clock) {
    let saving = tokio::time::timeout(ANSWER_MAX, journal.save_snapshots(snapshots, clock.now())).await;
    let saved = saving.unwrap_or_else(|_| Err(ReadError::Unavailable("no answer in time".to_owned())));
    let (count, outcome) = match saved {
        Ok(kept) => (kept, "kept"),
        Err(error) => {
            tracing::warn!(
                error = %error,
                count = snapshots.len(),
                "snapshots could not be kept; loading their aggregates takes longer"
            );
            (snapshots.len() as u64, "failed")
        }
    };
    metrics::counter!(SNAPSHOTS, "outcome" => outcome).increment(count);
}

#[cfg(test)]
mod tests {
    use kernel::EventId;
    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;
    use crate::journal::MemoryJournal;
    use crate::testing::{Counter, Wish, config, context, engine, engine_with, id};

    #[tokio::test]
    async fn a_drain_waits_for_the_snapshots_that_were_taken() {
        let (engine, journal) = engine_with(crate::EngineConfig { snapshot_events_min: 1, ..config() }).await;
        // Those of the first commands are due with the second.
        for _ in 0..2 {
            for n in 0..100 {
                engine.dispatch::<Counter>(id(n), Wish::Add(1), context()).await.unwrap();
            }
        }
        engine.drain().await;
        for n in 0..100 {
            let loaded = journal.load(&StreamId::new("counter", id(n)), Some(1)).await.unwrap();
            assert!(loaded.snapshot.is_some(), "{n}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_keeps_no_later_snapshot_waiting() {
        let (journal, stream) = (Arc::new(MemoryJournal::default()), StreamId::new("counter", id(1)));
        let keeper = Keeper::start(journal.clone(), Arc::new(SystemClock));
        let snapshot = || Snapshot { version: 1, sequence: 1, event_id: EventId(id(7)), state: json!({}) };
        let held = journal.hold().await;
        keeper.keep(stream.clone(), snapshot());
        keeper.drain().await;
        assert_eq!(journal.snapshots_kept(), 0);
        drop(held);
        keeper.keep(stream, snapshot());
        keeper.drain().await;
        assert_eq!(journal.snapshots_kept(), 1);
    }

    /// Snapshots are kept for speed: whoever has one waits for none, and memory does not grow.
    #[tokio::test]
    async fn what_there_is_no_room_for_is_left_out_and_the_next_is_taken() {
        let (engine, journal) = engine().await;
        engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
        let stream = StreamId::new("counter", id(1));
        let snapshot =
            |sequence| Snapshot { version: 1, sequence, event_id: EventId(id(7)), state: json!({}) };
        let keeper = Keeper::start(journal.clone(), Arc::new(SystemClock));
        let kept = async |journal: &MemoryJournal| {
            journal.load(&stream, Some(1)).await.unwrap().snapshot.map(|snapshot| snapshot.sequence)
        };
        let room = WAITING_MAX as u64;
        (1..=room + 100).for_each(|sequence| keeper.keep(stream.clone(), snapshot(sequence)));
        keeper.drain().await;
        assert_eq!(kept(&journal).await, Some(room));
        keeper.keep(stream.clone(), snapshot(room + 101));
        keeper.drain().await;
        assert_eq!(kept(&journal).await, Some(room + 101));
    }
}
