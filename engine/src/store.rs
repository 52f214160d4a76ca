//! The store that cqrs-es commits through: one value per command.
//!
//! It carries in what cqrs-es has no word for (metadata, claims, command id, the actor's incarnation) and carries the
//! answer out. Committing hands the events to the shard's writer and doesn't wait: what became of them is told to the
//! errand's asker, after the commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cqrs_es::{Aggregate, AggregateContext, AggregateError, EventEnvelope, EventStore};
use kernel::{ClaimChange, Decider, Event, EventId, Ids, Metadata, Payload, StreamId};

use crate::adapter::{Fact, Folded};
use crate::journal::{AppendItem, Journal, NewEvent, NewOutcome, ReadError, Refusal};
use crate::writer::{AppendFailure, Asker, Incarnation, Queued, WriterHandle};

/// What a command brings beside its events.
pub(crate) struct Errand {
    pub stream: StreamId,
    pub metadata: Arc<Metadata>,
    pub claims: Vec<ClaimChange>,
    pub outcome: Option<NewOutcome>,
    pub incarnation: Arc<Incarnation>,
    /// The ids of the events, one for each.
    pub event_ids: Vec<EventId>,
    /// Hears what became of it.
    pub asker: Asker,
}

/// The store of one command.
pub(crate) struct CommandStore {
    writer: WriterHandle,
    journal: Arc<dyn Journal>,
    errand: Mutex<Option<Errand>>,
    unready: Unready,
}

/// What could not be made ready at once, because keys must be asked for first: the actor does that, and hands it over
/// before it decides anything else.
pub(crate) type Unready = Arc<Mutex<Option<Queued>>>;

impl CommandStore {
    pub(crate) fn new(writer: WriterHandle, journal: Arc<dyn Journal>, errand: Errand) -> (Self, Unready) {
        let unready = Unready::default();
        let errand = Mutex::new(Some(errand));
        (Self { writer, journal, errand, unready: unready.clone() }, unready)
    }

    /// `after`: the sequence that the events follow.
    fn hand_over<E: Event>(&self, events: &[Fact<E>], after: u64) -> Result<(), AppendFailure> {
        let errand = self.errand.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(errand) = errand else {
            return Err(AppendFailure::Unavailable("a store serves one command"));
        };
        let Errand { stream, metadata, claims, outcome, incarnation, event_ids, asker } = errand;
        let item = new_events(events, event_ids, after).and_then(|events| {
            let mut item = AppendItem { stream, metadata, events, claims, outcome, prepared: None };
            let is_ready = self.journal.prepare(&mut item)?;
            Ok((item, is_ready))
        });
        let (item, is_ready) = match item {
            Ok(item) => item,
            Err(refusal) => {
                let failure = AppendFailure::Refused(refusal);
                asker.tell(Err(failure.clone()));
                return Err(failure);
            }
        };
        let queued = Queued { item, incarnation, asker };
        if is_ready {
            self.writer.hand_over(queued);
        } else {
            *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = Some(queued);
        }
        Ok(())
    }

    async fn load<D: Decider>(&self, id: &str) -> Result<Vec<Stored<D>>, AggregateError<D::Rejection>> {
        let id = id.parse().map_err(|error| AggregateError::UnexpectedError(Box::new(error)))?;
        let loaded =
            self.journal.load(&StreamId::new(D::TYPE, id), None).await.map_err(|error| match error {
                ReadError::Corrupt { .. } => AggregateError::DeserializationError(Box::new(error)),
                ReadError::Unavailable(_) => AggregateError::DatabaseConnectionError(Box::new(error)),
            })?;
        let stored = loaded.tail.into_iter().map(|envelope| {
            let event =
                envelope.event().map_err(|error| AggregateError::DeserializationError(Box::new(error)))?;
            Ok(Stored { sequence: envelope.sequence, event: Fact(event) })
        });
        stored.collect()
    }
}

/// An event of a stream.
struct Stored<D: Decider> {
    sequence: u64,
    event: Fact<D::Event>,
}

fn new_events<E: Event>(events: &[Fact<E>], ids: Vec<EventId>, after: u64) -> Result<Vec<NewEvent>, Refusal> {
    let new = events.iter().zip(ids).zip(after + 1..).map(|((Fact(event), event_id), sequence)| {
        // What it says is the text that is stored; followers find it decoded.
        let payload = Payload::of_event(Arc::clone(event))
            .map_err(|error| Refusal::Unstorable { reason: error.to_string() })?;
        let (event_type, event_version) = (event.event_type().into(), event.event_version().into());
        Ok(NewEvent { sequence, event_id, event_type, event_version, payload })
    });
    new.collect()
}

/// Fresh ids for a command's events.
pub(crate) fn event_ids(ids: &dyn Ids, count: usize) -> Vec<EventId> {
    (0..count).map(|_| EventId(ids.fresh())).collect()
}

/// What a command was decided on.
pub(crate) struct Decided<D: Decider> {
    pub id: String,
    pub folded: Folded<D>,
    /// The sequence of the last event before it.
    pub sequence: u64,
}

impl<D: Decider> AggregateContext<Folded<D>> for Decided<D> {
    fn aggregate(&mut self) -> &mut Folded<D> {
        &mut self.folded
    }
}

impl<D: Decider> EventStore<Folded<D>> for CommandStore {
    type AC = Decided<D>;

    async fn load_events(
        &self,
        id: &str,
    ) -> Result<Vec<EventEnvelope<Folded<D>>>, AggregateError<D::Rejection>> {
        let stored = self.load::<D>(id).await?;
        Ok(stored.into_iter().map(|Stored { sequence, event }| envelope(id, sequence, event)).collect())
    }

    async fn load_aggregate(&self, id: &str) -> Result<Decided<D>, AggregateError<D::Rejection>> {
        let mut decided = Decided { id: id.to_owned(), folded: Folded::default(), sequence: 0 };
        for Stored { sequence, event } in self.load::<D>(id).await? {
            decided.folded.apply(event);
            decided.sequence = sequence;
        }
        Ok(decided)
    }

    async fn commit(
        &self,
        events: Vec<Fact<D::Event>>,
        context: Decided<D>,
        _: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<Folded<D>>>, AggregateError<D::Rejection>> {
        self.hand_over(&events, context.sequence).map_err(|failure| match failure {
            AppendFailure::Refused(_) | AppendFailure::Superseded => AggregateError::AggregateConflict,
            other => AggregateError::DatabaseConnectionError(Box::new(other)),
        })?;
        let committed = events.into_iter().zip(context.sequence + 1..);
        Ok(committed.map(|(event, sequence)| envelope(&context.id, sequence, event)).collect())
    }
}

fn envelope<D: Decider>(id: &str, sequence: u64, payload: Fact<D::Event>) -> EventEnvelope<Folded<D>> {
    let sequence = usize::try_from(sequence).unwrap_or(usize::MAX);
    EventEnvelope { aggregate_id: id.to_owned(), sequence, payload, metadata: HashMap::new() }
}
