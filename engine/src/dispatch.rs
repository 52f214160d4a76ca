//! The engine's front door: a command goes in, a receipt comes out.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kernel::{Claim, Clock, Decider, Ids, Rejection, StreamId, Subject};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::aggregate::{
    Directory, IntakeGate, Keeper, Limits, Order, Quarantine, Quarantined, Reply, SendFailure, Stored,
    Supervision, Surroundings, Sweeper, replay,
};
use crate::command::{CommandContext, DispatchError, Idempotency, Receipt};
use crate::feed::Live;
use crate::journal::{Journal, ReadError};
use crate::writer::{Ownership, WriterConfig, WriterHandle};

/// How long a drain waits for snapshots to be kept.
const KEEPING_MAX: Duration = Duration::from_secs(5);

/// Bounds of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub writer: WriterConfig,
    /// Commands under way on this node, at most.
    pub node_in_flight_max: usize,
    /// Commands under way for one tenant, at most.
    pub tenant_in_flight_max: usize,
    /// Commands under way for one aggregate, at most.
    pub actor_in_flight_max: usize,
    /// Live actors, at most; the least recently used leave first.
    pub actors_live_max: usize,
    /// An actor without orders leaves after this.
    pub actor_idle_max: Duration,
    /// Events since the last snapshot before the next is taken.
    pub snapshot_events_min: u64,
}

impl EngineConfig {
    pub fn new(writer: WriterConfig) -> Self {
        Self {
            writer,
            node_in_flight_max: 8192,
            tenant_in_flight_max: 2048,
            actor_in_flight_max: 1024,
            actors_live_max: 100_000,
            actor_idle_max: Duration::from_secs(300),
            snapshot_events_min: 200,
        }
    }
}

/// How the engine is.
#[derive(Clone, Debug, Serialize)]
pub struct EngineHealth {
    /// True if commands are carried out now.
    pub writes: bool,
    /// `owned`, `waiting`, `recovering` or `stopped`.
    pub shard: &'static str,
    pub actors_live: usize,
    pub commands_under_way: usize,
    pub writer_queue: usize,
    /// Why the journal could not be written the last time, if it could not.
    pub trouble: Option<String>,
    pub quarantined: Vec<Quarantined>,
}

/// The engine of a node. Clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    surroundings: Arc<Surroundings>,
    directories: RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    chores: [tokio::task::AbortHandle; 2],
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.chores.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl Engine {
    /// Starts supervisors, writer and sweeper. `live` is told what is appended.
    pub async fn start(
        config: EngineConfig,
        journal: Arc<dyn Journal>,
        live: Live,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, ractor::SpawnErr> {
        let supervision = Supervision::start().await?;
        // Every order has a permit, and a claim's refusal stores one item more: the queue is never full.
        let queue_max = config.node_in_flight_max * 2;
        let writer =
            WriterHandle::start(config.writer, journal.clone(), live, clock.clone(), ids.clone(), queue_max)
                .map_err(|error| ractor::SpawnErr::StartupFailed(error.into()))?;
        let sweeper = Arc::new(Sweeper::new(config.actor_idle_max, config.actors_live_max));
        let chores = [
            tokio::spawn(sweeper.clone().run()).abort_handle(),
            tokio::spawn(crate::housekeeping::run(journal.clone(), clock.clone())).abort_handle(),
        ];
        let gate = IntakeGate::new(Limits {
            node_max: config.node_in_flight_max,
            tenant_max: config.tenant_in_flight_max,
            actor_max: config.actor_in_flight_max,
        });
        let surroundings = Arc::new(Surroundings {
            keeper: Keeper::start(journal.clone(), clock),
            journal,
            writer,
            ids,
            gate,
            quarantine: Arc::new(Quarantine::default()),
            sweeper,
            supervision,
            snapshot_events_min: config.snapshot_events_min,
        });
        Ok(Self(Arc::new(Inner { surroundings, directories: RwLock::default(), chores })))
    }

    /// Carries out a command on one aggregate; returns when its outcome is durable.
    ///
    /// Dropping the future does not stop a command that is under way.
    pub async fn dispatch<D: Decider>(
        &self,
        id: Uuid,
        command: D::Command,
        context: CommandContext,
    ) -> Result<Receipt, DispatchError<D::Rejection>> {
        let directory = self.directory::<D>();
        let result = self.carry_out(&directory, id, command, context).await;
        let carried_out = &directory.carried_out;
        let counter = match &result {
            Ok(receipt) if receipt.changed() => &carried_out.changed,
            Ok(_) => &carried_out.unchanged,
            Err(DispatchError::Rejected { .. } | DispatchError::ClaimTaken { .. }) => &carried_out.rejected,
            Err(_) => &carried_out.failed,
        };
        counter.increment(1);
        result
    }

    async fn carry_out<D: Decider>(
        &self,
        directory: &Arc<Directory<D>>,
        id: Uuid,
        command: D::Command,
        context: CommandContext,
    ) -> Result<Receipt, DispatchError<D::Rejection>> {
        let here = &self.0.surroundings;
        if here.quarantine.holds(&StreamId::new(D::TYPE, id), Instant::now()).is_some() {
            return Err(DispatchError::Quarantined);
        }
        if matches!(here.writer.ownership(), Ownership::Waiting | Ownership::Stopped) {
            return Err(unavailable("not_owner"));
        }
        // First of all, so that what waits for the database is bounded too.
        let permit = here.gate.enter(context.metadata.tenant).map_err(|full| {
            metrics::counter!(crate::telemetry::COMMANDS_REFUSED, "intake" => full.intake.as_str())
                .increment(1);
            DispatchError::Busy { intake: full.intake, retry_after: full.retry_after }
        })?;
        let deadline = Instant::now() + context.deadline;
        let idempotency = context.idempotency;
        if let Some(idempotency) = &idempotency
            && let Some(answer) = self.answered(idempotency).await?
        {
            return answer;
        }
        let (reply, answer) = oneshot::channel();
        let order = Order { command, context, deadline, reply, attempts: 0, permit, load: None };
        directory.send(id, order).map_err(|failure| match failure {
            SendFailure::Full(intake) => {
                metrics::counter!(crate::telemetry::COMMANDS_REFUSED, "intake" => intake.as_str())
                    .increment(1);
                DispatchError::Busy { intake, retry_after: Duration::from_secs(1) }
            }
            SendFailure::NoSupervisor => unavailable("restarting"),
        })?;
        match (answer.await, idempotency) {
            (Ok(Reply::Settled(result)), _) => result,
            (Ok(Reply::LookUp), Some(idempotency)) => {
                self.answered(&idempotency).await?.unwrap_or(Err(DispatchError::InFlight))
            }
            // The actor ended before it handed the order over: nothing was done.
            (Ok(Reply::LookUp) | Err(_), _) => Err(unavailable("crashed")),
        }
    }

    /// The answer to an earlier sending of the same command.
    async fn answered<R: Rejection>(
        &self,
        idempotency: &Idempotency,
    ) -> Result<Option<Result<Receipt, DispatchError<R>>>, DispatchError<R>> {
        let stored =
            self.0.surroundings.journal.outcome(idempotency.id).await.map_err(|_| unavailable("database"))?;
        Ok(stored.map(|stored| replay(stored, &idempotency.fingerprint)))
    }

    /// What an aggregate is as of now, as far as it is durable, and its sequence; the empty state if there is none.
    ///
    /// One read of the journal, by any node. For what a caller must know before they can wish for something, such as the
    /// hash that a password is verified against; the command then says what it was decided on, as the state may have moved.
    ///
    /// # Errors
    /// The stream can't be read or folded.
    pub async fn look<D: Decider>(&self, id: Uuid) -> Result<(D, u64), ReadError> {
        let stream = StreamId::new(D::TYPE, id);
        let stored = Stored::<D>::load(&*self.0.surroundings.journal, &stream).await?;
        Ok((stored.state, stored.head))
    }

    /// The same out of memory, if the aggregate is live here and all that was decided is durable; else it is looked up.
    ///
    /// A node that was paused, and does not know yet that another owns the shard, answers as of then: for what a command
    /// checks again, and what may be as old as the freshness lease.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn recall<D: Decider>(&self, id: Uuid) -> Result<(D, u64), ReadError> {
        match self.directory::<D>().recall(id).await {
            Some(known) => Ok(known),
            None => self.look(id).await,
        }
    }

    pub(crate) fn journal(&self) -> &Arc<dyn Journal> {
        &self.0.surroundings.journal
    }

    /// Which stream holds a name, as of now.
    pub async fn claim_holder(&self, claim: &Claim) -> Result<Option<StreamId>, ReadError> {
        self.0.surroundings.journal.claim_holder(claim).await
    }

    /// Drops what live actors hold of a subject whose key is gone; they load anew what can still be read.
    pub fn forget(&self, subject: Subject) {
        self.0.surroundings.sweeper.forget(subject);
    }

    pub fn health(&self) -> EngineHealth {
        let here = &self.0.surroundings;
        let ownership = here.writer.ownership();
        EngineHealth {
            writes: matches!(ownership, Ownership::Owned { .. }),
            shard: match ownership {
                Ownership::Owned { .. } => "owned",
                Ownership::Waiting => "waiting",
                Ownership::Recovering => "recovering",
                Ownership::Stopped => "stopped",
            },
            actors_live: here.sweeper.live(),
            commands_under_way: here.gate.under_way(),
            writer_queue: here.writer.depth(),
            trouble: here.writer.trouble(),
            quarantined: here.quarantine.list(Instant::now()),
        }
    }

    /// Waits until this node owns the shard.
    pub async fn owned(&self) {
        self.0.surroundings.writer.owned().await;
    }

    /// Carries out what is under way, appends it, gives the lease back and stops the actors. Snapshots that were taken by
    /// then are kept, unless that takes longer than five seconds.
    pub async fn drain(&self) {
        self.0.surroundings.writer.drain().await;
        let _ = tokio::time::timeout(KEEPING_MAX, self.0.surroundings.keeper.drain()).await;
        self.0.surroundings.sweeper.end();
        self.0.surroundings.supervision.stop();
    }

    pub(crate) fn directory<D: Decider>(&self) -> Arc<Directory<D>> {
        let key = TypeId::of::<D>();
        let known = self.0.directories.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(directory) = known.and_then(|directory| directory.downcast().ok()) {
            return directory;
        }
        let mut directories = self.0.directories.write().unwrap_or_else(PoisonError::into_inner);
        let known = directories.get(&key).cloned().and_then(|directory| directory.downcast().ok());
        known.unwrap_or_else(|| {
            let directory = Directory::<D>::new(self.0.surroundings.clone());
            directories.insert(key, directory.clone());
            self.0.surroundings.sweeper.watch(directory.clone());
            directory
        })
    }
}

fn unavailable<R>(reason: &'static str) -> DispatchError<R> {
    DispatchError::Unavailable { reason, retry_after: Duration::from_secs(1) }
}
