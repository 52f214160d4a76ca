//! Value types: parsed once, at the edge, and true ever after.
//!
//! Each refuses what PostgreSQL, a terminal or a reader would stumble over: control characters (NUL first),
//! and characters that reorder or hide text. The same checks run when a stored event is read, so a bound
//! may be widened but never narrowed.

#[macro_use]
mod words;
#[macro_use]
mod text;

mod access;
mod application;
mod email;
mod flag;
mod json;
mod lifecycle;
mod names;
mod passkey;
mod password;
mod password_policy;
mod permission;
mod plan;
mod policy;
mod role;
mod sso;

pub use access::{AccessMode, MembershipKind, effective_access};
pub use application::{Environment, KeyPrefix, OwnerId, RedirectUri, Scope, SecretHash};
pub use email::{Domain, EmailAddress};
pub use flag::{FlagKey, FlagValue};
pub use json::Settings;
pub use lifecycle::{
    ApplicationStatus, MembershipStatus, ProvisioningStatus, ProvisioningStep, Region, TenantStatus,
    UserStatus,
};
pub use names::{
    ApplicationName, PersonName, Reason, ReasonCode, RoleDescription, RoleName, Slug, TenantName, TokenName,
};
pub use passkey::{CredentialId, CredentialRecord, PasskeyName};
pub use password::{LoginMethod, PasswordChange, PasswordHash, RiskReason, SessionEnd, TotpSecret};
pub use password_policy::{PasswordLength, PasswordPolicy, PasswordStrength};
pub use permission::{Module, Permission};
pub use plan::{Limits, Plan, TRIAL_DAYS};
pub use policy::PolicyText;
pub use role::Role;
pub use sso::{SsoClientId, SsoClientSecret, SsoIssuer, SsoName};

use std::borrow::Cow;

/// Why a value was refused. Never holds the value: it may be personal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct InvalidValue {
    /// What it was to be, such as `an e-mail address`.
    pub what: &'static str,
    /// Reads on from `what`, such as `is longer than 254 bytes`.
    pub problem: Cow<'static, str>,
}

impl InvalidValue {
    pub(crate) fn new(what: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { what, problem: problem.into() }
    }
}
