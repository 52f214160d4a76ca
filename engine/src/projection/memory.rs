//! Read models in memory: rebuilt from zero at each start, then followed live. For what is asked too often for a table.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::{Envelope, Position, PositionToken, ShardId, StreamId};
use tokio_util::sync::CancellationToken;

use super::model::{Feeds, FoldError};
use crate::feed::{FeedError, FeedName, Interest, Read};
use crate::follow::{
    FollowSettings, FollowerHealth, FollowerState, Followers, SpawnError, StartWork, Status, Subscription,
    WaitError, Work,
};
use crate::telemetry;

/// A read model in memory. It folds the journal and keeps its own locks.
pub trait MemoryProjection: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Which streams concern it; the others are not shown to it.
    fn aggregate_types(&self) -> &'static [&'static str];

    /// True if security depends on it: then it answers only while it knows itself current, and stops at an event
    /// it can't fold. False: it goes on, with its age.
    fn fails_closed(&self) -> bool;

    /// Forgets what it learnt from a shard, before it starts again from zero.
    fn reset(&self, shard: ShardId);

    fn apply(&self, event: &Envelope) -> Result<(), FoldError>;

    /// Asked of one that fails closed about a stream that can't be folded: it closes what that stream says, and nothing
    /// else, until it is started again. `false`: it can't tell what that would be, so it stops there altogether.
    fn close(&self, shard: ShardId, stream: &StreamId) -> bool {
        let _ = (shard, stream);
        false
    }
}

/// How far an answer from memory can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It knew itself complete at most the allowed time ago.
    Fresh,
    /// It goes on although it can't know; this is how long ago it last could.
    Stale { age: Duration },
    /// It can't know and must not guess, or has not caught up yet.
    Unavailable,
}

/// The running memory projections of a process.
pub struct Memories {
    handles: Vec<MemoryHandle>,
    followers: Followers,
}

/// Tells how current one memory projection is.
#[derive(Clone)]
pub struct MemoryHandle {
    name: &'static str,
    fails_closed: bool,
    statuses: Arc<[Arc<Status>]>,
}

impl Memories {
    /// Starts them; they rebuild themselves. One actor per projection and shard of the journal.
    pub async fn start(
        projections: Vec<Arc<dyn MemoryProjection>>,
        feeds: &Feeds,
        settings: FollowSettings,
    ) -> Result<Self, SpawnError> {
        let mut handles = Vec::new();
        let mut works: Vec<(String, StartWork)> = Vec::new();
        for projection in projections {
            let mut statuses = Vec::new();
            for feed in feeds.iter().filter(|feed| feed.name() == FeedName::Journal) {
                let status = Arc::new(Status::in_memory(projection.name(), feed.name(), feed.shard()));
                statuses.push(Arc::clone(&status));
                let (projection, feed) = (Arc::clone(&projection), Arc::clone(feed));
                let name = format!("{} in memory on shard {}", projection.name(), feed.shard().0);
                let of = Interest::Only(projection.aggregate_types());
                let start: StartWork = Arc::new(move |stop| -> Box<dyn Work> {
                    projection.reset(feed.shard());
                    status.restarted();
                    Box::new(MemoryWork {
                        projection: Arc::clone(&projection),
                        subscription: Subscription::new(Arc::clone(&feed), of, settings, stop.clone()),
                        status: Arc::clone(&status),
                        settings,
                        stop,
                        position: Position::ZERO,
                        parked: HashSet::new(),
                        skipped: 0,
                        failures: 0,
                    })
                });
                works.push((name, start));
            }
            let (name, fails_closed) = (projection.name(), projection.fails_closed());
            handles.push(MemoryHandle { name, fails_closed, statuses: statuses.into() });
        }
        Ok(Self { handles, followers: Followers::spawn(works).await? })
    }

    pub fn handle(&self, name: &str) -> Option<MemoryHandle> {
        self.handles.iter().find(|handle| handle.name == name).cloned()
    }

    pub fn health(&self) -> Vec<FollowerHealth> {
        self.handles.iter().flat_map(MemoryHandle::health).collect()
    }

    /// True once every one of them has caught up and may answer.
    pub fn are_ready(&self, age_max: Duration) -> bool {
        self.handles.iter().all(|handle| handle.freshness(age_max) != Freshness::Unavailable)
    }

    pub async fn drain(&self) {
        self.followers.drain().await;
    }
}

impl MemoryHandle {
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// True once it has caught up with the journal since it started.
    pub fn is_ready(&self) -> bool {
        self.age().is_some()
    }

    /// How long ago it last knew itself complete; `None` before it has caught up.
    pub fn age(&self) -> Option<Duration> {
        self.statuses
            .iter()
            .map(|status| status.age())
            .try_fold(Duration::ZERO, |max, age| Some(max.max(age?)))
    }

    /// Whether it may answer. `age_max`: the freshness lease, 2 s for what revokes.
    pub fn freshness(&self, age_max: Duration) -> Freshness {
        match self.age() {
            None => Freshness::Unavailable,
            Some(age) if age <= age_max => Freshness::Fresh,
            Some(_) if self.fails_closed => Freshness::Unavailable,
            Some(age) => Freshness::Stale { age },
        }
    }

    pub fn position(&self, shard: ShardId) -> Option<Position> {
        self.statuses.iter().find(|status| status.shard == shard).map(|status| status.position())
    }

    /// The position, as it moves.
    pub fn watch(&self, shard: ShardId) -> Option<tokio::sync::watch::Receiver<Position>> {
        self.statuses.iter().find(|status| status.shard == shard).map(|status| status.watch())
    }

    /// Returns once it holds a position of the journal.
    pub async fn wait_for(&self, wanted: PositionToken, timeout: Duration) -> Result<(), WaitError> {
        let status = self.statuses.iter().find(|s| s.shard == wanted.shard).ok_or(WaitError::UnknownShard)?;
        status.wait_for(wanted.position, timeout).await
    }

    pub fn health(&self) -> Vec<FollowerHealth> {
        self.statuses.iter().map(|status| status.health()).collect()
    }
}

struct MemoryWork {
    projection: Arc<dyn MemoryProjection>,
    subscription: Subscription,
    status: Arc<Status>,
    settings: FollowSettings,
    stop: CancellationToken,
    position: Position,
    /// Streams that hold an event it could not fold.
    parked: HashSet<StreamId>,
    skipped: u64,
    failures: u32,
}

impl MemoryWork {
    fn apply(&mut self, event: &Envelope) -> Result<(), String> {
        if self.parked.contains(&event.stream) {
            self.skipped += 1;
            return Ok(());
        }
        let projection = &self.projection;
        let result = catch_unwind(AssertUnwindSafe(|| projection.apply(event)))
            .unwrap_or_else(|_| Err(FoldError::Event("the fold panicked".to_owned())));
        result.or_else(|error| self.unfoldable(event.position, &event.stream, &error.reason()))
    }

    /// Goes on without the stream, or not at all.
    fn unfoldable(&mut self, position: Position, stream: &StreamId, reason: &str) -> Result<(), String> {
        let text = format!("{stream} at position {position} can't be folded: {reason}");
        if self.projection.fails_closed() && !self.projection.close(self.status.shard, stream) {
            return Err(text);
        }
        tracing::error!(
            projection.name = self.projection.name(),
            error = text,
            "a stream is left out until a binary that can fold it is started"
        );
        self.parked.insert(stream.clone());
        self.skipped += 1;
        Ok(())
    }

    fn take(&mut self, read: Result<Read, FeedError>) -> Result<(), (FollowerState, String)> {
        match read {
            Ok(Read { events, through, .. }) => {
                for parts in events.chunk_by(|a, b| a.position == b.position) {
                    for event in parts {
                        self.apply(event).map_err(|text| (FollowerState::Stuck, text))?;
                    }
                    self.position = parts[0].position;
                }
                self.position = through;
                Ok(())
            }
            Err(FeedError::Undecodable { position, stream, reason, .. })
                if position == self.position.next() =>
            {
                self.unfoldable(position, &stream, &reason).map_err(|text| (FollowerState::Stuck, text))?;
                self.position = position;
                Ok(())
            }
            Err(error) => Err((FollowerState::Retrying, error.to_string())),
        }
    }
}

#[async_trait]
impl Work for MemoryWork {
    async fn step(&mut self) {
        let read = self.subscription.next(self.position).await;
        let taken = self.take(read);
        self.status.reached(self.position);
        self.status.parked(self.skipped);
        match taken {
            Ok(()) => {
                self.failures = 0;
                let seen = self.subscription.seen();
                self.status.well(seen.head, seen.current_at);
            }
            Err((state, text)) => {
                self.failures = self.failures.saturating_add(1);
                let advice = match state {
                    FollowerState::Stuck => "it never skips an event: deploy a binary that can fold it",
                    _ => "it tries again by itself; look after the database if this lasts",
                };
                metrics::counter!(telemetry::ERRORS, "projection" => self.projection.name()).increment(1);
                tracing::warn!(projection.name = self.projection.name(), error = text, "memory can't follow");
                self.status.trouble(state, text, advice);
                self.subscription.reread();
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(self.settings.backoff(self.failures)) => {}
                }
            }
        }
    }

    fn stopped(&mut self) {
        self.status.stopped();
    }
}
