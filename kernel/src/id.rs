//! Ids: one newtype for each thing that has one, so that a tenant's id can't stand where a person's belongs.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )+};
}

id! {
    /// An isolated customer.
    TenantId,
    /// A person: one identity in a deployment, whatever tenants they belong to.
    PersonId,
    /// A person in a tenant.
    MembershipId,
    /// A role that a tenant made itself.
    RoleId,
    /// A managed application.
    ApplicationId,
    /// An application's API key.
    KeyId,
    /// One event.
    EventId,
    /// A person signed in somewhere, from login to its end.
    SessionId,
    /// A person's access token for scripts, until it expires or is revoked.
    TokenId,
    /// A key pair that an authenticator of a person's holds.
    PasskeyId,
    /// An OpenID provider that a tenant's people sign in by.
    SsoProviderId,
    /// One wish, however often it is sent: derived from a caller's `Idempotency-Key` or from the causing event.
    CommandId,
    /// Ties a request to everything it led to; the W3C trace id (128 bits).
    CorrelationId,
}

impl CorrelationId {
    /// The 32 lower-case hex digits of a W3C `trace-id`.
    pub fn trace_id(&self) -> String {
        self.0.simple().to_string()
    }
}
