//! What happens to the policies that operators publish. They are the deployment's own and name no tenant or person.

use serde::{Deserialize, Serialize};

use crate::values::PolicyText;

/// The events of a published policy. These names are the storage format: add, never rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PolicyEvent {
    Published { text: PolicyText },
    Withdrawn {},
}

event_names! { PolicyEvent {
    Published = "policy.published" v "1": "A policy is in force, in place of what was published under its id before.";
    Withdrawn = "policy.withdrawn" v "1": "The policy is no longer in force.";
} }

impl kernel::Event for PolicyEvent {
    fn event_type(&self) -> &'static str {
        self.type_and_version().0
    }

    fn event_version(&self) -> &'static str {
        self.type_and_version().1
    }
}
