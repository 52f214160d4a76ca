//! What goes into dispatch and what comes out.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::{CommandId, EventId, Metadata, PositionToken};
use serde::{Deserialize, Serialize};

/// A caller's promise that a repeated command is the same command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Derived from (tenant, caller, `Idempotency-Key`) or from the causing event.
    pub id: CommandId,
    /// A hash of what was asked; the same id with another fingerprint is refused.
    pub fingerprint: [u8; 32],
}

/// Everything about a command but the command.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// Shared with what becomes of the command: its events, and what is told of them.
    pub metadata: Arc<Metadata>,
    /// `None`: nothing is stored, and a repetition is a new command.
    pub idempotency: Option<Idempotency>,
    /// The sequence, or revision, that the caller last saw (`If-Match`); another one is refused.
    pub expected_sequence: Option<u64>,
    /// How long it may wait before it is handed to the journal's writer. After that the answer is the outcome.
    pub deadline: Duration,
}

impl CommandContext {
    /// A command without an id or expectation, with five seconds to reach the writer.
    pub fn new(metadata: Metadata) -> Self {
        let metadata = Arc::new(metadata);
        Self { metadata, idempotency: None, expected_sequence: None, deadline: Duration::from_secs(5) }
    }
}

/// What dispatch returns for a command that was carried out, or had nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Where the last of its events stands; `None` if it had nothing to do.
    #[serde(skip)]
    pub position: Option<PositionToken>,
    /// The stream's sequence after it, 0 for an empty stream; or its revision, where the decider counts one.
    pub sequence: u64,
    pub event_ids: Vec<EventId>,
    /// When the journal took it.
    #[serde(skip)]
    pub recorded_at: Option<DateTime<Utc>>,
    /// True if this is the stored answer to an earlier sending of the same command.
    #[serde(skip)]
    pub replayed: bool,
}

impl Receipt {
    /// True if the command, or the earlier sending it repeats, made events.
    pub fn changed(&self) -> bool {
        !self.event_ids.is_empty()
    }
}

/// Whose intake is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    Node,
    Tenant,
    Actor,
}

impl Intake {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Tenant => "tenant",
            Self::Actor => "aggregate",
        }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum DispatchError<R> {
    #[error("refused: {rejection}")]
    Rejected { rejection: R, replayed: bool },
    /// Another stream holds the name.
    #[error("the {kind} is taken")]
    ClaimTaken { kind: String },
    #[error("the stream is at sequence {found}, not at {expected}")]
    PreconditionFailed { expected: u64, found: u64 },
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("the same command is being carried out")]
    InFlight,
    /// PostgreSQL would refuse the text: it holds a NUL or a lone surrogate.
    #[error("the command holds text that can't be stored")]
    Unstorable,
    #[error("too many commands are waiting ({intake:?})")]
    Busy { intake: Intake, retry_after: Duration },
    /// It was not carried out; try again.
    #[error("not available: {reason}")]
    Unavailable { reason: &'static str, retry_after: Duration },
    /// It was handed over and its outcome can't be known now: ask again with the same idempotency key.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// The aggregate can't be loaded or folded; its neighbours work on.
    #[error("the aggregate is quarantined")]
    Quarantined,
}
