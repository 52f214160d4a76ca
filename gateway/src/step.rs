//! Requests that take more than one command.
//!
//! The request's own command, sent by [`Write::dispatch`], is the one that the audit trail tells of under the endpoint's
//! action. What has to happen before or after it is a step: the same caller, tenant and correlation, an action
//! such as `users:invite.register`, and an id derived from the request's, so that a retry repeats no step either.

use std::time::Duration;

use engine::command::{CommandContext, DispatchError, Idempotency, Receipt};
use kernel::{CommandId, Decider, EventId, Metadata};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use workflows::Consequence;

use crate::extract::Write;

/// How often, and how soon again, a command is asked for that somebody else has under way.
const IN_FLIGHT_TRIES_MAX: u32 = 400;
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(5);

/// Sends one step. `asked`: what of the request the step is made of; a retry that asks for something else is refused
/// before the step is repeated.
///
/// # Errors
/// Whatever dispatch refuses.
pub async fn step<D: Decider, B>(
    write: &Write<B>,
    name: &str,
    id: Uuid,
    asked: &impl Serialize,
    command: D::Command,
) -> Result<Receipt, DispatchError<D::Rejection>> {
    let idempotency = write.metadata().command_id.map(|whole| Idempotency {
        // One request may take the same step on several streams.
        id: CommandId(Uuid::new_v5(&Uuid::new_v5(&whole.0, name.as_bytes()), id.as_bytes())),
        fingerprint: fingerprint(name, asked),
    });
    write.app.engine.dispatch::<D>(id, command, context(write, name, idempotency, None)).await
}

/// Sends what follows from an event of an earlier step, as the process manager of ownership would: whoever is first does
/// it, and nobody does it again.
///
/// # Errors
/// Whatever dispatch refuses.
pub async fn consequence<D: Decider, B>(
    write: &Write<B>,
    consequence: Consequence,
    of: EventId,
    id: Uuid,
    command: D::Command,
) -> Result<Receipt, DispatchError<D::Rejection>> {
    let context = context(write, consequence.as_str(), Some(consequence.idempotency(of)), Some(of));
    let mut tries = 0;
    loop {
        match write.app.engine.dispatch::<D>(id, command.clone(), context.clone()).await {
            // The process manager is at it: its answer is ours.
            Err(DispatchError::InFlight) if tries < IN_FLIGHT_TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(IN_FLIGHT_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

fn context<B>(
    write: &Write<B>,
    name: &str,
    idempotency: Option<Idempotency>,
    causation_id: Option<EventId>,
) -> CommandContext {
    let whole = write.metadata();
    let action = format!("{}.{name}", whole.action);
    let command_id = idempotency.map(|idempotency| idempotency.id);
    CommandContext {
        metadata: Metadata { action, command_id, causation_id, ..whole }.into(),
        idempotency,
        expected_sequence: None,
        deadline: write.app.limits.command_deadline,
    }
}

fn fingerprint(name: &str, asked: &impl Serialize) -> [u8; 32] {
    // A value of ours is always JSON.
    let asked = serde_json::to_vec(asked).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [name.as_bytes(), &asked[..]] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_wish_has_another_fingerprint() {
        assert_eq!(fingerprint("a", &"x"), fingerprint("a", &"x"));
        assert_ne!(fingerprint("a", &"x"), fingerprint("b", &"x"));
        assert_ne!(fingerprint("a", &"x"), fingerprint("a", &"y"));
    }
}
