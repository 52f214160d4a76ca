//! What happens to people: one identity in a deployment, whatever tenants they belong to.

use kernel::{PersonId, Personal};
use serde::{Deserialize, Serialize};

use crate::values::{EmailAddress, PersonName, Reason, UserStatus};

/// The events of a person. These names are the storage format: add, never rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum UserEvent {
    Registered {
        person: PersonId,
        email: Personal<EmailAddress>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_name: Option<Personal<PersonName>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_name: Option<Personal<PersonName>>,
        /// `invited`, or `active` for a person whom an identity provider vouched for (FR-SYS-004).
        status: UserStatus,
    },
    ProfileUpdated {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_name: Option<Personal<PersonName>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_name: Option<Personal<PersonName>>,
    },
    EmailChanged {
        email: Personal<EmailAddress>,
    },
    Activated {},
    Disabled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Personal<Reason>>,
    },
    Enabled {},
    /// Every personal field of the person's reads as forgotten from here on; the key goes right after.
    SubjectForgotten {},
}

event_names! { UserEvent {
    Registered = "user.registered" v "1": "A person is known by an e-mail address.";
    ProfileUpdated = "user.profile_updated" v "1": "First or last name changed; only what changed is there.";
    EmailChanged = "user.email_changed" v "1": "The person has another e-mail address.";
    Activated = "user.activated" v "1": "The person has proved to hold the e-mail address.";
    Disabled = "user.disabled" v "1": "The person may not sign in to any tenant.";
    Enabled = "user.enabled" v "1": "The person may sign in again.";
    SubjectForgotten = "user.subject_forgotten" v "1": "Whatever is personal of the person is forgotten, for ever.";
} }

impl kernel::Event for UserEvent {
    fn event_type(&self) -> &'static str {
        self.type_and_version().0
    }

    fn event_version(&self) -> &'static str {
        self.type_and_version().1
    }
}
