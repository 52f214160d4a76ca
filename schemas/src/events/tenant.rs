//! What happens to tenants.

use chrono::{DateTime, Utc};
use kernel::{ApplicationId, Confidential, MembershipId, PersonId, Personal, SsoProviderId, TenantId};
use serde::{Deserialize, Serialize};

use crate::values::{
    AccessMode, ApplicationName, Domain, EmailAddress, Environment, FlagKey, FlagValue, PasswordPolicy, Plan,
    ProvisioningStep, Reason, ReasonCode, Region, Role, Settings, Slug, SsoClientId, SsoClientSecret,
    SsoIssuer, SsoName, TenantName,
};

/// The events of a tenant. These names are the storage format: add, never rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TenantEvent {
    Provisioned(Box<TenantProvisioned>),
    Updated {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Confidential<TenantName>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slug: Option<Confidential<Slug>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain: Option<Confidential<Domain>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings: Option<Confidential<Settings>>,
    },
    TrialSet {
        /// `None`: no trial any more.
        #[serde(default)]
        ends_at: Option<DateTime<Utc>>,
    },
    Suspended {
        reason: Confidential<Reason>,
    },
    Reactivated {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Confidential<Reason>>,
    },
    PlanChanged {
        from: Plan,
        to: Plan,
    },
    AccessModeSet {
        mode: AccessMode,
    },
    PasswordPolicyChanged {
        policy: PasswordPolicy,
    },
    SecurityChanged {
        /// Whoever signed in without a second factor is not let in.
        mfa_required: bool,
    },
    FlagSet {
        key: FlagKey,
        value: Confidential<FlagValue>,
    },
    FlagCleared {
        key: FlagKey,
    },
    OwnerAdded {
        person: PersonId,
        membership: MembershipId,
    },
    OwnerRemoved {
        person: PersonId,
        membership: MembershipId,
        because: OwnershipLoss,
    },
    ApplicationConnected {
        application: ApplicationId,
    },
    ApplicationDisconnected {
        application: ApplicationId,
    },
    ProvisioningCompleted {},
    ProvisioningFailed {
        step: ProvisioningStep,
        /// The rejection's machine string.
        reason: ReasonCode,
    },
    /// Every confidential field of the tenant's reads as forgotten from here on; the key goes right after.
    Purged {},
    /// In the same decision as `Provisioned`: nobody but a stranger vouches for what it says.
    Registered {},
    Verified {},
    /// FR-AUTH-003
    SsoConfigured(Box<SsoConfigured>),
    /// Issuer and client stay: others are another provider.
    SsoUpdated {
        provider: SsoProviderId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Confidential<SsoName>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<Confidential<SsoClientSecret>>,
        rules: SsoRules,
    },
    /// Its id is never used again. Every session that a provider of the tenant's began ends with it.
    SsoRemoved {
        provider: SsoProviderId,
    },
}

/// A provider as it was configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SsoConfigured {
    pub provider: SsoProviderId,
    pub name: Confidential<SsoName>,
    pub issuer: Confidential<SsoIssuer>,
    pub client_id: Confidential<SsoClientId>,
    pub client_secret: Confidential<SsoClientSecret>,
    pub rules: SsoRules,
}

/// What a tenant lets one of its providers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SsoRules {
    /// Whoever it vouches for, with an address in the tenant's domain, becomes a member.
    pub provision: bool,
    /// A second factor that it says was shown counts.
    pub trusts_mfa: bool,
    /// Members other than owners get in only by a provider of the tenant's.
    pub required: bool,
}

/// A tenant as it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantProvisioned {
    pub tenant: TenantId,
    pub name: Confidential<TenantName>,
    pub slug: Confidential<Slug>,
    pub domain: Confidential<Domain>,
    pub plan: Plan,
    pub region: Region,
    /// `None`: no trial, a contract from the first day.
    #[serde(default)]
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// Who is to be invited as the first owner; among the owners only after `OwnerAdded`.
    pub owner: PersonId,
    pub owner_email: Personal<EmailAddress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<RequestedApplication<Confidential<ApplicationName>>>,
}

/// The application that a tenant is provisioned with. `Name` is marked in events and bare in commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestedApplication<Name> {
    /// One that is registered.
    Existing { application: ApplicationId },
    /// One to register under this id.
    New { application: ApplicationId, name: Name, environment: Environment },
}

impl<Name> RequestedApplication<Name> {
    pub fn id(&self) -> ApplicationId {
        match self {
            Self::Existing { application } | Self::New { application, .. } => *application,
        }
    }

    pub fn map_name<Other>(self, f: impl FnOnce(Name) -> Other) -> RequestedApplication<Other> {
        match self {
            Self::Existing { application } => RequestedApplication::Existing { application },
            Self::New { application, name, environment } => {
                RequestedApplication::New { application, name: f(name), environment }
            }
        }
    }
}

/// Why somebody is no longer an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnershipLoss {
    /// The membership is removed.
    Removed,
    /// The membership gets a lesser role.
    Downgraded { to: Role },
    /// The membership, or the person, is disabled.
    Disabled,
}

impl TenantEvent {
    /// Which flag it is about: one that callers know by a tag of its own, while the tenant stays what it was.
    pub fn flag(&self) -> Option<&FlagKey> {
        match self {
            Self::FlagSet { key, .. } | Self::FlagCleared { key } => Some(key),
            Self::Provisioned(_)
            | Self::Updated { .. }
            | Self::TrialSet { .. }
            | Self::Suspended { .. }
            | Self::Reactivated { .. }
            | Self::PlanChanged { .. }
            | Self::AccessModeSet { .. }
            | Self::PasswordPolicyChanged { .. }
            | Self::SecurityChanged { .. }
            | Self::OwnerAdded { .. }
            | Self::OwnerRemoved { .. }
            | Self::ApplicationConnected { .. }
            | Self::ApplicationDisconnected { .. }
            | Self::ProvisioningCompleted {}
            | Self::ProvisioningFailed { .. }
            | Self::Purged {}
            | Self::Registered {}
            | Self::Verified {}
            | Self::SsoConfigured(_)
            | Self::SsoUpdated { .. }
            | Self::SsoRemoved { .. } => None,
        }
    }
}

event_names! { TenantEvent {
    Provisioned = "tenant.provisioned" v "1": "A tenant was asked for; its owner, flags and application follow.";
    Updated = "tenant.updated" v "1": "Name, slug, domain or settings changed; only what changed is there.";
    TrialSet = "tenant.trial_set" v "1": "The trial's end was moved, or the trial ended in a contract.";
    Suspended = "tenant.suspended" v "1": "Everybody's access to the tenant stopped.";
    Reactivated = "tenant.reactivated" v "1": "The suspension ended.";
    PlanChanged = "tenant.plan_changed" v "1": "The tenant has another plan.";
    AccessModeSet = "tenant.access_mode_set" v "1": "An operator chose what may be done in the tenant.";
    PasswordPolicyChanged = "tenant.password_policy_changed" v "1": "The tenant asks something else of its people's new passwords.";
    SecurityChanged = "tenant.security_changed" v "1": "The tenant asks for a second factor, or no longer does.";
    FlagSet = "tenant.flag_set" v "1": "A flag has a value for this tenant.";
    FlagCleared = "tenant.flag_cleared" v "1": "A flag has no value for this tenant any more.";
    OwnerAdded = "tenant.owner_added" v "1": "A person is among the tenant's owners.";
    OwnerRemoved = "tenant.owner_removed" v "1": "A person is no longer among the tenant's owners.";
    ApplicationConnected = "tenant.application_connected" v "1": "The tenant uses an application.";
    ApplicationDisconnected = "tenant.application_disconnected" v "1": "The tenant no longer uses an application.";
    ProvisioningCompleted = "tenant.provisioning_completed" v "1": "Every step of provisioning is done.";
    ProvisioningFailed = "tenant.provisioning_failed" v "1": "A step of provisioning was refused.";
    Purged = "tenant.purged" v "1": "Whatever the tenant supplied is forgotten, for ever.";
    Registered = "tenant.registered" v "1": "A stranger registered it; it is blocked until its owner's address is verified.";
    Verified = "tenant.verified" v "1": "Its owner's address is verified; it is blocked no longer.";
    SsoConfigured = "tenant.sso_configured" v "1": "The tenant's people can sign in by an OpenID provider of its own.";
    SsoUpdated = "tenant.sso_updated" v "1": "A provider has another name or secret, or may do something else; only what changed is there, and what it may.";
    SsoRemoved = "tenant.sso_removed" v "1": "Nobody signs in by the provider any more; the sessions that the tenant's providers began ended.";
} }

impl kernel::Event for TenantEvent {
    fn event_type(&self) -> &'static str {
        self.type_and_version().0
    }

    fn event_version(&self) -> &'static str {
        self.type_and_version().1
    }
}
