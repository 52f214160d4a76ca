//! The repository that cqrs-es commits through: one value per command.
//!
//! It carries in what cqrs-es has no word for (metadata, claims, command id, the actor's incarnation) and carries the
//! answer out. Persisting hands the events to the shard's writer and doesn't wait: what became of them is told to the
//! errand's asker, after the commit.

use std::sync::{Arc, Mutex, PoisonError};

use cqrs_es::Aggregate;
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot,
};
use kernel::{ClaimChange, EventId, Ids, Metadata, StreamId};
use serde_json::Value;

use crate::journal::{AppendItem, Journal, NewEvent, NewOutcome, ReadError};
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

/// The repository of one command.
pub(crate) struct CommandRepository {
    writer: WriterHandle,
    journal: Arc<dyn Journal>,
    errand: Mutex<Option<Errand>>,
    unready: Unready,
}

/// What could not be made ready at once, because keys must be asked for first: the actor does that, and hands it over
/// before it decides anything else.
pub(crate) type Unready = Arc<Mutex<Option<Queued>>>;

impl CommandRepository {
    pub(crate) fn new(writer: WriterHandle, journal: Arc<dyn Journal>, errand: Errand) -> (Self, Unready) {
        let unready = Unready::default();
        let errand = Mutex::new(Some(errand));
        (Self { writer, journal, errand, unready: unready.clone() }, unready)
    }

    fn hand_over(&self, events: &[SerializedEvent]) -> Result<(), AppendFailure> {
        let errand = self.errand.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(errand) = errand else {
            return Err(AppendFailure::Unavailable("a repository serves one command"));
        };
        let events = events
            .iter()
            .zip(errand.event_ids)
            .map(|(event, event_id)| NewEvent {
                sequence: event.sequence as u64,
                event_id,
                event_type: event.event_type.clone(),
                event_version: event.event_version.clone(),
                payload: event.payload.clone(),
            })
            .collect();
        let mut item = AppendItem {
            stream: errand.stream,
            metadata: errand.metadata,
            events,
            claims: errand.claims,
            outcome: errand.outcome,
            prepared: None,
        };
        let is_ready = match self.journal.prepare(&mut item) {
            Ok(is_ready) => is_ready,
            Err(refusal) => {
                let failure = AppendFailure::Refused(refusal);
                errand.asker.tell(Err(failure.clone()));
                return Err(failure);
            }
        };
        let queued = Queued { item, incarnation: errand.incarnation, asker: errand.asker };
        if is_ready {
            self.writer.hand_over(queued);
        } else {
            *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = Some(queued);
        }
        Ok(())
    }

    async fn stored<A: Aggregate>(
        &self,
        id: &str,
        after: u64,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let id = id.parse().map_err(|error| PersistenceError::UnknownError(Box::new(error)))?;
        let stream = StreamId::new(A::TYPE, id);
        let loaded = self.journal.load(&stream, None).await.map_err(read_error)?;
        let newer = loaded.tail.into_iter().filter(|event| event.sequence > after);
        Ok(newer
            .map(|event| {
                SerializedEvent::new(
                    event.stream.id.to_string(),
                    usize::try_from(event.sequence).unwrap_or(usize::MAX),
                    A::TYPE.to_owned(),
                    event.event_type.into_owned(),
                    event.event_version.into_owned(),
                    event.payload.into_value(),
                    Value::Object(serde_json::Map::new()),
                )
            })
            .collect())
    }
}

/// Fresh ids for a command's events.
pub(crate) fn event_ids(ids: &dyn Ids, count: usize) -> Vec<EventId> {
    (0..count).map(|_| EventId(ids.fresh())).collect()
}

impl PersistedEventRepository for CommandRepository {
    async fn get_events<A: Aggregate>(&self, id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.stored::<A>(id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        id: &str,
        last: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.stored::<A>(id, last as u64).await
    }

    /// Snapshots are the actor's business: cqrs-es's snapshot store applies events twice.
    async fn get_snapshot<A: Aggregate>(
        &self,
        _: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        _: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        self.hand_over(events).map_err(|failure| match failure {
            AppendFailure::Refused(_) | AppendFailure::Superseded => PersistenceError::OptimisticLockError,
            other => PersistenceError::ConnectionError(Box::new(other)),
        })
    }

    /// A replay stream of cqrs-es can't tell an error from the end; feeds are followed instead.
    async fn stream_events<A: Aggregate>(&self, _: &str) -> Result<ReplayStream, PersistenceError> {
        Err(PersistenceError::UnknownError("streams are read through feeds".into()))
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        Err(PersistenceError::UnknownError("streams are read through feeds".into()))
    }
}

fn read_error(error: ReadError) -> PersistenceError {
    match error {
        ReadError::Corrupt { .. } => PersistenceError::DeserializationError(Box::new(error)),
        ReadError::Unavailable(_) => PersistenceError::ConnectionError(Box::new(error)),
    }
}
