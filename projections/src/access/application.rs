//! What access checks ask of applications and their keys.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use engine::projection::FoldError;
use kernel::{ApplicationId, KeyId, ShardId};
use schemas::events::ApplicationEvent;
use schemas::values::{Scope, SecretHash};

use super::{Known, unknown};

/// An API key that was issued once. Whoever asks compares the hash and the expiry.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyAccess {
    pub key: KeyId,
    pub application: ApplicationId,
    pub hash: SecretHash,
    pub scopes: BTreeSet<Scope>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked: bool,
    /// The application as a whole is disabled.
    pub application_disabled: bool,
}

impl KeyAccess {
    /// True if it opens anything at `now`: not revoked, not expired, its application not disabled.
    pub fn is_usable(&self, now: DateTime<Utc>) -> bool {
        !self.revoked && !self.application_disabled && self.expires_at.is_none_or(|end| now < end)
    }
}

impl Known {
    pub(super) fn application(
        &mut self,
        shard: ShardId,
        application: ApplicationId,
        event: ApplicationEvent,
    ) -> Result<(), FoldError> {
        match event {
            ApplicationEvent::Registered { .. } | ApplicationEvent::Enabled {} => {
                self.applications.insert(application, (shard, false));
            }
            ApplicationEvent::Disabled {} => {
                self.applications.insert(application, (shard, true));
            }
            ApplicationEvent::KeyIssued { key, hash, scopes, expires_at, .. } => {
                let access = KeyAccess {
                    key,
                    application,
                    hash,
                    scopes,
                    expires_at,
                    revoked: false,
                    application_disabled: false,
                };
                self.keys.insert(key, (shard, access));
            }
            ApplicationEvent::KeyRevoked { key } => {
                self.keys.get_mut(&key).ok_or_else(|| unknown("key"))?.1.revoked = true;
            }
            ApplicationEvent::KeyRotated { key, expires_at, .. } => {
                self.keys.get_mut(&key).ok_or_else(|| unknown("key"))?.1.expires_at = Some(expires_at);
            }
            ApplicationEvent::Updated { .. } => {}
        }
        Ok(())
    }
}
