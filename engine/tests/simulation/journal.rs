//! A node's way to the journal they share: slow, unreliable, and gone when the node is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::FeedError;
use engine::journal::{
    AppendError, AppendItem, Appended, Journal, Lease, Loaded, MemoryJournal, ReadError, Refusal, Resolution,
    Sent, Snapshot, StoredOutcome,
};
use kernel::{Claim, CommandId, Envelope, Position, ShardId, StreamId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::trace::Trace;

/// A promise that a journal breaks, to see whether that is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Now and then it says it has written what it has not.
    AcknowledgesWhatItDidNotWrite,
    /// Now and then it says it has not written what it has.
    DeniesWhatItWrote,
    /// Now and then it says that a commit never happened that did.
    ForgetsACommit,
    /// It lets a former owner believe that it still is the owner.
    IgnoresTheEpoch,
    /// Now and then it loads a stream without its last event.
    LoadsTooLittle,
    /// It forgets the answers it was given to keep.
    ForgetsAnswers,
    /// It appends what was to follow a batch that is not there.
    IgnoresTheOrder,
}

/// The trouble of one simulation, shared by its nodes.
#[derive(Debug, Default)]
pub struct Weather {
    /// No trouble at all any more.
    pub calm: AtomicBool,
    /// Nothing of the database can be reached.
    pub outage: AtomicBool,
}

/// The journal as one node sees it.
#[derive(Debug)]
pub struct SimulatedJournal {
    pub shared: Arc<MemoryJournal>,
    node: &'static str,
    weather: Arc<Weather>,
    dead: AtomicBool,
    random: Mutex<StdRng>,
    trace: Trace,
    lie: Option<Lie>,
}

impl SimulatedJournal {
    pub fn new(
        shared: Arc<MemoryJournal>,
        node: &'static str,
        seed: u64,
        weather: Arc<Weather>,
        trace: Trace,
        lie: Option<Lie>,
    ) -> Arc<Self> {
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        Arc::new(Self { shared, node, weather, dead: AtomicBool::new(false), random, trace, lie })
    }

    /// The node is gone: it reaches nothing any more, and what it waits for never comes.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    fn per_cent(&self, chance: u32) -> bool {
        let drawn = self.random.lock().unwrap().random_range(0..100) < chance;
        drawn && !self.weather.calm.load(Ordering::SeqCst)
    }

    fn lies(&self, lie: Lie) -> bool {
        // Drawn in any case, so that a liar's run is the honest one's up to its first lie.
        let drawn = self.random.lock().unwrap().random_range(0..10) == 0;
        drawn && self.lie == Some(lie) && !self.weather.calm.load(Ordering::SeqCst)
    }

    /// A journey to the database, or never to return.
    async fn travel(&self) {
        let (kind, milliseconds) = {
            let mut random = self.random.lock().unwrap();
            (random.random_range(0..100), random.random_range(1..8_u64))
        };
        match kind {
            // Many come back within the clock's grain, in whatever order they are woken.
            0..50 => tokio::task::yield_now().await,
            50..98 => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
            _ => tokio::time::sleep(Duration::from_millis(milliseconds * 200)).await,
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn read_trouble(&self, what: &str) -> Result<(), ReadError> {
        self.travel().await;
        let trouble = self.per_cent(2) || self.weather.outage.load(Ordering::SeqCst);
        if trouble {
            self.trace.tell(|| format!("{}: {what} fails", self.node));
            return Err(ReadError::Unavailable("simulated".into()));
        }
        Ok(())
    }

    async fn commit(
        &self,
        lease: Lease,
        batch: Uuid,
        after: Option<Uuid>,
        items: &[AppendItem],
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        self.travel().await;
        let after = after.filter(|_| self.lie != Some(Lie::IgnoresTheOrder));
        let unclear = || AppendError::Unclear("simulated".into());
        if self.weather.outage.load(Ordering::SeqCst) {
            return Err(if self.per_cent(50) {
                unclear()
            } else {
                AppendError::Unavailable("outage".into())
            });
        }
        if self.per_cent(3) {
            return Err(AppendError::Unavailable("simulated".into()));
        }
        if self.per_cent(2) {
            return Err(AppendError::Repeat);
        }
        if self.per_cent(2) {
            return Err(unclear());
        }
        if self.per_cent(2) {
            self.commit_later(lease, (batch, after), items.to_vec(), now);
            return Err(unclear());
        }
        if self.lies(Lie::AcknowledgesWhatItDidNotWrite) {
            let Position(head) = self.shared.head(lease.shard).await.unwrap();
            return Ok(Appended { base: Position(head), recorded_at: now });
        }
        let appended = match self.shared.append(lease, batch, after, items, now).await {
            Err(AppendError::Fenced { .. }) if self.lie == Some(Lie::IgnoresTheEpoch) => {
                let Position(head) = self.shared.head(lease.shard).await.unwrap();
                let empty = items.iter().all(|item| item.events.is_empty() && item.outcome.is_none());
                if !empty {
                    return Err(AppendError::Fenced { shard: lease.shard, epoch: lease.epoch });
                }
                Appended { base: Position(head), recorded_at: now }
            }
            result => result?,
        };
        self.travel().await;
        if self.lies(Lie::DeniesWhatItWrote) {
            return Err(AppendError::Unavailable("a lie".into()));
        }
        if self.per_cent(3) {
            return Err(unclear());
        }
        Ok(appended)
    }

    /// The connection is lost with the commit sent and not yet read by the server.
    fn commit_later(
        &self,
        lease: Lease,
        (batch, after): (Uuid, Option<Uuid>),
        items: Vec<AppendItem>,
        now: DateTime<Utc>,
    ) {
        let (shared, trace, node) = (self.shared.clone(), self.trace.clone(), self.node);
        let pause = Duration::from_millis(self.random.lock().unwrap().random_range(0..50));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let late = shared.append(lease, batch, after, &items, now).await;
            trace.tell(|| format!("{node}: a late commit of {} items: {}", items.len(), late.is_ok()));
        });
    }
}

#[async_trait]
impl Journal for SimulatedJournal {
    async fn acquire(&self, shard: ShardId, node: Uuid, ttl: Duration) -> Result<Option<Lease>, ReadError> {
        self.read_trouble("acquire").await?;
        let lease = self.shared.acquire(shard, node, ttl).await?;
        self.trace.tell(|| format!("{}: asks for the shard: {lease:?}", self.node));
        self.travel().await;
        Ok(lease)
    }

    async fn renew(&self, lease: Lease, ttl: Duration) -> Result<bool, ReadError> {
        self.read_trouble("renew").await?;
        Ok(self.shared.renew(lease, ttl).await? || self.lie == Some(Lie::IgnoresTheEpoch))
    }

    async fn release(&self, lease: Lease) -> Result<(), ReadError> {
        self.read_trouble("release").await?;
        self.shared.release(lease).await
    }

    fn prepare(&self, item: &mut AppendItem) -> Result<bool, Refusal> {
        let unstorable = item.events.iter().any(|event| event.payload.to_string().contains("\\u0000"));
        if unstorable {
            return Err(Refusal::Unstorable { reason: "a NUL".into() });
        }
        Ok(true)
    }

    async fn append(
        &self,
        lease: Lease,
        batch: Uuid,
        after: Option<Uuid>,
        items: &[AppendItem],
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        let events: usize = items.iter().map(|item| item.events.len()).sum();
        let result = self.commit(lease, batch, after, items, now).await;
        self.trace.tell(|| {
            let how = if after.is_some() { " ahead" } else { "" };
            format!(
                "{}: appends {} items, {events} events as {batch}{how}: {result:?}",
                self.node,
                items.len()
            )
        });
        result
    }

    async fn resolve(&self, lease: Lease, sent: &[Sent]) -> Result<Resolution, ReadError> {
        self.read_trouble("resolve").await?;
        let mut resolution = self.shared.resolve(lease, sent).await?;
        if let Resolution::Kept { committed, .. } = &mut resolution
            && self.lie == Some(Lie::ForgetsACommit)
        {
            committed.clear();
        }
        self.trace.tell(|| format!("{}: settles {sent:?}: {resolution:?}", self.node));
        self.travel().await;
        if self.per_cent(10) {
            // The answer is lost: whoever asks again finds a raised epoch.
            return Err(ReadError::Unavailable("simulated".into()));
        }
        Ok(resolution)
    }

    async fn load(&self, stream: &StreamId, snapshot_version: Option<u32>) -> Result<Loaded, ReadError> {
        self.read_trouble("load").await?;
        let mut loaded = self.shared.load(stream, snapshot_version).await?;
        if self.lies(Lie::LoadsTooLittle) {
            loaded.tail.pop();
        }
        self.travel().await;
        Ok(loaded)
    }

    async fn outcome(&self, command: CommandId) -> Result<Option<StoredOutcome>, ReadError> {
        self.read_trouble("outcome").await?;
        if self.lie == Some(Lie::ForgetsAnswers) {
            self.shared.expire_outcomes(DateTime::<Utc>::MAX_UTC, 1_000).await?;
        }
        let found = self.shared.outcome(command).await?;
        self.travel().await;
        Ok(found)
    }

    async fn expire_outcomes(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, ReadError> {
        self.read_trouble("expire").await?;
        self.shared.expire_outcomes(before, limit).await
    }

    async fn claim_holder(&self, claim: &Claim) -> Result<Option<StreamId>, ReadError> {
        self.read_trouble("claim holder").await?;
        self.shared.claim_holder(claim).await
    }

    async fn save_snapshots(
        &self,
        snapshots: &[(StreamId, Snapshot)],
        now: DateTime<Utc>,
    ) -> Result<u64, ReadError> {
        self.read_trouble("snapshot").await?;
        self.shared.save_snapshots(snapshots, now).await
    }

    async fn read(&self, shard: ShardId, after: Position, limit: usize) -> Result<Vec<Envelope>, FeedError> {
        self.travel().await;
        self.shared.read(shard, after, limit).await
    }

    async fn head(&self, shard: ShardId) -> Result<Position, FeedError> {
        self.travel().await;
        self.shared.head(shard).await
    }
}
