//! What may be done in a tenant, folded.

use chrono::{DateTime, Utc};
use kernel::Position;
use schemas::events::TenantEvent;
use schemas::values::{AccessMode, MembershipKind, PasswordPolicy, TenantStatus, effective_access};

/// What may be done in a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantAccess {
    /// What an operator set.
    pub mode: AccessMode,
    pub suspended: bool,
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// What began before has ended: the tenant was suspended, or is gone.
    pub ended_at: Position,
    /// When that was.
    pub ended_on: DateTime<Utc>,
    /// What its people's new passwords must satisfy.
    pub password_policy: PasswordPolicy,
    /// Its people get in only with a second factor.
    pub mfa_required: bool,
    /// A stranger registered it, and its owner's address is not verified yet: nobody gets in.
    pub unverified: bool,
}

impl TenantAccess {
    pub(crate) const NEW: Self = Self {
        mode: AccessMode::Active,
        suspended: false,
        trial_ends_at: None,
        ended_at: Position::ZERO,
        ended_on: DateTime::<Utc>::MIN_UTC,
        password_policy: PasswordPolicy::DEFAULT,
        mfa_required: false,
        unverified: false,
    };

    /// What a member of a kind may do at `now`. Applications count as staff.
    pub fn effective(&self, kind: MembershipKind, now: DateTime<Utc>) -> AccessMode {
        let stopped = self.suspended || self.unverified;
        effective_access(self.mode, stopped, self.trial_ends_at, kind, now)
    }

    pub fn status(&self) -> TenantStatus {
        if self.suspended {
            TenantStatus::Suspended
        } else if self.trial_ends_at.is_some() {
            TenantStatus::Trial
        } else {
            TenantStatus::Active
        }
    }

    /// Folds what an event says about access; most say nothing.
    pub(crate) fn fold(&mut self, event: &TenantEvent, at: Position, on: DateTime<Utc>) {
        match event {
            TenantEvent::Provisioned(provisioned) => self.trial_ends_at = provisioned.trial_ends_at,
            TenantEvent::TrialSet { ends_at } => self.trial_ends_at = *ends_at,
            TenantEvent::Suspended { .. } | TenantEvent::Purged {} => {
                (self.suspended, self.ended_at, self.ended_on) = (true, at, on);
            }
            TenantEvent::Reactivated { .. } => self.suspended = false,
            TenantEvent::AccessModeSet { mode } => self.mode = *mode,
            TenantEvent::PasswordPolicyChanged { policy } => self.password_policy = *policy,
            TenantEvent::SecurityChanged { mfa_required } => self.mfa_required = *mfa_required,
            TenantEvent::Registered {} => self.unverified = true,
            TenantEvent::Verified {} => self.unverified = false,
            TenantEvent::Updated { .. }
            | TenantEvent::PlanChanged { .. }
            | TenantEvent::FlagSet { .. }
            | TenantEvent::FlagCleared { .. }
            | TenantEvent::OwnerAdded { .. }
            | TenantEvent::OwnerRemoved { .. }
            | TenantEvent::ApplicationConnected { .. }
            | TenantEvent::ApplicationDisconnected { .. }
            | TenantEvent::ProvisioningCompleted {}
            | TenantEvent::ProvisioningFailed { .. }
            // Who may sign in by whom is folded beside it.
            | TenantEvent::SsoConfigured(_)
            | TenantEvent::SsoUpdated { .. }
            | TenantEvent::SsoRemoved { .. } => {}
        }
    }
}
