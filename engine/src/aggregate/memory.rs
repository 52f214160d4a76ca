//! An aggregate's state in memory: loaded from snapshot and tail, carried on by decisions.

use std::sync::Arc;

use kernel::{Decider, EventId, StreamId};

use crate::adapter::Folded;
use crate::journal::{Journal, Loaded, ReadError, Snapshot};
use crate::writer::{Incarnation, Trust};

/// One life of an aggregate.
pub(super) struct Memory<D> {
    /// The state as it will be when all that is in flight has committed.
    pub folded: Folded<D>,
    /// The sequence of that state.
    pub head: u64,
    pub last_event: Option<EventId>,
    pub incarnation: Arc<Incarnation>,
    /// The sequence of the newest snapshot.
    pub snapshot_at: u64,
    /// A state waiting for its events to be durable before it is kept as a snapshot.
    pub candidate: Option<Candidate<D>>,
}

/// A state that becomes a snapshot once it is durable.
pub(super) struct Candidate<D> {
    pub sequence: u64,
    pub event_id: EventId,
    pub state: D,
}

/// A stream as the journal has it, folded.
pub(crate) struct Stored<D> {
    pub state: D,
    /// The sequence of that state.
    pub head: u64,
    last_event: Option<EventId>,
    snapshot_at: u64,
}

impl<D: Decider> Stored<D> {
    /// Loads a stream: the newest snapshot of the state's version, and what came after.
    pub(crate) async fn load(journal: &dyn Journal, stream: &StreamId) -> Result<Self, ReadError> {
        let loaded = journal.load(stream, Some(D::SNAPSHOT_VERSION)).await?;
        match Self::fold(stream, loaded) {
            // A snapshot that can't be read is no snapshot; the events are the truth.
            Err(Unfolded::Snapshot(reason)) => {
                tracing::warn!(stream = %stream, reason, "a snapshot can't be read; loading all events");
                let loaded = journal.load(stream, None).await?;
                Self::fold(stream, loaded).map_err(|unfolded| unfolded.into_error(stream))
            }
            other => other.map_err(|unfolded| unfolded.into_error(stream)),
        }
    }

    fn fold(stream: &StreamId, loaded: Loaded) -> Result<Self, Unfolded> {
        let (mut state, mut head, mut last_event) = (D::default(), 0, None);
        if let Some(Snapshot { sequence, event_id, state: stored, .. }) = loaded.snapshot {
            state = serde_json::from_value(stored).map_err(|error| Unfolded::Snapshot(error.to_string()))?;
            (head, last_event) = (sequence, Some(event_id));
        }
        let snapshot_at = head;
        for envelope in &loaded.tail {
            let expected = if envelope.part == 0 { head + 1 } else { head };
            if envelope.sequence != expected {
                let reason = format!("expected sequence {expected}, found {}", envelope.sequence);
                return Err(Unfolded::Event { sequence: envelope.sequence, reason });
            }
            let event: D::Event = envelope.decode().map_err(|error| Unfolded::Event {
                sequence: envelope.sequence,
                reason: error.to_string(),
            })?;
            state.evolve(&event);
            (head, last_event) = (envelope.sequence, Some(envelope.event_id));
        }
        tracing::trace!(stream = %stream, sequence = head, "loaded");
        Ok(Self { state, head, last_event, snapshot_at })
    }
}

impl<D: Decider> Memory<D> {
    /// Loads a stream. `trust` was asked for before.
    pub(super) async fn load(
        journal: &dyn Journal,
        stream: &StreamId,
        trust: Trust,
    ) -> Result<Self, ReadError> {
        let Stored { state, head, last_event, snapshot_at } = Stored::load(journal, stream).await?;
        Ok(Self {
            folded: Folded::new(state),
            head,
            last_event,
            incarnation: Arc::new(Incarnation::new(trust, head)),
            snapshot_at,
            candidate: None,
        })
    }

    /// What a caller knows the state, or a part of it, by: a revision, or the sequence.
    pub(super) fn revision(&self, part: Option<&str>) -> u64 {
        self.folded.state.revision(part).unwrap_or(self.head)
    }

    /// Marks the state as the next snapshot if enough has happened since the last one.
    pub(super) fn propose_snapshot(&mut self, events_min: u64) {
        if self.candidate.is_none()
            && self.head >= self.snapshot_at + events_min
            && let Some(event_id) = self.last_event
        {
            self.snapshot_at = self.head;
            self.candidate =
                Some(Candidate { sequence: self.head, event_id, state: self.folded.state.clone() });
        }
    }

    /// The proposed snapshot, once all its events are durable.
    pub(super) fn due_snapshot(&mut self) -> Option<Snapshot> {
        let durable = self.incarnation.durable();
        if self.candidate.as_ref().is_none_or(|candidate| candidate.sequence > durable) {
            return None;
        }
        let Candidate { sequence, event_id, state } = self.candidate.take()?;
        let state = serde_json::to_value(state).ok()?;
        Some(Snapshot { version: D::SNAPSHOT_VERSION, sequence, event_id, state })
    }
}

enum Unfolded {
    Snapshot(String),
    Event { sequence: u64, reason: String },
}

impl Unfolded {
    fn into_error(self, stream: &StreamId) -> ReadError {
        let (sequence, reason) = match self {
            Self::Snapshot(reason) => (0, reason),
            Self::Event { sequence, reason } => (sequence, reason),
        };
        ReadError::Corrupt { stream: stream.clone(), sequence, reason }
    }
}
