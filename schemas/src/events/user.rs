//! What happens to people: one identity in a deployment, whatever tenants they belong to.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use kernel::{Origin, PasskeyId, PersonId, Personal, SessionId, TenantId, TokenId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::values::{
    CredentialId, CredentialRecord, EmailAddress, LoginMethod, PasskeyName, PasswordChange, PasswordHash,
    Permission, PersonName, Reason, RiskReason, SecretHash, SessionEnd, TokenName, TotpSecret, UserStatus,
};

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
    /// All sessions end with it, and every link to reset the former one.
    PasswordChanged {
        hash: Personal<PasswordHash>,
        because: PasswordChange,
    },
    /// The same password under a stronger hash; nothing ends.
    PasswordRehashed {
        hash: Personal<PasswordHash>,
    },
    /// The hash is that of the link's token.
    PasswordResetRequested {
        token_hash: SecretHash,
        expires_at: DateTime<Utc>,
    },
    /// A session begins.
    LoginSucceeded {
        session: SessionId,
        /// The tenant it is for; none: all that the person belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<TenantId>,
        method: LoginMethod,
        /// Known by a token that the device keeps; a new one has not signed in before.
        device: Uuid,
        new_device: bool,
        /// Where it is, and what it calls itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Personal<Origin>>,
        /// Of the first refresh token.
        token_hash: SecretHash,
        at: DateTime<Utc>,
        /// Unless it is refreshed before.
        expires_at: DateTime<Utc>,
        /// What was unusual about it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        risk: Vec<RiskReason>,
        /// Whose mailed code was shown: it is used up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        challenge: Option<Uuid>,
    },
    /// The password was right, and the login is so unusual that a code is mailed, which has to come with it.
    LoginChallenged {
        challenge: Uuid,
        risk: Vec<RiskReason>,
        device: Uuid,
        /// Where it is, and what it calls itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Personal<Origin>>,
        /// Of the code, under a key.
        code_hash: SecretHash,
        at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    },
    TokenRefreshed {
        session: SessionId,
        /// Of the successor; the former is worth nothing after the grace.
        token_hash: SecretHash,
        at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    },
    /// A refresh token was used again: somebody has a copy. The session ends.
    RefreshReuseDetected {
        session: SessionId,
    },
    SessionRevoked {
        session: SessionId,
        because: SessionEnd,
    },
    SessionsRevoked {
        because: SessionEnd,
    },
    /// A first code showed that the person's device has the secret.
    MfaEnrolled {
        secret: Personal<TotpSecret>,
        /// The time step of that code (RFC 6238 §4.2): it and older ones are used up.
        step: u64,
        recovery_codes: Vec<SecretHash>,
    },
    /// A second factor was shown, and is used up. Neither: the tenant's provider says so, and is trusted with it.
    MfaVerified {
        /// The time step of a one-time code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u64>,
        /// Which recovery code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovery_code: Option<SecretHash>,
    },
    RecoveryCodesReplaced {
        recovery_codes: Vec<SecretHash>,
    },
    MfaRemoved {},
    /// A personal access token.
    TokenIssued {
        token: TokenId,
        /// The only tenant that it is for.
        tenant: TenantId,
        name: Personal<TokenName>,
        /// It does no more than these stand for, nor more than the person may.
        permissions: BTreeSet<Permission>,
        /// Of its secret.
        hash: SecretHash,
        /// The session that it was issued in had shown a second factor.
        second_factor: bool,
        at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    },
    TokenRevoked {
        token: TokenId,
    },
    /// An authenticator of the person's made a key pair, and showed that it has it.
    PasskeyAdded {
        passkey: PasskeyId,
        name: Personal<PasskeyName>,
        /// What the authenticator calls it.
        credential: Personal<CredentialId>,
        /// The public key, and what else its assertions are verified against.
        record: Personal<CredentialRecord>,
        /// How often the authenticator says it has signed; 0 for ever if it doesn't count (WebAuthn §6.1.1).
        counter: u32,
        at: DateTime<Utc>,
    },
    /// It answered a challenge: alone, or as the second factor.
    PasskeyUsed {
        passkey: PasskeyId,
        counter: u32,
        /// The hash of the challenge, which is used up.
        challenge: SecretHash,
        /// From then on it is too old anyway.
        challenge_expires_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    PasskeyRemoved {
        passkey: PasskeyId,
    },
    /// Every personal field of the person's reads as forgotten from here on; the key goes right after.
    SubjectForgotten {},
}

impl UserEvent {
    /// False for what only happens while somebody signs in, stays in or is let out: nothing that is shown of a person
    /// is another after it.
    pub fn alters_profile(&self) -> bool {
        match self {
            Self::Registered { .. }
            | Self::ProfileUpdated { .. }
            | Self::EmailChanged { .. }
            | Self::Activated {}
            | Self::Disabled { .. }
            | Self::Enabled {}
            | Self::MfaEnrolled { .. }
            | Self::RecoveryCodesReplaced { .. }
            | Self::MfaRemoved {}
            | Self::PasskeyAdded { .. }
            | Self::PasskeyRemoved { .. }
            | Self::SubjectForgotten {} => true,
            // One recovery code less is left.
            Self::MfaVerified { recovery_code, .. } => recovery_code.is_some(),
            Self::PasswordChanged { .. }
            | Self::PasswordRehashed { .. }
            | Self::PasswordResetRequested { .. }
            | Self::LoginSucceeded { .. }
            | Self::LoginChallenged { .. }
            | Self::TokenRefreshed { .. }
            | Self::RefreshReuseDetected { .. }
            | Self::SessionRevoked { .. }
            | Self::SessionsRevoked { .. }
            | Self::PasskeyUsed { .. }
            | Self::TokenIssued { .. }
            | Self::TokenRevoked { .. } => false,
        }
    }
}

event_names! { UserEvent {
    Registered = "user.registered" v "1": "A person is known by an e-mail address.";
    ProfileUpdated = "user.profile_updated" v "1": "First or last name changed; only what changed is there.";
    EmailChanged = "user.email_changed" v "1": "The person has another e-mail address.";
    Activated = "user.activated" v "1": "The person has proved to hold the e-mail address.";
    Disabled = "user.disabled" v "1": "The person may not sign in to any tenant.";
    Enabled = "user.enabled" v "1": "The person may sign in again.";
    PasswordChanged = "user.password_changed" v "1": "The person has another password; all their sessions ended.";
    PasswordRehashed = "user.password_rehashed" v "1": "The same password is kept under a stronger hash.";
    PasswordResetRequested = "user.password_reset_requested" v "1": "A link was asked for, to choose another password.";
    LoginSucceeded = "user.login_succeeded" v "1": "The person signed in: a session began.";
    LoginChallenged = "user.login_challenged" v "1": "A login was unusual, so that a code was mailed, which it has to come with.";
    TokenRefreshed = "user.token_refreshed" v "1": "A session got another refresh token.";
    RefreshReuseDetected = "user.refresh_reuse_detected" v "1": "A refresh token was used again after its successor; the session ended.";
    SessionRevoked = "user.session_revoked" v "1": "A session ended.";
    SessionsRevoked = "user.sessions_revoked" v "1": "All sessions of the person ended.";
    MfaEnrolled = "user.mfa_enrolled" v "1": "The person has one-time codes as second factor.";
    MfaVerified = "user.mfa_verified" v "1": "The person showed the second factor.";
    RecoveryCodesReplaced = "user.recovery_codes_replaced" v "1": "The person has other recovery codes; the former are void.";
    MfaRemoved = "user.mfa_removed" v "1": "The person has no one-time codes any more.";
    TokenIssued = "user.token_issued" v "1": "The person has another access token, for one tenant and for some permissions.";
    TokenRevoked = "user.token_revoked" v "1": "An access token of the person's is void.";
    PasskeyAdded = "user.passkey_added" v "1": "The person has a passkey more.";
    PasskeyUsed = "user.passkey_used" v "1": "A passkey of the person's answered a challenge.";
    PasskeyRemoved = "user.passkey_removed" v "1": "A passkey of the person's is worth nothing any more.";
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
