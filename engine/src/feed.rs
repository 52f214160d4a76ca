//! Feeds: what a follower reads. The journal is one, the audit ledger another; both give envelopes in position order.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{Envelope, Position, ShardId, StreamId};
use tokio::sync::broadcast;

/// How many batches a slow follower may be behind before it must read the feed itself.
const LIVE_BATCHES_MAX: usize = 256;

/// Which feed. The names are part of the storage format (checkpoints).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeedName {
    Journal,
    Audit,
}

impl FeedName {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Audit => "audit",
        }
    }
}

impl std::fmt::Display for FeedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A feed can't be read now. It is never mistaken for its end.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("the database can't be read")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// Without the keys nothing is skipped: whoever follows waits.
    #[error("the keys of what stands there can't be had: {0}")]
    Keys(#[from] crate::keyring::KeyringError),
    /// A follower may go on after it, without this stream.
    #[error("position {position} of {feed} ({stream}) can't be decoded: {reason}")]
    Undecodable { feed: FeedName, position: Position, stream: StreamId, reason: String },
}

/// What is told live: one batch, made once and shared by all who follow.
pub type Told = Arc<[Arc<Envelope>]>;

/// Which streams concern a follower. Events of all others are passed without being shown, read or decoded for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    All,
    /// The streams of these aggregate types.
    Only(&'static [&'static str]),
}

impl Interest {
    pub fn concerns(self, stream: &StreamId) -> bool {
        match self {
            Self::All => true,
            Self::Only(types) => types.contains(&stream.aggregate_type.as_ref()),
        }
    }

    /// The aggregate types, or `None` for all.
    pub const fn aggregate_types(self) -> Option<&'static [&'static str]> {
        match self {
            Self::All => None,
            Self::Only(types) => Some(types),
        }
    }
}

/// What was found after a position.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub events: Vec<Arc<Envelope>>,
    /// Everything up to here was looked at. Not beyond where it began: there is nothing more.
    pub through: Position,
    /// The last position known to be committed.
    pub head: Position,
}

impl Read {
    /// A window of positions, `after` and up to `end`, read after `head` was.
    pub fn of_window(events: Vec<Arc<Envelope>>, after: Position, end: Position, head: Position) -> Self {
        // What was found beyond the head was committed in between, and everything before it too.
        let last = events.last().map_or(after, |last| last.position);
        let through = end.min(head).max(last);
        Self { events, through, head: head.max(through) }
    }
}

/// Something with dense positions from 1, in commit order, that never loses a row while it is followed.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    fn name(&self) -> FeedName;

    fn shard(&self) -> ShardId;

    /// Looks at the positions after one, at most `limit` of them, and gives what stands there of the streams that
    /// are asked for, in order.
    ///
    /// An upcaster may split one stored event: its parts share the position and are never torn apart.
    async fn read(&self, after: Position, limit: usize, of: Interest) -> Result<Read, FeedError>;

    /// The last committed position.
    async fn head(&self) -> Result<Position, FeedError>;

    /// What this process appends from now on. A hint: whoever finds a gap, or lags, reads the feed.
    fn live(&self) -> broadcast::Receiver<Told>;
}

/// As [`Feed::read`], but of a window with events that can't be decoded what comes before the first of them. The error
/// is then about the very next event.
pub(crate) async fn read_up_to_trouble(
    feed: &dyn Feed,
    after: Position,
    mut limit: usize,
    of: Interest,
) -> Result<Read, FeedError> {
    loop {
        match feed.read(after, limit, of).await {
            // Not each event is looked at in order: before this one there can be another.
            Err(FeedError::Undecodable { position, .. }) if position > after.next() && limit > 1 => {
                let before = usize::try_from(position.0 - after.0 - 1).unwrap_or(usize::MAX);
                limit = before.min(limit - 1);
            }
            read => return read,
        }
    }
}

/// The in-process channel from whoever appends to whoever follows.
#[derive(Clone, Debug)]
pub struct Live(broadcast::Sender<Told>);

impl Default for Live {
    fn default() -> Self {
        Self(broadcast::channel(LIVE_BATCHES_MAX).0)
    }
}

impl Live {
    /// Tells all followers; nobody listening is no error.
    pub fn tell(&self, batch: Told) {
        let _ = self.0.send(batch);
    }

    pub fn listen(&self) -> broadcast::Receiver<Told> {
        self.0.subscribe()
    }

    /// True if somebody listens, so that envelopes need not be made for nobody.
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }
}
