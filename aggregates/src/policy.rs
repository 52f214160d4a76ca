//! A policy that operators publish: its text, for as long as it is in force.
//!
//! Whether the text is a policy that fits the schema is checked before the wish comes here, and again by whoever
//! evaluates it: the schema is a binary's, the journal outlives it.

use kernel::{ClaimChange, Decider, RejectionKind};
use schemas::events::PolicyEvent;
use schemas::values::PolicyText;
use serde::{Deserialize, Serialize};

/// A published policy, or the place for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Policy {
    /// Nothing was ever published under this id.
    #[default]
    Absent,
    InForce(PolicyText),
    Withdrawn,
}

/// What may be wished of a policy.
#[derive(Clone, Debug)]
pub enum PolicyCommand {
    /// In place of what was published under this id before, if anything was.
    Publish {
        text: PolicyText,
    },
    Withdraw,
}

/// Why a policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyRejection {
    #[error("there is no such policy")]
    NotFound,
}

impl kernel::Rejection for PolicyRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
        }
    }
}

impl Decider for Policy {
    const TYPE: &'static str = "policy";
    const SNAPSHOT_VERSION: u32 = 1;

    type Command = PolicyCommand;
    type Event = PolicyEvent;
    type Rejection = PolicyRejection;

    fn decide(&self, command: PolicyCommand) -> Result<Vec<PolicyEvent>, PolicyRejection> {
        match (command, self) {
            (PolicyCommand::Publish { text }, Self::InForce(before)) if text == *before => Ok(Vec::new()),
            (PolicyCommand::Publish { text }, _) => Ok(vec![PolicyEvent::Published { text }]),
            (PolicyCommand::Withdraw, Self::Absent) => Err(PolicyRejection::NotFound),
            (PolicyCommand::Withdraw, Self::InForce(_)) => Ok(vec![PolicyEvent::Withdrawn {}]),
            (PolicyCommand::Withdraw, Self::Withdrawn) => Ok(Vec::new()),
        }
    }

    fn evolve(&mut self, event: &PolicyEvent) {
        *self = match event {
            PolicyEvent::Published { text } => Self::InForce(text.clone()),
            PolicyEvent::Withdrawn {} => Self::Withdrawn,
        };
    }

    fn claims(&self, event: &PolicyEvent) -> Vec<ClaimChange> {
        match event {
            PolicyEvent::Published { .. } | PolicyEvent::Withdrawn {} => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::given;

    fn text(number: u8) -> PolicyText {
        format!("forbid (principal, action, resource) when {{ {number} == 1 }};").parse().unwrap()
    }

    fn published(number: u8) -> PolicyEvent {
        PolicyEvent::Published { text: text(number) }
    }

    fn publish(number: u8) -> PolicyCommand {
        PolicyCommand::Publish { text: text(number) }
    }

    #[test]
    fn what_is_published_is_in_force_until_something_else_is() {
        given::<Policy>([]).when(publish(1)).then([published(1)]).and_again_nothing();
        given::<Policy>([published(1)]).when(publish(2)).then([published(2)]).and_again_nothing();
        given::<Policy>([published(1), published(2)])
            .when(publish(1))
            .then([published(1)])
            .and_again_nothing();
    }

    #[test]
    fn what_is_withdrawn_can_be_published_again() {
        let withdrawn = || PolicyEvent::Withdrawn {};
        given::<Policy>([published(1)]).when(PolicyCommand::Withdraw).then([withdrawn()]).and_again_nothing();
        given::<Policy>([published(1), withdrawn()])
            .when(publish(1))
            .then([published(1)])
            .and_again_nothing();
    }

    #[test]
    fn what_was_never_published_cannot_be_withdrawn() {
        given::<Policy>([]).when(PolicyCommand::Withdraw).then_rejected(RejectionKind::NotFound, "not_found");
    }
}
