use async_trait::async_trait;
use kernel::CommandId;
use std::time::Duration;

use super::*;
use crate::journal::{
    AppendError, AppendItem, Appended, Lease, Loaded, MemoryJournal, Resolution, Sent, Snapshot,
    StoredOutcome,
};
use crate::testing::{Counter, Wish, context, engine, id};

const SHARD: ShardId = ShardId(0);

fn counter(n: u128) -> StreamId {
    StreamId::new("counter", id(n))
}

/// The streams and sequences that a history tells of, in its order.
async fn told(mut history: History) -> Vec<(u128, u64)> {
    let mut all = Vec::new();
    while let Some(next) = history.next().await.unwrap() {
        all.push(match next {
            Told::Event(event) => (event.stream.id.as_u128(), event.sequence),
            Told::Unreadable(stream) => (stream.id.as_u128(), 0),
        });
    }
    all
}

#[tokio::test]
async fn streams_are_told_in_the_order_of_the_journal_and_not_beyond_a_position() {
    let (engine, _) = engine().await;
    for n in [1, 2, 1, 3, 2, 1_u128] {
        engine.dispatch::<Counter>(id(n), Wish::Add(1), context()).await.unwrap();
    }
    let history = |until| engine.history(vec![counter(2), counter(1), counter(9)], Position(until));
    assert_eq!(told(history(6)).await, [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)]);
    assert_eq!(told(history(3)).await, [(1, 1), (2, 1), (1, 2)]);
    assert_eq!(told(history(0)).await, []);
    let streams = |after, until| engine.streams("counter", after, Position(until), 2);
    assert_eq!(streams(None, 6).await.unwrap(), [counter(1), counter(2)]);
    assert_eq!(streams(Some(id(2)), 6).await.unwrap(), [counter(3)]);
    assert_eq!(streams(Some(id(2)), 3).await.unwrap(), []);
}

#[tokio::test]
async fn a_stream_longer_than_a_page_is_told_to_its_end() {
    let (engine, _) = engine().await;
    let count = PAGE_EVENTS_MAX as u64 * 2 + 1;
    for _ in 0..count {
        engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    }
    let all = told(engine.history(vec![counter(1)], Position(count))).await;
    assert_eq!(all, (1..=count).map(|sequence| (1, sequence)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_time_leads_to_the_last_position_taken_by_then() {
    let (engine, journal) = engine().await;
    for _ in 0..9 {
        engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    }
    let events = journal.read(SHARD, Position::ZERO, 100).await.unwrap();
    let moment = chrono::TimeDelta::microseconds(1);
    assert_eq!(engine.position_at(SHARD, events[0].recorded_at - moment).await.unwrap(), Position::ZERO);
    for event in &events {
        let last = events.iter().rfind(|other| other.recorded_at <= event.recorded_at).unwrap();
        assert_eq!(engine.position_at(SHARD, event.recorded_at).await.unwrap(), last.position);
        assert_eq!(engine.recorded_at(SHARD, event.position).await.unwrap(), Some(event.recorded_at));
    }
    assert_eq!(engine.position_at(SHARD, events[8].recorded_at + moment).await.unwrap(), Position(9));
    assert_eq!(engine.recorded_at(SHARD, Position(10)).await.unwrap(), None);
    assert_eq!(engine.recorded_at(SHARD, Position::ZERO).await.unwrap(), None);
}

/// A journal in which one event of one stream can't be read.
struct Torn(Arc<MemoryJournal>);

#[async_trait]
impl Journal for Torn {
    async fn acquire(&self, _: ShardId, _: Uuid, _: Duration) -> Result<Option<Lease>, ReadError> {
        unreachable!("it is read only")
    }
    async fn renew(&self, _: Lease, _: Duration) -> Result<bool, ReadError> {
        unreachable!("it is read only")
    }
    async fn release(&self, _: Lease) -> Result<(), ReadError> {
        unreachable!("it is read only")
    }
    async fn append(
        &self,
        _: Lease,
        _: Uuid,
        _: Option<Uuid>,
        _: &[AppendItem],
        _: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        unreachable!("it is read only")
    }
    async fn resolve(&self, _: Lease, _: &[Sent]) -> Result<Resolution, ReadError> {
        unreachable!("it is read only")
    }
    async fn load(&self, stream: &StreamId, version: Option<u32>) -> Result<Loaded, ReadError> {
        self.0.load(stream, version).await
    }
    async fn page(
        &self,
        stream: &StreamId,
        after: u64,
        until: Position,
        limit: usize,
    ) -> Result<Vec<Envelope>, ReadError> {
        let page = self.0.page(stream, after, until, limit).await?;
        match page.iter().find(|event| event.stream == counter(1) && event.sequence == 3) {
            Some(torn) => {
                Err(ReadError::Corrupt { stream: torn.stream.clone(), sequence: 3, reason: "torn".into() })
            }
            None => Ok(page),
        }
    }
    async fn outcome(&self, _: CommandId) -> Result<Option<StoredOutcome>, ReadError> {
        unreachable!("nobody asks for it")
    }
    async fn expire_outcomes(&self, _: DateTime<Utc>, _: u32) -> Result<u64, ReadError> {
        unreachable!("it is read only")
    }
    async fn claim_holder(&self, _: &kernel::Claim) -> Result<Option<StreamId>, ReadError> {
        unreachable!("nobody asks for it")
    }
    async fn save_snapshots(&self, _: &[(StreamId, Snapshot)], _: DateTime<Utc>) -> Result<u64, ReadError> {
        unreachable!("it is read only")
    }
    async fn read(&self, shard: ShardId, after: Position, limit: usize) -> Result<Vec<Envelope>, FeedError> {
        self.0.read(shard, after, limit).await
    }
    async fn head(&self, shard: ShardId) -> Result<Position, FeedError> {
        self.0.head(shard).await
    }
}

#[tokio::test]
async fn what_stands_before_an_unreadable_event_is_told_and_other_streams_go_on() {
    let (engine, journal) = engine().await;
    for n in [1, 1, 2, 1, 1, 2_u128] {
        engine.dispatch::<Counter>(id(n), Wish::Add(1), context()).await.unwrap();
    }
    let history = History::new(Arc::new(Torn(journal)), vec![counter(1), counter(2)], Position(6));
    assert_eq!(told(history).await, [(1, 1), (1, 2), (1, 0), (2, 1), (2, 2)]);
}
