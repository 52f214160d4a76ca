//! A tenant: an isolated customer. It holds its set of owners and decides every loss of ownership, so that two
//! owners cannot demote each other at once: removing, demoting or disabling an owner begins with `RemoveOwner` here,
//! and the membership follows. Promoting begins with `AddOwner` here too, so that nobody calls themselves an owner whom
//! the tenant does not count.
//!
//! Domain and slug are claims: unique in the deployment.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use kernel::{
    ApplicationId, Claim, ClaimChange, Confidential, Decider, MembershipId, PersonId, RejectionKind, TenantId,
};
use schemas::events::{OwnershipLoss, RequestedApplication, TenantEvent, TenantProvisioned};
use schemas::values::{
    AccessMode, ApplicationName, Domain, EmailAddress, FlagKey, FlagValue, MembershipKind, PasswordPolicy,
    Plan, ProvisioningStatus, ProvisioningStep, Reason, ReasonCode, Region, Settings, Slug, TenantName,
    TenantStatus, effective_access,
};
use serde::{Deserialize, Serialize};

use crate::membership;

mod beginning;
mod capacity;
mod flags;
mod sso;

pub use capacity::Resource;
use capacity::{fits, within};
pub use flags::Flags;
pub use sso::{ConfigureSso, SSO_PROVIDERS_MAX, SsoCommand, SsoProviders, SsoRejection};

/// The claim on a tenant's domain, in lower case.
pub const DOMAIN_CLAIM: &str = "tenant.domain";
/// The claim on a tenant's slug.
pub const SLUG_CLAIM: &str = "tenant.slug";

/// A tenant, or the place for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    existing: Option<Box<Existing>>,
}

/// A tenant that was provisioned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Existing {
    /// As it was asked for, so that the same wish is known when it comes again.
    pub asked: TenantProvisioned,
    pub name: Confidential<TenantName>,
    pub slug: Confidential<Slug>,
    pub domain: Confidential<Domain>,
    pub settings: Option<Confidential<Settings>>,
    pub plan: Plan,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub suspended: bool,
    pub access_mode: AccessMode,
    /// What its people's new passwords must satisfy.
    pub password_policy: PasswordPolicy,
    /// Whoever signed in without a second factor is not let in.
    pub mfa_required: bool,
    /// A stranger registered it, and its owner has not shown yet that the address is theirs: it is blocked.
    pub unverified: bool,
    pub flags: Flags,
    /// Never empty again once there was one.
    pub owners: BTreeMap<PersonId, MembershipId>,
    pub applications: BTreeSet<ApplicationId>,
    pub sso: SsoProviders,
    pub provisioning: Provisioning,
    /// Nothing the tenant supplied is known any more, and nothing may be wished.
    pub purged: bool,
    /// What happened to it but for its flags, counted: its `ETag`.
    pub revision: u64,
}

/// How provisioning went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provisioning {
    Pending,
    Completed,
    Failed { step: ProvisioningStep, reason: ReasonCode },
}

impl Tenant {
    /// The tenant, if there is one.
    pub fn existing(&self) -> Option<&Existing> {
        self.existing.as_deref()
    }

    /// What a member of `kind` may do at `now` (REQUIREMENTS §4). In a tenant that isn't there: nothing.
    pub fn effective_access(&self, kind: MembershipKind, now: DateTime<Utc>) -> AccessMode {
        self.existing().filter(|tenant| !tenant.purged).map_or(AccessMode::Blocked, |tenant| {
            let stopped = tenant.suspended || tenant.unverified;
            effective_access(tenant.access_mode, stopped, tenant.trial_ends_at, kind, now)
        })
    }
}

impl Existing {
    pub fn id(&self) -> TenantId {
        self.asked.tenant
    }

    pub fn status(&self) -> TenantStatus {
        match (self.suspended, self.trial_ends_at) {
            (true, _) => TenantStatus::Suspended,
            (false, Some(_)) => TenantStatus::Trial,
            (false, None) => TenantStatus::Active,
        }
    }

    pub fn provisioning_status(&self) -> ProvisioningStatus {
        match self.provisioning {
            Provisioning::Pending => ProvisioningStatus::Pending,
            Provisioning::Completed => ProvisioningStatus::Completed,
            Provisioning::Failed { .. } => ProvisioningStatus::Failed,
        }
    }

    fn mark<T>(&self, value: T) -> Confidential<T> {
        Confidential::new(self.id(), value)
    }
}

/// What may be wished of a tenant.
#[derive(Clone, Debug)]
pub enum TenantCommand {
    /// UC-PROV-001
    Provision(Box<Provision>),
    /// The same by a stranger (REQUIREMENTS §3): it is blocked until `Verify`.
    Register(Box<Provision>),
    /// The owner has shown that the address is theirs. Of a tenant that nobody has to verify: so it is.
    Verify,
    /// A registration that nobody has verified is purged, so that it holds no domain. Any other tenant stays.
    Lapse,
    /// What is `None` stays. Settings are replaced as a whole.
    Update {
        name: Option<TenantName>,
        slug: Option<Slug>,
        domain: Option<Domain>,
        settings: Option<Settings>,
    },
    /// Moves the end of the trial; `None` ends it in a contract.
    SetTrial {
        ends_at: Option<DateTime<Utc>>,
    },
    /// FR-OPS-001. Already suspended: so it is, for the first reason.
    Suspend {
        reason: Reason,
    },
    /// FR-OPS-001
    Reactivate {
        reason: Option<Reason>,
    },
    /// FR-TENANT-003. Flags that still stand as the former plan set them follow the new one.
    ChangePlan {
        plan: Plan,
    },
    SetAccessMode {
        mode: AccessMode,
    },
    /// FR-AUTH-006. It is for new passwords; those that were chosen before stay.
    SetPasswordPolicy {
        policy: PasswordPolicy,
    },
    /// NFR-SEC-003
    SetSecurity {
        mfa_required: bool,
    },
    /// FR-FLAG-001
    SetFlag {
        key: FlagKey,
        value: FlagValue,
    },
    ClearFlag {
        key: FlagKey,
    },
    AddOwner {
        person: PersonId,
    },
    RemoveOwner {
        person: PersonId,
        because: OwnershipLoss,
    },
    ConnectApplication {
        application: ApplicationId,
    },
    DisconnectApplication {
        application: ApplicationId,
    },
    /// FR-AUTH-003
    Sso(SsoCommand),
    /// Also after a failure that was mended.
    CompleteProvisioning,
    FailProvisioning {
        step: ProvisioningStep,
        reason: ReasonCode,
    },
    /// Whatever the tenant supplied reads as forgotten, everywhere and for ever. It has to be suspended before, so that
    /// nobody works in what is about to go.
    Purge,
}

/// A tenant as it is asked for.
#[derive(Clone, Debug)]
pub struct Provision {
    pub tenant: TenantId,
    pub name: TenantName,
    pub slug: Slug,
    pub domain: Domain,
    pub plan: Plan,
    pub region: Region,
    pub trial: Trial,
    pub owner: PersonId,
    pub owner_email: EmailAddress,
    pub application: Option<RequestedApplication<ApplicationName>>,
    pub now: DateTime<Utc>,
}

/// What trial a new tenant gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trial {
    /// [`TRIAL_DAYS`] from now.
    #[default]
    Standard,
    Until(DateTime<Utc>),
    /// A contract from the first day.
    None,
}

/// Why a tenant refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantRejection {
    #[error("there is no such tenant")]
    NotFound,
    #[error("there is a tenant with this id, and it was asked for differently")]
    AlreadyExists,
    #[error("the last owner of a tenant can be neither removed nor downgraded nor disabled")]
    LastOwner,
    #[error("the plan allows {limit} {resource}")]
    Capacity { resource: Resource, limit: u32 },
    #[error("provisioning is not complete before the tenant has an owner")]
    NoOwner,
    #[error("provisioning has been completed")]
    ProvisioningCompleted,
    #[error("only a suspended tenant can be purged")]
    NotSuspended,
    #[error(transparent)]
    Sso(#[from] SsoRejection),
}

impl kernel::Rejection for TenantRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyExists | Self::ProvisioningCompleted => RejectionKind::Conflict,
            Self::LastOwner | Self::Capacity { .. } | Self::NoOwner | Self::NotSuspended => {
                RejectionKind::Rule
            }
            Self::Sso(rejection) => rejection.kind(),
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::LastOwner => "last_owner",
            Self::Capacity { .. } => "capacity",
            Self::NoOwner => "no_owner",
            Self::ProvisioningCompleted => "provisioning_completed",
            Self::NotSuspended => "not_suspended",
            Self::Sso(rejection) => rejection.detail(),
        }
    }
}

impl Decider for Tenant {
    const TYPE: &'static str = "tenant";
    const SNAPSHOT_VERSION: u32 = 6;

    type Command = TenantCommand;
    type Event = TenantEvent;
    type Rejection = TenantRejection;

    fn decide(&self, command: TenantCommand) -> Result<Vec<TenantEvent>, TenantRejection> {
        match command {
            TenantCommand::Provision(wish) => return self.provision(*wish),
            TenantCommand::Register(wish) => return self.register(*wish),
            _ => {}
        }
        let tenant = self.existing().ok_or(TenantRejection::NotFound)?;
        if tenant.purged {
            return match command {
                TenantCommand::Purge | TenantCommand::Lapse => Ok(Vec::new()),
                _ => Err(TenantRejection::NotFound),
            };
        }
        match command {
            TenantCommand::Provision(wish) => self.provision(*wish),
            TenantCommand::Register(wish) => self.register(*wish),
            TenantCommand::Verify => Ok(unless(!tenant.unverified, || TenantEvent::Verified {})),
            TenantCommand::Lapse => Ok(unless(!tenant.unverified, || TenantEvent::Purged {})),
            TenantCommand::Update { name, slug, domain, settings } => {
                Ok(tenant.update(name, slug, domain, settings))
            }
            TenantCommand::SetTrial { ends_at } => {
                Ok(unless(tenant.trial_ends_at == ends_at, || TenantEvent::TrialSet { ends_at }))
            }
            TenantCommand::Suspend { reason } => {
                Ok(unless(tenant.suspended, || TenantEvent::Suspended { reason: tenant.mark(reason) }))
            }
            TenantCommand::Reactivate { reason } => Ok(unless(!tenant.suspended, || {
                TenantEvent::Reactivated { reason: reason.map(|reason| tenant.mark(reason)) }
            })),
            TenantCommand::ChangePlan { plan } => tenant.change_plan(plan),
            TenantCommand::SetAccessMode { mode } => {
                Ok(unless(tenant.access_mode == mode, || TenantEvent::AccessModeSet { mode }))
            }
            TenantCommand::SetPasswordPolicy { policy } => {
                Ok(unless(tenant.password_policy == policy, || TenantEvent::PasswordPolicyChanged { policy }))
            }
            TenantCommand::SetSecurity { mfa_required } => {
                Ok(unless(tenant.mfa_required == mfa_required, || TenantEvent::SecurityChanged {
                    mfa_required,
                }))
            }
            TenantCommand::SetFlag { key, value } => tenant.set_flag(key, value),
            TenantCommand::ClearFlag { key } => Ok(tenant.clear_flag(key)),
            TenantCommand::AddOwner { person } => tenant.add_owner(person),
            TenantCommand::RemoveOwner { person, because } => tenant.remove_owner(person, because),
            TenantCommand::ConnectApplication { application } => tenant.connect(application),
            TenantCommand::DisconnectApplication { application } => {
                Ok(unless(!tenant.applications.contains(&application), || {
                    TenantEvent::ApplicationDisconnected { application }
                }))
            }
            TenantCommand::Sso(wish) => tenant.decide_sso(wish),
            TenantCommand::CompleteProvisioning => tenant.complete_provisioning(),
            TenantCommand::FailProvisioning { step, reason } => tenant.fail_provisioning(step, reason),
            TenantCommand::Purge if !tenant.suspended => Err(TenantRejection::NotSuspended),
            TenantCommand::Purge => Ok(vec![TenantEvent::Purged {}]),
        }
    }

    fn evolve(&mut self, event: &TenantEvent) {
        if let TenantEvent::Provisioned(asked) = event {
            self.existing = Some(Box::new(Existing {
                asked: (**asked).clone(),
                name: asked.name.clone(),
                slug: asked.slug.clone(),
                domain: asked.domain.clone(),
                settings: None,
                plan: asked.plan,
                trial_ends_at: asked.trial_ends_at,
                suspended: false,
                access_mode: AccessMode::Active,
                password_policy: PasswordPolicy::DEFAULT,
                mfa_required: false,
                unverified: false,
                flags: Flags::default(),
                owners: BTreeMap::new(),
                applications: BTreeSet::new(),
                sso: SsoProviders::default(),
                provisioning: Provisioning::Pending,
                purged: false,
                revision: 0,
            }));
        }
        // A stream begins with its provisioning, so there is nothing that could happen before.
        let Some(tenant) = self.existing.as_deref_mut() else { return };
        tenant.revision += u64::from(event.flag().is_none());
        match event {
            TenantEvent::Provisioned(_) => {}
            TenantEvent::Updated { name, slug, domain, settings } => {
                replace(&mut tenant.name, name);
                replace(&mut tenant.slug, slug);
                replace(&mut tenant.domain, domain);
                if settings.is_some() {
                    tenant.settings.clone_from(settings);
                }
            }
            TenantEvent::TrialSet { ends_at } => tenant.trial_ends_at = *ends_at,
            TenantEvent::Suspended { reason: _ } => tenant.suspended = true,
            TenantEvent::Reactivated { reason: _ } => tenant.suspended = false,
            TenantEvent::PlanChanged { from: _, to } => tenant.plan = *to,
            TenantEvent::AccessModeSet { mode } => tenant.access_mode = *mode,
            TenantEvent::PasswordPolicyChanged { policy } => tenant.password_policy = *policy,
            TenantEvent::SecurityChanged { mfa_required } => tenant.mfa_required = *mfa_required,
            TenantEvent::FlagSet { key, value } => tenant.flags.set(key, value),
            TenantEvent::FlagCleared { key } => tenant.flags.clear(key),
            TenantEvent::OwnerAdded { person, membership } => {
                tenant.owners.insert(*person, *membership);
            }
            TenantEvent::OwnerRemoved { person, membership: _, because: _ } => {
                tenant.owners.remove(person);
            }
            TenantEvent::ApplicationConnected { application } => {
                tenant.applications.insert(*application);
            }
            TenantEvent::ApplicationDisconnected { application } => {
                tenant.applications.remove(application);
            }
            TenantEvent::ProvisioningCompleted {} => tenant.provisioning = Provisioning::Completed,
            TenantEvent::ProvisioningFailed { step, reason } => {
                tenant.provisioning = Provisioning::Failed { step: *step, reason: reason.clone() };
            }
            TenantEvent::Purged {} => tenant.purge(),
            TenantEvent::Registered {} => tenant.unverified = true,
            TenantEvent::Verified {} => tenant.unverified = false,
            TenantEvent::SsoConfigured(provider) => tenant.sso.configured(provider),
            TenantEvent::SsoUpdated { provider, name, client_secret, rules } => {
                tenant.sso.updated(*provider, name, client_secret, *rules);
            }
            TenantEvent::SsoRemoved { provider } => tenant.sso.removed(*provider),
        }
    }

    fn part(command: &TenantCommand) -> Option<String> {
        match command {
            TenantCommand::SetFlag { key, .. } | TenantCommand::ClearFlag { key } => {
                Some(key.as_str().to_owned())
            }
            _ => None,
        }
    }

    /// A flag is known by its own number, so that who changes one is in nobody's way who changes another, or the tenant.
    fn revision(&self, flag: Option<&str>) -> Option<u64> {
        let tenant = self.existing();
        Some(tenant.map_or(0, |tenant| flag.map_or(tenant.revision, |key| tenant.flags.revision(key))))
    }

    fn claims(&self, event: &TenantEvent) -> Vec<ClaimChange> {
        let domain =
            |mark: &Confidential<Domain>| mark.reveal().map(|it| Claim::new(DOMAIN_CLAIM, it.as_str()));
        let slug = |mark: &Confidential<Slug>| mark.reveal().map(|it| Claim::new(SLUG_CLAIM, it.as_str()));
        match (event, self.existing()) {
            (TenantEvent::Provisioned(asked), _) => [domain(&asked.domain), slug(&asked.slug)]
                .into_iter()
                .flatten()
                .map(ClaimChange::Take)
                .collect(),
            (TenantEvent::Updated { slug: new_slug, domain: new_domain, .. }, Some(before)) => {
                let freed = [
                    new_domain.as_ref().and_then(|_| domain(&before.domain)),
                    new_slug.as_ref().and_then(|_| slug(&before.slug)),
                ];
                let taken = [new_domain.as_ref().and_then(domain), new_slug.as_ref().and_then(slug)];
                let freed = freed.into_iter().flatten().map(ClaimChange::Free);
                freed.chain(taken.into_iter().flatten().map(ClaimChange::Take)).collect()
            }
            (TenantEvent::Purged {}, Some(before)) => {
                let freed = [domain(&before.domain), slug(&before.slug)];
                freed.into_iter().flatten().map(ClaimChange::Free).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Existing {
    /// What the tenant supplied goes; ids, plan and times stay.
    fn purge(&mut self) {
        let of = self.id();
        (self.name, self.slug, self.domain) =
            (Confidential::forgotten(of), Confidential::forgotten(of), Confidential::forgotten(of));
        (self.asked.name, self.asked.slug, self.asked.domain) =
            (self.name.clone(), self.slug.clone(), self.domain.clone());
        let application = self.asked.application.take();
        self.asked.application = application.map(|it| it.map_name(|_| Confidential::forgotten(of)));
        self.settings = None;
        self.flags.clear_all();
        self.sso.clear();
        self.unverified = false;
        self.purged = true;
    }

    fn update(
        &self,
        name: Option<TenantName>,
        slug: Option<Slug>,
        domain: Option<Domain>,
        settings: Option<Settings>,
    ) -> Vec<TenantEvent> {
        let name = self.if_new(name, Some(&self.name));
        let slug = self.if_new(slug, Some(&self.slug));
        let domain = self.if_new(domain, Some(&self.domain));
        let settings = self.if_new(settings, self.settings.as_ref());
        let same = name.is_none() && slug.is_none() && domain.is_none() && settings.is_none();
        unless(same, || TenantEvent::Updated { name, slug, domain, settings })
    }

    fn if_new<T: PartialEq>(
        &self,
        wished: Option<T>,
        current: Option<&Confidential<T>>,
    ) -> Option<Confidential<T>> {
        let current = current.and_then(Confidential::reveal);
        wished.filter(|value| current != Some(value)).map(|value| self.mark(value))
    }

    fn change_plan(&self, plan: Plan) -> Result<Vec<TenantEvent>, TenantRejection> {
        if self.plan == plan {
            return Ok(Vec::new());
        }
        fits(self, plan)?;

        let mut events = vec![TenantEvent::PlanChanged { from: self.plan, to: plan }];
        events.extend(self.follow_plan(plan));
        Ok(events)
    }

    fn add_owner(&self, person: PersonId) -> Result<Vec<TenantEvent>, TenantRejection> {
        if self.owners.contains_key(&person) {
            return Ok(Vec::new());
        }
        within(Resource::Users, self.owners.len() + 1, self.plan.limits().users)?;
        Ok(vec![TenantEvent::OwnerAdded { person, membership: membership::id_of(self.id(), person) }])
    }

    fn remove_owner(
        &self,
        person: PersonId,
        because: OwnershipLoss,
    ) -> Result<Vec<TenantEvent>, TenantRejection> {
        match self.owners.get(&person) {
            None => Ok(Vec::new()),
            Some(_) if self.owners.len() == 1 => Err(TenantRejection::LastOwner),
            Some(&membership) => Ok(vec![TenantEvent::OwnerRemoved { person, membership, because }]),
        }
    }

    fn connect(&self, application: ApplicationId) -> Result<Vec<TenantEvent>, TenantRejection> {
        if self.applications.contains(&application) {
            return Ok(Vec::new());
        }
        within(Resource::Applications, self.applications.len() + 1, self.plan.limits().applications)?;
        Ok(vec![TenantEvent::ApplicationConnected { application }])
    }

    fn complete_provisioning(&self) -> Result<Vec<TenantEvent>, TenantRejection> {
        if self.provisioning == Provisioning::Completed {
            return Ok(Vec::new());
        }
        if self.owners.is_empty() {
            return Err(TenantRejection::NoOwner);
        }
        Ok(vec![TenantEvent::ProvisioningCompleted {}])
    }

    fn fail_provisioning(
        &self,
        step: ProvisioningStep,
        reason: ReasonCode,
    ) -> Result<Vec<TenantEvent>, TenantRejection> {
        match &self.provisioning {
            Provisioning::Completed => Err(TenantRejection::ProvisioningCompleted),
            Provisioning::Failed { step: before, reason: code } if *before == step && *code == reason => {
                Ok(Vec::new())
            }
            Provisioning::Failed { .. } | Provisioning::Pending => {
                Ok(vec![TenantEvent::ProvisioningFailed { step, reason }])
            }
        }
    }
}

/// Nothing if it is so already, else the one event.
fn unless(already: bool, event: impl FnOnce() -> TenantEvent) -> Vec<TenantEvent> {
    if already { Vec::new() } else { vec![event()] }
}

fn replace<T: Clone>(current: &mut T, new: &Option<T>) {
    if let Some(new) = new {
        current.clone_from(new);
    }
}

#[cfg(test)]
mod tests;
