//! The journal: all streams of a shard in commit order, appended in batches.
//!
//! A journal stores; it decides nothing. Which items may be in a batch, and what to do when one fails, is the
//! writer's business ([`crate::writer`]). Two journals exist: PostgreSQL's, and one in memory for unit tests and
//! simulation. One contract suite runs against both.

mod appender;
mod memory;
mod metadata;
mod postgres;
mod postgres_feed;
mod postgres_history;
mod rows;
mod snapshots;
mod statement;
mod trouble;
mod unsettled;

pub(crate) use metadata::{Context, StoredMetadata, marked_origin, stored_metadata};

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use kernel::{ClaimChange, CommandId, Envelope, EventId, Metadata, Payload, Position, ShardId, StreamId};
use serde_json::Value;
use uuid::Uuid;

use crate::feed::FeedError;
use crate::keyring::DataKey;

pub use memory::{Fault, MemoryJournal};
pub use postgres::PgJournal;
pub use postgres_feed::PgFeed;

/// One event about to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Its place in its stream, from 1.
    pub sequence: u64,
    pub event_id: EventId,
    pub event_type: Cow<'static, str>,
    pub event_version: Cow<'static, str>,
    pub payload: Payload,
}

/// The answer to a command that carried an id, stored with it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOutcome {
    pub command_id: CommandId,
    pub fingerprint: [u8; 32],
    pub body: Value,
}

/// A stored answer.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredOutcome {
    pub fingerprint: Vec<u8>,
    pub body: Value,
    pub shard: ShardId,
    /// Where its last event stands, if it made events.
    pub position: Option<Position>,
    pub recorded_at: DateTime<Utc>,
}

/// What one command wants in the journal. Without events it only asks to be still the owner.
#[derive(Clone, Debug, PartialEq)]
pub struct AppendItem {
    pub stream: StreamId,
    pub metadata: Arc<Metadata>,
    pub events: Vec<NewEvent>,
    pub claims: Vec<ClaimChange>,
    pub outcome: Option<NewOutcome>,
    /// What [`Journal::prepare`] made ready; `None` if it wasn't asked.
    pub prepared: Option<Prepared>,
}

/// An item's documents as they will be stored, made before it is the item's turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub(super) aggregate_id: String,
    /// One for each event.
    pub(super) payloads: Vec<String>,
    pub(super) metadata: String,
    pub(super) outcome: Option<String>,
    /// Under which keys it is sealed that were not durable by then: their rows come in the same transaction, with every
    /// item that needs them, so that no item depends on the luck of another.
    pub(super) new_keys: Vec<Arc<DataKey>>,
    /// The actor was forgotten, or it isn't known where the command came from.
    pub(super) without_origin: bool,
}

/// Why an item can't be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrepareError {
    /// It can't be stored.
    Refused(Refusal),
    /// The keys it is to be sealed under can't be asked for now.
    Unavailable(String),
}

/// A committed batch: its events stand at `base + 1 ..= base + number of events`, in the order of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base: Position,
    pub recorded_at: DateTime<Utc>,
}

/// Which rule of the database an item broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another event stands at the sequence already.
    Sequence,
    /// The name is held by another stream.
    Claim { kind: String },
    /// The command has an answer already.
    DuplicateCommand,
    /// Another node made a key for the same subject: it has to be sealed under that one.
    KeyTaken,
    /// The database can't store it.
    Unstorable { reason: String },
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another owner raised the shard's epoch. Nothing was written.
    #[error("shard {shard:?} is no longer owned at epoch {epoch}")]
    Fenced { shard: ShardId, epoch: i64 },
    /// An item of the batch broke a rule; with several items it is not known which. Nothing was written.
    #[error("an item was refused: {0:?}")]
    Refused(Refusal),
    /// Two transactions were in each other's way. Nothing was written; the same batch may be repeated at once.
    #[error("the batch must be repeated")]
    Repeat,
    /// The batch that it was to follow is not the last one. Nothing was written.
    #[error("the batch before it is not the last one")]
    OutOfOrder,
    /// The database can't take it now. Nothing was written.
    #[error("the journal is not available: {0}")]
    Unavailable(String),
    /// The connection broke: it may have been written or not. Ask [`Journal::resolve`].
    #[error("the outcome of the commit is not known: {0}")]
    Unclear(String),
}

/// The right to append to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub shard: ShardId,
    pub epoch: i64,
}

/// A batch that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub batch: Uuid,
    /// How many events it has.
    pub events: u64,
}

/// What became of the batches that were sent last, and the epoch to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The lease went on without a gap. The first of the batches had been committed, as many as are told of; the others
    /// never will be.
    Kept { lease: Lease, committed: Vec<Appended> },
    /// Another owner came between: what became of the batches can't be known any more.
    Lost,
}

/// A snapshot as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub version: u32,
    /// The event it ends at.
    pub sequence: u64,
    pub event_id: EventId,
    pub state: Value,
}

/// A stream as it is loaded: what a snapshot doesn't cover.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    pub snapshot: Option<Snapshot>,
    pub tail: Vec<Envelope>,
}

/// Why something can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is there but can't be understood: quarantine it.
    #[error("{stream} can't be read at sequence {sequence}: {reason}")]
    Corrupt { stream: StreamId, sequence: u64, reason: String },
    #[error("the journal is not available: {0}")]
    Unavailable(String),
}

impl From<FeedError> for ReadError {
    fn from(error: FeedError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Where events stand for ever.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Takes the shard's lease if it is free, lapsed or this node's own, and raises the epoch.
    /// `None`: another node holds it.
    async fn acquire(&self, shard: ShardId, node: Uuid, ttl: Duration) -> Result<Option<Lease>, ReadError>;

    /// Prolongs the lease. `false`: it is lost.
    async fn renew(&self, lease: Lease, ttl: Duration) -> Result<bool, ReadError>;

    /// Gives the lease back, so that another node need not wait for it to lapse.
    async fn release(&self, lease: Lease) -> Result<(), ReadError>;

    /// Does for an item what needs no transaction, in the task of whoever hands it over: what the writer need not do
    /// one after the other is done side by side. `false`: keys must be asked for first, see
    /// [`Journal::prepare_slowly`].
    ///
    /// # Errors
    /// The item can't be stored.
    fn prepare(&self, item: &mut AppendItem) -> Result<bool, Refusal> {
        let _ = item;
        Ok(true)
    }

    /// As [`Journal::prepare`], after asking the database for the keys it takes.
    ///
    /// # Errors
    /// [`PrepareError`]
    async fn prepare_slowly(&self, item: &mut AppendItem) -> Result<(), PrepareError> {
        let _ = item;
        Ok(())
    }

    /// Appends all items in one transaction, or nothing. Durable when it returns; unclear if the future is dropped
    /// before that.
    ///
    /// A batch may be sent before the one before it is answered: then it names that one (`after`), and is appended right
    /// behind it or not at all. So a batch behind one that failed is known never to be written. It is sent when its future
    /// is first polled, as far as nothing has to be asked for first.
    async fn append(
        &self,
        lease: Lease,
        batch: Uuid,
        after: Option<Uuid>,
        items: &[AppendItem],
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError>;

    /// Settles unclear commits: waits for the old transaction, fences those still unread, and tells which were written.
    /// `sent` are the batches in question in their order, each but the last with events.
    async fn resolve(&self, lease: Lease, sent: &[Sent]) -> Result<Resolution, ReadError>;

    /// A stream's events, from the newest trusted snapshot if `snapshot_version` is given, else from the first.
    async fn load(&self, stream: &StreamId, snapshot_version: Option<u32>) -> Result<Loaded, ReadError>;

    /// A page of a stream: of its events after a sequence and up to a position, the first `limit` that are stored, in
    /// order. The parts of one that an upcaster splits come together.
    async fn page(
        &self,
        stream: &StreamId,
        after: u64,
        until: Position,
        limit: usize,
    ) -> Result<Vec<Envelope>, ReadError> {
        let all = self.load(stream, None).await?.tail.into_iter();
        let wanted = all.filter(|event| event.sequence > after && event.position <= until);
        Ok(wanted.take_while(|event| event.sequence - after <= limit as u64).collect())
    }

    /// The streams of a type that began up to a position: the first `limit` of those after an id, in the order of ids.
    async fn streams(
        &self,
        aggregate_type: &'static str,
        after: Option<Uuid>,
        until: Position,
        limit: usize,
    ) -> Result<Vec<StreamId>, ReadError> {
        let all = self.read(ShardId::default(), Position::ZERO, usize::MAX).await?.into_iter();
        let begun = all.filter(|event| event.sequence == 1 && event.position <= until);
        let of_type = begun.map(|event| event.stream).filter(|it| it.aggregate_type == aggregate_type);
        let sorted: BTreeSet<_> = of_type.filter(|it| after.is_none_or(|after| it.id > after)).collect();
        Ok(sorted.into_iter().take(limit).collect())
    }

    /// When a position was taken; `None`: it isn't yet.
    async fn recorded_at(
        &self,
        shard: ShardId,
        position: Position,
    ) -> Result<Option<DateTime<Utc>>, FeedError> {
        let Some(before) = position.0.checked_sub(1) else { return Ok(None) };
        Ok(self.read(shard, Position(before), 1).await?.first().map(|event| event.recorded_at))
    }

    /// The stored answer to a command, if there is one.
    async fn outcome(&self, command: CommandId) -> Result<Option<StoredOutcome>, ReadError>;

    /// Forgets answers recorded before a time, at most `limit`; returns how many.
    async fn expire_outcomes(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, ReadError>;

    /// The stream that holds a name.
    async fn claim_holder(&self, claim: &kernel::Claim) -> Result<Option<StreamId>, ReadError>;

    /// Keeps snapshots; an older one of the same stream is replaced, a newer one stays. They need not be durable when it
    /// returns. Returns how many could be kept: not those that can't be sealed now.
    async fn save_snapshots(
        &self,
        snapshots: &[(StreamId, Snapshot)],
        now: DateTime<Utc>,
    ) -> Result<u64, ReadError>;

    /// Events after a position, in order; see [`crate::feed::Feed::read`].
    async fn read(&self, shard: ShardId, after: Position, limit: usize) -> Result<Vec<Envelope>, FeedError>;

    /// The shard's last committed position.
    async fn head(&self, shard: ShardId) -> Result<Position, FeedError>;
}

/// The envelopes that an appended item makes, its first event standing at `first`.
pub(crate) fn envelopes(
    item: AppendItem,
    shard: ShardId,
    first: Position,
    recorded_at: DateTime<Utc>,
) -> impl Iterator<Item = Envelope> {
    let AppendItem { stream, metadata, events, .. } = item;
    events.into_iter().zip(0_u16..).map(move |(event, index)| Envelope {
        shard,
        position: Position(first.0 + u64::from(index)),
        stream: stream.clone(),
        sequence: event.sequence,
        part: 0,
        index_in_command: index,
        event_id: event.event_id,
        event_type: event.event_type,
        event_version: event.event_version,
        payload: event.payload,
        metadata: Arc::clone(&metadata),
        recorded_at,
    })
}
