//! Process managers: events in, commands out. At least once, in order, never skipped, never rebuilt.

mod runner;

use async_trait::async_trait;
use kernel::{CommandId, Envelope, EventId};
use uuid::Uuid;

use crate::feed::Interest;

pub use runner::Processes;

/// Follows the journal and wishes things. What it wishes must be idempotent: see [`derived_command_id`].
#[async_trait]
pub trait ProcessManager: Send + Sync + 'static {
    /// Part of the storage format, such as `provisioning`.
    fn name(&self) -> &'static str;

    /// Of which streams it is shown events: the others cost it nothing.
    fn interest(&self) -> Interest {
        Interest::All
    }

    /// False for events it never reacts to: passing them costs no write of its own.
    fn concerns(&self, event: &Envelope) -> bool {
        let _ = event;
        true
    }

    /// Dispatches what follows from one event. A rule's refusal is not an error here: it has a written outcome.
    ///
    /// After a crash it is asked again about events it has already seen.
    async fn react(&self, event: &Envelope) -> Result<(), Retry>;
}

/// It could not react now; it is asked again until it can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Retry {
    /// In words, without personal data.
    pub reason: String,
}

impl Retry {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// The namespace of derived command ids. Part of the storage format: a new one would do everything twice.
const DERIVED_COMMANDS: Uuid = Uuid::from_u128(0x6f1d_3a0e_52c8_5b7e_9a44_0c1d_7e2b_9f63);

/// The id of the command that a process manager sends for one event in one step (UUID version 5): the same
/// whenever it is asked again. `step` tells apart the commands that follow from one event, and the managers.
pub fn derived_command_id(event: EventId, step: &str) -> CommandId {
    let mut name = event.0.as_bytes().to_vec();
    name.extend_from_slice(step.as_bytes());
    CommandId(Uuid::new_v5(&DERIVED_COMMANDS, &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_command_id_tells_events_and_steps_apart_and_never_changes() {
        let event = EventId(Uuid::from_u128(1));
        let id = derived_command_id(event, "provisioning.owner");
        assert_eq!(id, derived_command_id(event, "provisioning.owner"));
        assert_ne!(id, derived_command_id(event, "provisioning.flags"));
        assert_ne!(id, derived_command_id(EventId(Uuid::from_u128(2)), "provisioning.owner"));
        assert_eq!(id.0.get_version_num(), 5);
    }
}
