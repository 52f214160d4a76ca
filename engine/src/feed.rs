//! Feeds: what a follower reads. The journal is one, the audit ledger another; both give envelopes in position order.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{Envelope, Position, ShardId, StreamId};
use tokio::sync::broadcast;

/// How many batches a slow follower may be behind before it must read the feed itself.
const LIVE_BATCHES_MAX: usize = 1024;

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

/// Something with dense positions from 1, in commit order, that never loses a row while it is followed.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    fn name(&self) -> FeedName;

    fn shard(&self) -> ShardId;

    /// The envelopes after a position, in order, at most `limit` stored events of them.
    ///
    /// An upcaster may split one stored event: its parts share the position and are never torn apart.
    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Envelope>, FeedError>;

    /// The last committed position.
    async fn head(&self) -> Result<Position, FeedError>;

    /// What this process appends from now on. A hint: whoever finds a gap, or lags, reads the feed.
    fn live(&self) -> broadcast::Receiver<Arc<[Envelope]>>;
}

/// The in-process channel from whoever appends to whoever follows.
#[derive(Clone, Debug)]
pub struct Live(broadcast::Sender<Arc<[Envelope]>>);

impl Default for Live {
    fn default() -> Self {
        Self(broadcast::channel(LIVE_BATCHES_MAX).0)
    }
}

impl Live {
    /// Tells all followers; nobody listening is no error.
    pub fn tell(&self, batch: Arc<[Envelope]>) {
        let _ = self.0.send(batch);
    }

    pub fn listen(&self) -> broadcast::Receiver<Arc<[Envelope]>> {
        self.0.subscribe()
    }

    /// True if somebody listens, so that envelopes need not be made for nobody.
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }
}
