//! Requests that take more than one command.
//!
//! The request's own command, sent by [`Write::dispatch`], is the one that the audit trail tells of under the endpoint's
//! action. What has to happen before or after it is a step: the same caller, tenant and correlation, an action
//! such as `users:invite.register`, and an id derived from the request's, so that a retry repeats no step either.

use engine::command::{CommandContext, DispatchError, Idempotency, Receipt};
use kernel::{CommandId, Decider, Metadata};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::extract::Write;

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
    let whole = write.metadata();
    let idempotency = whole.command_id.map(|whole| Idempotency {
        id: CommandId(Uuid::new_v5(&whole.0, name.as_bytes())),
        fingerprint: fingerprint(name, asked),
    });
    let context = CommandContext {
        metadata: Metadata {
            action: format!("{}.{name}", whole.action),
            command_id: idempotency.map(|idempotency| idempotency.id),
            ..whole
        },
        idempotency,
        expected_sequence: None,
        deadline: write.app.limits.command_deadline,
    };
    write.app.engine.dispatch::<D>(id, command, context).await
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
