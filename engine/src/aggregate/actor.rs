//! The actor of one aggregate.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, PoisonError};

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, EventStore};
use futures::FutureExt;
use kernel::{CommandId, Decider, Ids, Subject};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::directory::Presence;
use super::intake::IntakeGate;
use super::keeper::Keeper;
use super::memory::Memory;
use super::order::{Order, Reply, Verdict, stored_body};
use super::quarantine::Quarantine;
use super::settlement::Settlement;
use super::supervisor::Supervision;
use super::sweeper::Sweeper;
use crate::adapter::{Fact, Folded};
use crate::codec::mentions;
use crate::command::DispatchError;
use crate::journal::{Journal, NewOutcome, PrepareError, ReadError};
use crate::store::{CommandStore, Decided, Errand, event_ids};
use crate::writer::{AppendFailure, Asker, Queued, WriterHandle};

/// What all actors of a node share.
pub(crate) struct Surroundings {
    pub journal: Arc<dyn Journal>,
    pub writer: WriterHandle,
    pub ids: Arc<dyn Ids>,
    pub gate: Arc<IntakeGate>,
    pub quarantine: Arc<Quarantine>,
    pub sweeper: Arc<Sweeper>,
    pub keeper: Keeper,
    pub supervision: Supervision,
    /// Events since the last snapshot before the next is taken.
    pub snapshot_events_min: u64,
}

impl Surroundings {
    /// Asks for the keys that an item is to be sealed under, then hands it over. The actor waits: what it decides next
    /// comes after.
    async fn hand_over_slowly(&self, mut queued: Queued, deadline: Instant) {
        let prepared = tokio::time::timeout_at(deadline, self.journal.prepare_slowly(&mut queued.item)).await;
        let failure = match prepared {
            Ok(Ok(())) => return self.writer.hand_over(queued),
            Ok(Err(PrepareError::Refused(refusal))) => AppendFailure::Refused(refusal),
            Ok(Err(PrepareError::Unavailable(reason))) => {
                tracing::warn!(reason, "the keys that an event is to be sealed under can't be had now");
                AppendFailure::Unavailable("database")
            }
            Err(_) => AppendFailure::Unavailable("deadline"),
        };
        queued.asker.tell(Err(failure));
    }
}

/// The handler; its state is the aggregate.
pub(super) struct AggregateActor<D>(PhantomData<fn() -> D>);

impl<D> Default for AggregateActor<D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

pub(super) struct Arguments<D: Decider> {
    pub presence: Presence<D>,
    pub surroundings: Arc<Surroundings>,
}

pub(crate) enum Message<D: Decider> {
    Order(Box<Order<D>>),
    /// An order with an id has its answer.
    Settled(CommandId),
    Passivate,
    /// The subject was forgotten: a state that holds something of theirs is loaded anew.
    Forget(Subject),
    /// What it is and its sequence, unless that is not durable, or not to be trusted.
    Recall(oneshot::Sender<Option<(D, u64)>>),
}

pub(super) struct State<D: Decider> {
    presence: Presence<D>,
    surroundings: Arc<Surroundings>,
    /// `None` until the first order, and after a failure.
    memory: Option<Memory<D>>,
    /// Commands with an id that wait for their commit, with what was asked.
    in_flight: HashMap<CommandId, [u8; 32]>,
}

impl<D: Decider> Actor for AggregateActor<D> {
    type Msg = Message<D>;
    type State = State<D>;
    type Arguments = Arguments<D>;

    async fn pre_start(
        &self,
        _: ActorRef<Message<D>>,
        arguments: Arguments<D>,
    ) -> Result<State<D>, ActorProcessingErr> {
        let Arguments { presence, surroundings } = arguments;
        Ok(State { presence, surroundings, memory: None, in_flight: HashMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message<D>>,
        message: Message<D>,
        state: &mut State<D>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Order(order) => state.carry_out(myself, *order).await,
            Message::Settled(command) => {
                state.in_flight.remove(&command);
            }
            Message::Forget(subject) => state.forget(subject),
            Message::Recall(answer) => {
                // Whoever asked may have gone away.
                let _ = answer.send(state.recall());
            }
            Message::Passivate => {
                if state.presence.leave() {
                    state.keep_snapshot();
                    myself.stop(None);
                }
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Message<D>>,
        state: &mut State<D>,
    ) -> Result<(), ActorProcessingErr> {
        state.presence.ends_in_order();
        Ok(())
    }
}

impl<D: Decider> State<D> {
    async fn carry_out(&mut self, myself: ActorRef<Message<D>>, order: Order<D>) {
        if Instant::now() >= order.deadline {
            return answer(order, Err(unavailable("deadline")));
        }
        if let Some(idempotency) = &order.context.idempotency
            && let Some(asked) = self.in_flight.get(&idempotency.id)
        {
            let refusal = if *asked == idempotency.fingerprint {
                DispatchError::InFlight
            } else {
                DispatchError::KeyReused
            };
            return answer(order, Err(refusal));
        }
        if let Err(error) = self.load(order.deadline).await {
            return answer(order, Err(error));
        }
        let Some(memory) = self.memory.as_mut() else { return };
        let incarnation = memory.incarnation.clone();
        let part = D::part(&order.command);
        let decided = decide(memory, order.command.clone(), part.as_deref(), order.context.expected_sequence);
        let (verdict, events) = match AssertUnwindSafe(decided).catch_unwind().await {
            Ok(decided) => decided,
            Err(panic) => {
                // A rule that panics ends the actor here, before anything was handed over. What was handed over before
                // may be being committed: whoever loads the stream next must come to know of it.
                incarnation.poison();
                resume_unwind(panic)
            }
        };
        self.surroundings.quarantine.recovered(&self.presence.stream());
        let outcome = order.context.idempotency.as_ref().map(|idempotency| NewOutcome {
            command_id: idempotency.id,
            fingerprint: idempotency.fingerprint,
            body: serde_json::Value::Null,
        });
        let decision = Decision { verdict, part, events, outcome };
        self.hand_over(myself, order, decision).await;
    }

    /// What is in memory, if all of it is durable and nothing this node knows speaks against it.
    fn recall(&self) -> Option<(D, u64)> {
        let memory = self.memory.as_ref()?;
        let incarnation = &memory.incarnation;
        let holds = !incarnation.is_poisoned()
            && incarnation.durable() == memory.head
            && self.surroundings.writer.trust(&self.presence.stream()) == Some(incarnation.trust());
        holds.then(|| (memory.folded.state.clone(), memory.head))
    }

    /// Makes sure of a memory that is worth deciding on.
    async fn load(&mut self, deadline: Instant) -> Result<(), DispatchError<D::Rejection>> {
        let writer = &self.surroundings.writer;
        let stream = self.presence.stream();
        let trusted = self.memory.as_ref().is_some_and(|memory| {
            !memory.incarnation.is_poisoned()
                // While a commit is being settled this isn't known; the writer checks it before it appends.
                && writer.trust(&stream).is_none_or(|trust| trust == memory.incarnation.trust())
        });
        if trusted {
            return Ok(());
        }
        if let Some(memory) = self.memory.take() {
            memory.incarnation.poison();
        }
        self.in_flight.clear();
        if tokio::time::timeout_at(deadline, writer.owned()).await.is_err() {
            return Err(unavailable("not_owner"));
        }
        let Some(trust) = writer.trust(&stream) else { return Err(unavailable("not_owner")) };
        match Memory::load(&*self.surroundings.journal, &stream, trust).await {
            Ok(memory) => {
                self.memory = Some(memory);
                Ok(())
            }
            Err(ReadError::Corrupt { sequence, reason, .. }) => {
                self.surroundings.quarantine.corrupt(
                    &stream,
                    &format!("sequence {sequence}: {reason}"),
                    Instant::now(),
                );
                Err(DispatchError::Quarantined)
            }
            Err(ReadError::Unavailable(reason)) => {
                tracing::warn!(stream = %stream, reason, "an aggregate can't be loaded now");
                Err(unavailable("database"))
            }
        }
    }

    /// Hands the decision to the writer through cqrs-es and leaves the rest to a settlement.
    async fn hand_over(&mut self, myself: ActorRef<Message<D>>, order: Order<D>, decision: Decision<D>) {
        let Decision { verdict, part, events, outcome } = decision;
        let Some(memory) = self.memory.as_mut() else { return };
        let ids = event_ids(&*self.surroundings.ids, events.len());
        let before = memory.head;
        memory.head += events.len() as u64;
        memory.last_event = ids.last().copied().or(memory.last_event);
        let verdict = match verdict {
            Verdict::Done { .. } => {
                Verdict::Done { sequence: memory.revision(part.as_deref()), event_ids: ids.clone() }
            }
            other => other,
        };
        let outcome = outcome.map(|outcome| NewOutcome { body: stored_body(&verdict), ..outcome });
        if let Some(outcome) = &outcome {
            self.in_flight.insert(outcome.command_id, outcome.fingerprint);
        }
        let mut metadata = Arc::clone(&order.context.metadata);
        if let Some(outcome) = &outcome {
            Arc::make_mut(&mut metadata).command_id = Some(outcome.command_id);
        }
        let deadline = order.deadline;
        let settlement = Settlement { myself, order, verdict, incarnation: memory.incarnation.clone() };
        let errand = Errand {
            stream: self.presence.stream(),
            metadata,
            claims: memory.folded.take_claims(),
            outcome,
            incarnation: memory.incarnation.clone(),
            event_ids: ids,
            asker: Asker::new(|result| settlement.finish(result)),
        };
        let (store, unready) =
            CommandStore::new(self.surroundings.writer.clone(), self.surroundings.journal.clone(), errand);
        // The state stays here: what was decided is in the events.
        let id = self.presence.stream().id.to_string();
        let context = Decided::<D> { id, folded: Folded::default(), sequence: before };
        // Handing over never waits, so that orders reach the writer in the order they were decided. What became of it
        // is the settlement's to hear.
        let _ = store.commit(events, context, HashMap::new()).now_or_never();
        memory.propose_snapshot(self.surroundings.snapshot_events_min);
        // The lock is not held while waiting.
        let unready = unready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(queued) = unready {
            self.surroundings.hand_over_slowly(queued, deadline).await;
        }
        self.keep_due_snapshot();
    }

    /// Drops a state that holds something of the subject's. What was decided on it and waits for its commit is decided
    /// anew on what can still be read.
    fn forget(&mut self, subject: Subject) {
        let Some(memory) = &self.memory else { return };
        let holds = |state: &D| serde_json::to_string(state).is_ok_and(|state| mentions(&state, subject));
        let candidate = memory.candidate.as_ref().is_some_and(|candidate| holds(&candidate.state));
        if candidate || holds(&memory.folded.state) {
            memory.incarnation.poison();
            self.memory = None;
        }
    }

    fn keep_due_snapshot(&mut self) {
        let Some(snapshot) = self.memory.as_mut().and_then(Memory::due_snapshot) else { return };
        self.surroundings.keeper.keep(self.presence.stream(), snapshot);
    }

    /// On leaving: a state that took a while to load is kept for the next time.
    fn keep_snapshot(&mut self) {
        let events_min = (self.surroundings.snapshot_events_min / 4).max(1);
        if let Some(memory) = self.memory.as_mut()
            && !memory.incarnation.is_poisoned()
        {
            memory.propose_snapshot(events_min);
            self.keep_due_snapshot();
        }
    }
}

/// What was decided, on its way to the writer.
struct Decision<D: Decider> {
    verdict: Verdict<D::Rejection>,
    /// What the command changes, where that is known by a tag of its own.
    part: Option<String>,
    events: Vec<Fact<D::Event>>,
    outcome: Option<NewOutcome>,
}

/// Decides on the state as it will be, and carries it on.
async fn decide<D: Decider>(
    memory: &mut Memory<D>,
    command: D::Command,
    part: Option<&str>,
    expected: Option<u64>,
) -> (Verdict<D::Rejection>, Vec<Fact<D::Event>>) {
    let found = memory.revision(part);
    if let Some(expected) = expected
        && expected != found
    {
        return (Verdict::Precondition { expected, found }, Vec::new());
    }
    let sink = EventSink::default();
    match memory.folded.handle(command, &(), &sink).await {
        Ok(()) => (Verdict::Done { sequence: found, event_ids: Vec::new() }, sink.collect().await),
        Err(rejection) => (Verdict::Rejected(rejection), Vec::new()),
    }
}

pub(super) fn unavailable<R>(reason: &'static str) -> DispatchError<R> {
    DispatchError::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) }
}

fn answer<D: Decider>(order: Order<D>, result: Result<crate::command::Receipt, DispatchError<D::Rejection>>) {
    // Whoever asked may have gone away.
    let _ = order.reply.send(Reply::Settled(result));
}
