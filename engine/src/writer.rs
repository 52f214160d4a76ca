//! The shard's writer: group commit.
//!
//! Actors decide in parallel and hand their events over; the writer appends what has gathered in one transaction while
//! the next batch gathers, and answers each command after the commit. Where much gathers, the next batch is sent behind
//! the one that is under way (ADR-JRNL-003). It is the only one that knows the lease. What it promises:
//!
//! * Nothing is answered before it is durable. No-ops and rejections wait for what they were decided on, and for a
//!   check that the shard is still owned.
//! * When an item fails, all later items of its incarnation are refused: they were decided on a state that never was.
//! * An unclear commit is settled before anything else is appended. If it can't be settled in time, its commands hear
//!   that the outcome is unknown, and all memory is dropped.

mod batch;
mod flight;
mod incarnation;
mod ownership;
mod recovery;
mod teller;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kernel::{Clock, Ids, ShardId, StreamId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::feed::Live;
use crate::journal::{AppendItem, Journal, Lease, Refusal};

pub use batch::Answer;
use flight::{Enough, Flights};
use incarnation::Doubts;
pub use incarnation::{Incarnation, Trust};
pub use ownership::Ownership;
use ownership::Told;
use teller::Teller;
use waiting::Waiting;

/// Bounds and patience of a writer.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    pub shard: ShardId,
    /// This node, as the lease names it.
    pub node: Uuid,
    /// Items in one transaction, at most.
    pub batch_items_max: usize,
    /// Of these one tenant's, at most, while others wait too: a flood must not make its neighbours' commits long, nor
    /// take the processor from them.
    pub batch_tenant_items_max: usize,
    /// How many items must wait, at least, for the next batch to be sent before the one under way is answered. Fewer are
    /// better off together in the one after it.
    pub ahead_items_min: usize,
    /// For how long others count as waiting after they did: a batch that happens to hold none of theirs must not be
    /// the flood's alone, for they will wait for it.
    pub shares_last: Duration,
    /// How long a lease lasts without being prolonged.
    pub lease_ttl: Duration,
    /// How long the database may take to answer before the connection is given up and the outcome settled on another
    /// one: a connection can go silent without breaking.
    pub answer_max: Duration,
    /// How long the commands of an unclear commit wait for the database to come back.
    pub unclear_patience: Duration,
    /// The pause between two attempts to reach the database or to get the lease.
    pub retry_pause: Duration,
    /// Whether it runs on a thread of its own (ADR-COMM-002), or among the tasks of whoever starts it, as a simulation
    /// on one paused clock must have it.
    pub own_thread: bool,
}

impl WriterConfig {
    pub fn new(shard: ShardId, node: Uuid) -> Self {
        Self {
            shard,
            node,
            batch_items_max: 1024,
            batch_tenant_items_max: 8,
            ahead_items_min: 32,
            shares_last: Duration::from_secs(1),
            lease_ttl: Duration::from_secs(10),
            answer_max: Duration::from_secs(15),
            unclear_patience: Duration::from_secs(10),
            retry_pause: Duration::from_millis(100),
            own_thread: true,
        }
    }
}

/// Why an item was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendFailure {
    #[error("{0:?}")]
    Refused(Refusal),
    /// It was decided on a state that never was, or on memory that is no longer trusted. Load and decide again.
    #[error("decided on a state that is void")]
    Superseded,
    /// It was not written; the shard can't take it now.
    #[error("not available: {0}")]
    Unavailable(&'static str),
    #[error("the outcome is unknown")]
    OutcomeUnknown,
}

/// An item on its way through the writer.
pub(crate) struct Queued {
    pub item: AppendItem,
    pub incarnation: Arc<Incarnation>,
    pub asker: Asker,
}

/// Who is to hear what became of an item, exactly once. Dropped before that, it hears that nobody knows.
pub(crate) struct Asker(Option<Box<Hear>>);

type Hear = dyn FnOnce(Result<Answer, AppendFailure>) + Send;

impl Asker {
    /// `hear` must not wait: it runs where the commit was learned of.
    pub fn new(hear: impl FnOnce(Result<Answer, AppendFailure>) + Send + 'static) -> Self {
        Self(Some(Box::new(hear)))
    }

    pub fn tell(mut self, result: Result<Answer, AppendFailure>) {
        if let Some(hear) = self.0.take() {
            hear(result);
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(hear) = self.0.take() {
            hear(Err(AppendFailure::OutcomeUnknown));
        }
    }
}

/// The way to a shard's writer.
#[derive(Clone, Debug)]
pub struct WriterHandle(Arc<Way>);

#[derive(Debug)]
struct Way {
    queue: mpsc::Sender<Queued>,
    enough: Arc<Enough>,
    told: Arc<Told>,
    doubts: Arc<Doubts>,
    trouble: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
}

impl WriterHandle {
    /// Starts a writer. `queue_max` must be at least the number of commands that can be under way at once.
    ///
    /// # Errors
    /// If it is to have a thread of its own and can't get one.
    pub fn start(
        config: WriterConfig,
        journal: Arc<dyn Journal>,
        live: Live,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        queue_max: usize,
    ) -> std::io::Result<Self> {
        let own_thread = config.own_thread;
        let (queue, receiver) = mpsc::channel(queue_max);
        let (stop, stopping) = watch::channel(false);
        let (complain, trouble) = watch::channel(None);
        let (told, doubts) = (Arc::new(Told::default()), Arc::new(Doubts::default()));
        let enough = Arc::new(Enough::default());
        let writer = Writer {
            teller: Teller::start(config.shard, live),
            config,
            journal,
            clock,
            ids,
            enough: enough.clone(),
            told: told.clone(),
            doubts: doubts.clone(),
            complain,
            lineage: 0,
            lease: None,
            shared_at: None,
        };
        let run = writer.run(receiver, stopping);
        if own_thread {
            run_apart(run)?;
        } else {
            tokio::spawn(run);
        }
        Ok(Self(Arc::new(Way { queue, enough, told, doubts, trouble, stop })))
    }

    pub fn ownership(&self) -> Ownership {
        self.0.told.now()
    }

    /// Why the last attempt to write failed, if it did: PostgreSQL's words, with its code.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.borrow().clone()
    }

    /// What a stream loaded from now on may be trusted on, or `None` while this node doesn't own the shard.
    pub fn trust(&self, stream: &StreamId) -> Option<Trust> {
        let doubts = self.0.doubts.of(stream).load(Ordering::Acquire);
        match self.ownership() {
            Ownership::Owned { lineage } => Some(Trust { lineage, doubts }),
            Ownership::Waiting | Ownership::Recovering | Ownership::Stopped => None,
        }
    }

    /// Waits until this node owns the shard.
    pub async fn owned(&self) {
        self.0.told.wait_for(|now| matches!(now, Ownership::Owned { .. })).await;
    }

    /// How many items wait to be appended.
    pub fn depth(&self) -> usize {
        self.0.queue.max_capacity() - self.0.queue.capacity()
    }

    /// Hands an item over, at once. If the queue is full or the writer has stopped, its asker hears of it.
    pub(crate) fn hand_over(&self, queued: Queued) {
        match self.0.queue.try_send(queued) {
            Ok(()) => self.0.enough.there_are(self.depth()),
            Err(mpsc::error::TrySendError::Full(queued) | mpsc::error::TrySendError::Closed(queued)) => {
                queued.asker.tell(Err(AppendFailure::Unavailable("the writer takes nothing now")));
            }
        }
    }

    /// Appends what is queued, gives the lease back and stops.
    pub async fn drain(&self) {
        let _ = self.0.stop.send(true);
        self.0.told.wait_for(|now| now == Ownership::Stopped).await;
    }
}

/// Runs the writer, with the journal's connection that it opens, on a thread of its own: among the node's tasks it
/// would stand in line behind the very commands that wait for it, while the database has nothing to do.
fn run_apart(run: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            // Whoever starts it waits to hear this.
            Err(error) => return drop(tell.send(Err(error))),
        };
        let _ = tell.send(Ok(()));
        runtime.block_on(run);
    })?;
    told.recv().unwrap_or_else(|_| Err(std::io::Error::other("the writer's thread ended before it began")))
}

/// The writer's task.
struct Writer {
    config: WriterConfig,
    journal: Arc<dyn Journal>,
    teller: Teller,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    enough: Arc<Enough>,
    told: Arc<Told>,
    doubts: Arc<Doubts>,
    complain: watch::Sender<Option<String>>,
    lineage: u64,
    lease: Option<Lease>,
    /// When several tenants last waited at once.
    shared_at: Option<Instant>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Queued>, mut stopping: watch::Receiver<bool>) {
        let mut waiting = Waiting::default();
        let mut flights = Flights::default();
        let mut renew = tokio::time::interval(self.config.lease_ttl / 3);
        renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let teller = self.teller.clone();
        while !*stopping.borrow() && !teller.has_ended() {
            if self.lease.is_none() {
                tokio::select! {
                    biased;
                    () = self.take_shard(&mut waiting, &mut queue) => {}
                    _ = stopping.changed() => break,
                    () = teller.ended() => break,
                }
                continue;
            }
            tokio::select! {
                biased;
                (flight, answer) = flights.landed() => {
                    self.land(flight, answer, &mut flights).await;
                    // Whoever came meanwhile goes out while the next one is worked on.
                    self.ask_for_more(&flights, &queue);
                }
                _ = renew.tick() => {
                    self.renew().await;
                    // What was sent while the shard was owned may have been written.
                    if self.lease.is_none() {
                        self.land_all(&mut flights).await;
                    }
                }
                first = queue.recv(), if flights.is_empty() && waiting.is_empty() => {
                    let Some(first) = first else { break };
                    waiting.push(first);
                }
                // Whoever came meanwhile has a turn, too.
                () = std::future::ready(()), if flights.is_empty() && !waiting.is_empty() => {
                    waiting.take_up(&mut queue);
                    self.send(&mut waiting, &mut flights);
                    self.ask_for_more(&flights, &queue);
                }
                () = self.enough.told(), if flights.only().is_some() => {
                    waiting.take_up(&mut queue);
                    self.send(&mut waiting, &mut flights);
                }
                _ = stopping.changed() => break,
                () = teller.ended() => break,
            }
        }
        queue.close();
        self.land_all(&mut flights).await;
        while let Some(queued) = queue.recv().await {
            waiting.push(queued);
        }
        if self.teller.has_ended() {
            // Nobody could be told what became of them.
            waiting.drain().for_each(|queued| batch::refuse(queued, AppendFailure::Unavailable("stopped")));
        }
        while !waiting.is_empty() {
            self.send(&mut waiting, &mut flights);
            self.land_all(&mut flights).await;
        }
        if let Some(lease) = self.lease.take()
            && let Err(error) = self.journal.release(lease).await
        {
            tracing::warn!(error = %error, "the lease could not be given back; the next owner waits for it to lapse");
        }
    }

    /// While one batch is under way alone, the next is sent behind it as soon as about as much waits as would be worth a
    /// batch of its own: half of what is under way, and not too few.
    fn ask_for_more(&self, flights: &Flights, queue: &mpsc::Receiver<Queued>) {
        if let Some(flight) = flights.only() {
            self.enough.want(self.config.ahead_items_min.max(flight.items.len() / 2));
            // Enough may have come before.
            self.enough.there_are(queue.len());
        }
    }

    /// Whether what an item was decided on is still all there is, as far as this node can know.
    fn trusts(&self, queued: &Queued) -> bool {
        let doubts = self.doubts.of(&queued.item.stream).load(Ordering::Acquire);
        !queued.incarnation.is_poisoned()
            && queued.incarnation.trust() == Trust { lineage: self.lineage, doubts }
    }
}

impl Drop for Writer {
    /// However it ends, nobody waits for it any more.
    fn drop(&mut self) {
        self.told.tell(Ownership::Stopped);
    }
}

#[cfg(test)]
mod tests;
