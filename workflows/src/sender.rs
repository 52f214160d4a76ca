//! Sending a command that follows from an event.

use std::time::Duration;

use engine::Engine;
use engine::command::{CommandContext, DispatchError, Idempotency, Receipt};
use engine::process::{Retry, derived_command_id};
use kernel::{Actor, ActorKind, Decider, Envelope, EventId, Metadata, Origin, Rejection};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How often, and how soon again, a command is asked for that somebody else has under way.
const IN_FLIGHT_TRIES_MAX: u32 = 400;
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(5);

/// What became of a command: done (also earlier, also for nothing), or refused for a reason that will not go away.
pub(crate) type Outcome = Result<Receipt, Refused>;

/// A rule's refusal, or a name that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The stable machine string.
    pub detail: String,
    pub claim: Option<String>,
}

/// What makes a consequence of an event the same one, whoever sends it first. `step`: with its manager, such as
/// `ownership.follow`.
pub(crate) fn idempotency(event: EventId, step: &str) -> Idempotency {
    // The id already says which command it is; a newer binary may word it differently.
    Idempotency { id: derived_command_id(event, step), fingerprint: Sha256::digest(step.as_bytes()).into() }
}

/// Sends `command` as the consequence of `event`. `step` tells apart what follows from one event.
///
/// # Errors
/// [`Retry`] for what may work later; the event is then reacted to again.
pub(crate) async fn send<D: Decider>(
    engine: &Engine,
    manager: &'static str,
    event: &Envelope,
    step: &str,
    id: Uuid,
    command: D::Command,
) -> Result<Outcome, Retry> {
    let step = format!("{manager}.{step}");
    let mut context = CommandContext::new(Metadata {
        tenant: event.metadata.tenant,
        actor: Actor { kind: ActorKind::System, id: manager.to_owned() },
        role: "system".to_owned(),
        scopes: Vec::new(),
        action: step.clone(),
        correlation_id: event.metadata.correlation_id,
        causation_id: Some(event.event_id),
        command_id: None,
        origin: Origin::default(),
    });
    context.idempotency = Some(idempotency(event.event_id, &step));
    let mut tries = 0;
    let outcome = loop {
        match engine.dispatch::<D>(id, command.clone(), context.clone()).await {
            // The request that caused the event is at it: its answer is ours.
            Err(DispatchError::InFlight) if tries < IN_FLIGHT_TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(IN_FLIGHT_PAUSE).await;
            }
            outcome => break outcome,
        }
    };
    match outcome {
        Ok(receipt) => Ok(Ok(receipt)),
        Err(DispatchError::Rejected { rejection, .. }) => {
            Ok(Err(Refused { detail: rejection.detail().to_owned(), claim: None }))
        }
        Err(DispatchError::ClaimTaken { kind }) => {
            Ok(Err(Refused { detail: "name_taken".to_owned(), claim: Some(kind) }))
        }
        Err(DispatchError::Unstorable) => Ok(Err(Refused { detail: "unstorable".to_owned(), claim: None })),
        Err(error) => Err(Retry::new(format!("{step} on {}: {error}", D::TYPE))),
    }
}
