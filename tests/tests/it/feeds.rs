//! A feed of events made up by a test.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use engine::feed::{Feed, FeedError, FeedName, Interest, Live, Read, Told};
use engine::projection::FollowSettings;
use kernel::{
    Actor, ActorKind, CorrelationId, Envelope, EventId, Metadata, Origin, Position, PositionToken, ShardId,
    StreamId,
};
use serde_json::Value;
use tokio::sync::broadcast;
use uuid::Uuid;

/// Everything that waits in these tests gives up after this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls every 20 ms, retries within 100 ms.
pub fn fast() -> FollowSettings {
    FollowSettings {
        poll: Duration::from_millis(20),
        retry_min: Duration::from_millis(5),
        retry_max: Duration::from_millis(100),
        ..FollowSettings::default()
    }
}

/// Never polls within a test, so that only the in-process channel wakes it.
pub fn never_polls() -> FollowSettings {
    FollowSettings { poll: PATIENCE * 10, ..fast() }
}

/// Returns once a condition holds.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !condition().await {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// A feed in memory: dense positions from 1, as a journal has.
pub struct TestFeed {
    name: FeedName,
    events: Mutex<Vec<Arc<Envelope>>>,
    live: Live,
    undecodable: Mutex<BTreeSet<u64>>,
    /// Of several that can't be decoded the last is told first, as when one can't be parsed and one before it not opened.
    pub tells_last_first: AtomicBool,
    /// How many of the next reads panic or fail.
    pub panics: AtomicU32,
    pub failures: AtomicU32,
    pub reads: AtomicU32,
}

impl TestFeed {
    pub fn new(name: FeedName) -> Arc<Self> {
        Arc::new(Self {
            name,
            events: Mutex::default(),
            live: Live::default(),
            undecodable: Mutex::default(),
            tells_last_first: AtomicBool::new(false),
            panics: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            reads: AtomicU32::new(0),
        })
    }

    pub fn journal() -> Arc<Self> {
        Self::new(FeedName::Journal)
    }

    /// Appends and tells whoever listens. Returns the last position.
    pub fn append(&self, events: impl IntoIterator<Item = Envelope>) -> PositionToken {
        let batch = self.take(events);
        let last = batch.last().map_or(Position::ZERO, |event| event.position);
        self.live.tell(batch.into());
        PositionToken { shard: ShardId(0), position: last }
    }

    /// Appends, and tells all but the second last.
    pub fn append_with_a_gap(&self, events: impl IntoIterator<Item = Envelope>) {
        let mut batch = self.take(events);
        batch.remove(batch.len() - 2);
        self.live.tell(batch.into());
    }

    /// Appends as another process would: nobody here is told.
    pub fn append_silently(&self, events: impl IntoIterator<Item = Envelope>) -> PositionToken {
        let batch = self.take(events);
        let position = batch.last().map_or(Position::ZERO, |event| event.position);
        PositionToken { shard: ShardId(0), position }
    }

    /// Makes the event at a position one that no upcaster understands.
    pub fn spoil(&self, position: u64) {
        self.undecodable.lock().unwrap().insert(position);
    }

    pub fn mend(&self) {
        self.undecodable.lock().unwrap().clear();
    }

    /// True if somebody listens.
    pub fn is_heard(&self) -> bool {
        self.live.is_heard()
    }

    pub fn token(&self) -> PositionToken {
        let position = Position(self.events.lock().unwrap().len() as u64);
        PositionToken { shard: ShardId(0), position }
    }

    fn take(&self, events: impl IntoIterator<Item = Envelope>) -> Vec<Arc<Envelope>> {
        let mut all = self.events.lock().unwrap();
        let mut batch = Vec::new();
        for mut event in events {
            let position = all.len() as u64 + 1;
            event.position = Position(position);
            event.sequence = 1 + all.iter().filter(|e| e.stream == event.stream).count() as u64;
            event.event_id = EventId(Uuid::from_u128(u128::from(position) << 64 | 7));
            event.recorded_at = at(position);
            let event = Arc::new(event);
            all.push(Arc::clone(&event));
            batch.push(event);
        }
        batch
    }
}

/// When a position was recorded: a second apart.
pub fn at(position: u64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp(1_780_000_000 + position.cast_signed(), 0).unwrap()
}

fn countdown(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Feed for TestFeed {
    fn name(&self) -> FeedName {
        self.name
    }

    fn shard(&self) -> ShardId {
        ShardId(0)
    }

    async fn read(&self, after: Position, limit: usize, of: Interest) -> Result<Read, FeedError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        assert!(!countdown(&self.panics), "the test asked for a panic");
        if countdown(&self.failures) {
            return Err(FeedError::Pool(deadpool_postgres::PoolError::Closed));
        }
        let all = self.events.lock().unwrap();
        let end = Position(after.0 + limit as u64);
        let window = all.iter().filter(|event| event.position > after && event.position <= end);
        let found: Vec<Arc<Envelope>> = window.filter(|event| of.concerns(&event.stream)).cloned().collect();
        let spoilt = self.undecodable.lock().unwrap();
        let mut bad = found.iter().filter(|event| spoilt.contains(&event.position.0));
        let bad = if self.tells_last_first.load(Ordering::SeqCst) { bad.next_back() } else { bad.next() };
        if let Some(bad) = bad {
            return Err(FeedError::Undecodable {
                feed: self.name,
                position: bad.position,
                stream: bad.stream.clone(),
                reason: "the test spoilt it".to_owned(),
            });
        }
        Ok(Read::of_window(found, after, end, Position(all.len() as u64)))
    }

    async fn head(&self) -> Result<Position, FeedError> {
        Ok(self.token().position)
    }

    fn live(&self) -> broadcast::Receiver<Told> {
        self.live.listen()
    }
}

/// An event about to be appended; the feed gives it its position, sequence, id and time.
pub fn envelope(
    aggregate_type: &'static str,
    id: Uuid,
    event_type: &'static str,
    payload: Value,
) -> Envelope {
    Envelope {
        shard: ShardId(0),
        position: Position::ZERO,
        stream: StreamId::new(aggregate_type, id),
        sequence: 0,
        part: 0,
        index_in_command: 0,
        event_id: EventId(Uuid::nil()),
        event_type: event_type.into(),
        event_version: "1".into(),
        payload: payload.into(),
        metadata: Arc::new(Metadata {
            tenant: None,
            actor: Actor { kind: ActorKind::Operator, id: "operator-1".to_owned() },
            role: "operator".to_owned(),
            scopes: vec!["tenants:write".to_owned()],
            action: format!("test:{event_type}"),
            correlation_id: CorrelationId(Uuid::from_u128(42)),
            causation_id: None,
            command_id: None,
            origin: Origin::default(),
        }),
        recorded_at: DateTime::UNIX_EPOCH,
    }
}
