//! What happens to managed applications. They are the deployment's own, not a tenant's, so their names are plain.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use kernel::{ApplicationId, KeyId};
use serde::{Deserialize, Serialize};

use crate::values::{ApplicationName, Environment, KeyPrefix, OwnerId, RedirectUri, Scope, SecretHash};

/// The events of an application. These names are the storage format: add, never rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ApplicationEvent {
    Registered {
        application: ApplicationId,
        name: ApplicationName,
        owner: OwnerId,
        environment: Environment,
        redirect_uris: BTreeSet<RedirectUri>,
    },
    Updated {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<ApplicationName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<OwnerId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        redirect_uris: Option<BTreeSet<RedirectUri>>,
    },
    Disabled {},
    Enabled {},
    KeyIssued {
        key: KeyId,
        /// What is left of the secret.
        hash: SecretHash,
        /// By which people tell keys apart.
        prefix: KeyPrefix,
        scopes: BTreeSet<Scope>,
        /// `None`: until it is revoked.
        #[serde(default)]
        expires_at: Option<DateTime<Utc>>,
    },
    KeyRevoked {
        key: KeyId,
    },
    /// The successor was issued by the event before.
    KeyRotated {
        key: KeyId,
        successor: KeyId,
        /// When the old key stops working: never later than it would have.
        expires_at: DateTime<Utc>,
    },
}

event_names! { ApplicationEvent {
    Registered = "application.registered" v "1": "A managed application is known.";
    Updated = "application.updated" v "1": "Name, owner or redirect URIs changed; only what changed is there.";
    Disabled = "application.disabled" v "1": "All the application's API access stopped.";
    Enabled = "application.enabled" v "1": "The application's unrevoked keys work again.";
    KeyIssued = "application.key_issued" v "1": "The application has a further API key; its secret was shown once.";
    KeyRevoked = "application.key_revoked" v "1": "A key stopped working for good.";
    KeyRotated = "application.key_rotated" v "1": "A key has a successor and stops working when the overlap is over.";
} }

impl kernel::Event for ApplicationEvent {
    fn event_type(&self) -> &'static str {
        self.type_and_version().0
    }

    fn event_version(&self) -> &'static str {
        self.type_and_version().1
    }
}
