//! A command on its way, and the answers it can get.

use kernel::{Decider, EventId, PositionToken};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::directory::Load;
use super::intake::Permit;
use crate::command::{CommandContext, DispatchError, Receipt};
use crate::journal::StoredOutcome;

/// A command on its way.
pub(crate) struct Order<D: Decider> {
    pub command: D::Command,
    pub context: CommandContext,
    /// Until when it must have been handed to the writer.
    pub deadline: Instant,
    pub reply: oneshot::Sender<Reply<D::Rejection>>,
    /// How often it was decided already on a state that turned out void.
    pub attempts: u32,
    pub permit: Permit,
    pub load: Option<Load>,
}

/// What the actor's side answers.
#[derive(Debug)]
pub(crate) enum Reply<R> {
    Settled(Result<Receipt, DispatchError<R>>),
    /// Somebody carried out the same command: its stored answer is the answer.
    LookUp,
}

/// What was decided, as it is stored with the command's id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict<R> {
    Done { sequence: u64, event_ids: Vec<EventId> },
    Rejected(R),
    Precondition { expected: u64, found: u64 },
    ClaimTaken(String),
}

impl<R> Verdict<R> {
    pub(crate) fn into_result(
        self,
        position: Option<PositionToken>,
        recorded_at: chrono::DateTime<chrono::Utc>,
        replayed: bool,
    ) -> Result<Receipt, DispatchError<R>> {
        match self {
            Self::Done { sequence, event_ids } => {
                Ok(Receipt { position, sequence, event_ids, recorded_at: Some(recorded_at), replayed })
            }
            Self::Rejected(rejection) => Err(DispatchError::Rejected { rejection, replayed }),
            Self::Precondition { expected, found } => {
                Err(DispatchError::PreconditionFailed { expected, found })
            }
            Self::ClaimTaken(kind) => Err(DispatchError::ClaimTaken { kind }),
        }
    }
}

/// The answer to a command that was carried out before.
pub(crate) fn replay<R: kernel::Rejection>(
    stored: StoredOutcome,
    fingerprint: &[u8; 32],
) -> Result<Receipt, DispatchError<R>> {
    if stored.fingerprint != fingerprint {
        return Err(DispatchError::KeyReused);
    }
    let position = stored.position.map(|position| PositionToken { shard: stored.shard, position });
    match serde_json::from_value::<Verdict<R>>(stored.body) {
        Ok(verdict) => verdict.into_result(position, stored.recorded_at, true),
        // An answer in a shape this binary doesn't know: it was carried out, that much is certain.
        Err(error) => {
            tracing::error!(error = %error, "a stored outcome can't be read");
            Err(DispatchError::OutcomeUnknown)
        }
    }
}

pub(crate) fn stored_body<R: kernel::Rejection>(verdict: &Verdict<R>) -> Value {
    // Verdicts are made of strings, numbers and rejections that serialise by contract.
    serde_json::to_value(verdict).unwrap_or(Value::Null)
}
