//! A membership: a person in a tenant. Its stream's id derives from both, so a person can't belong to a tenant twice.
//!
//! A membership doesn't know the tenant's other members. Whether an owner may be removed, demoted or disabled is decided
//! by the tenant's `RemoveOwner` first; then the membership follows with `Remove`, `ChangeRole` or `Disable`.

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{ClaimChange, Decider, MembershipId, PersonId, RejectionKind, TenantId};
use schemas::events::MembershipEvent;
use schemas::values::{MembershipKind, MembershipStatus, Role, SecretHash};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod grants;
mod sso;

pub use grants::{GRANTS_MAX, Grant, Grants};
pub use sso::{LinkSso, SSO_CLAIM, SsoLinks, claim};

/// How long an invitation can be accepted unless its sender says otherwise, in days (FR-TENANT-001).
pub const INVITATION_DAYS: i64 = 7;

/// The name space of membership ids. Part of the storage format: it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0e_8a54_3c1b_4b7e_9a3d_d1f0_6b2c_47e9);

/// The id of the membership of `person` in `tenant`, and of its stream: a UUIDv5 of both.
pub fn id_of(tenant: TenantId, person: PersonId) -> MembershipId {
    let mut name = [0; 32];
    name[..16].copy_from_slice(tenant.0.as_bytes());
    name[16..].copy_from_slice(person.0.as_bytes());
    MembershipId(Uuid::new_v5(&NAMESPACE, &name))
}

/// A membership, or the place for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    existing: Option<Existing>,
}

/// A membership that there is or was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Existing {
    pub tenant: TenantId,
    pub person: PersonId,
    pub role: Role,
    pub kind: MembershipKind,
    pub invitation: Invitation,
    pub accepted: bool,
    pub disabled: bool,
    pub removed: bool,
    /// A second factor is asked of the member, whatever the tenant asks of all. Not of whoever is invited again.
    pub mfa_required: bool,
    /// What the member was given beside the role. Whoever is invited again begins with nothing.
    pub grants: Grants,
    /// By whom the member signs in. Whoever is invited again is known by nobody.
    pub sso: SsoLinks,
}

/// The last invitation; former ones are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub expires_at: DateTime<Utc>,
    pub token_hash: Option<SecretHash>,
}

impl Membership {
    /// The membership, also one that was removed.
    pub fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }

    fn present(&self) -> Result<&Existing, MembershipRejection> {
        self.existing().filter(|membership| !membership.removed).ok_or(MembershipRejection::NotFound)
    }
}

impl Existing {
    pub fn status(&self) -> MembershipStatus {
        match self {
            Self { removed: true, .. } => MembershipStatus::Removed,
            Self { disabled: true, .. } => MembershipStatus::Disabled,
            Self { accepted: true, .. } => MembershipStatus::Active,
            _ => MembershipStatus::Invited,
        }
    }
}

/// What may be wished of a membership.
#[derive(Clone, Debug)]
pub enum MembershipCommand {
    /// FR-TENANT-001. An invitation that still stands, for the same role and kind, is the same wish whenever it would have
    /// expired: its link stays. One that expired, and a removed membership, can be invited again.
    Invite {
        tenant: TenantId,
        person: PersonId,
        role: Role,
        kind: MembershipKind,
        /// `None`: [`INVITATION_DAYS`] from now.
        expires_at: Option<DateTime<Utc>>,
        /// `None`: no link is made; who accepts proves otherwise to be the person.
        token_hash: Option<SecretHash>,
        now: DateTime<Utc>,
    },
    /// FR-TENANT-007. The former link is void.
    Resend {
        expires_at: Option<DateTime<Utc>>,
        token_hash: Option<SecretHash>,
        now: DateTime<Utc>,
    },
    /// The hash is that of the link's token; it has to be the last invitation's.
    Accept {
        token_hash: Option<SecretHash>,
        now: DateTime<Utc>,
    },
    /// FR-TENANT-004
    ChangeRole {
        role: Role,
    },
    ChangeKind {
        kind: MembershipKind,
    },
    /// FR-TENANT-006
    Disable,
    /// FR-TENANT-006
    Enable,
    /// Takes back an invitation that nobody has accepted yet. It ends in the same event as `Remove`.
    Revoke,
    /// FR-TENANT-002
    Remove,
    /// Gives or takes what a member holds beside the role. Whether that is the caller's to give, the caller was asked.
    Grant(Grant),
    /// NFR-SEC-003. Whether a second factor is asked of the member.
    SetSecurity {
        mfa_required: bool,
    },
    /// FR-AUTH-003
    LinkSso(LinkSso),
}

/// Why a membership refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipRejection {
    #[error("there is no such membership")]
    NotFound,
    #[error("the person is a member, or invited differently")]
    AlreadyExists,
    #[error("the invitation has been accepted")]
    AlreadyAccepted,
    #[error("{role} is not a role in a tenant")]
    TenantRoleRequired { role: Role },
    #[error("the invitation expired at {expired_at}")]
    InvitationExpired { expired_at: DateTime<Utc> },
    #[error("this is not the last invitation's link")]
    InvitationInvalid,
    #[error("the invitation would have expired at {expires_at}, before it is sent")]
    ExpiryInThePast { expires_at: DateTime<Utc> },
    #[error("the membership is disabled")]
    Disabled,
    #[error("a member has at most {limit} of these")]
    TooManyGrants { limit: usize },
    #[error("the provider knows the member by another subject")]
    LinkedOtherwise,
}

impl kernel::Rejection for MembershipRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyExists | Self::AlreadyAccepted | Self::LinkedOtherwise => RejectionKind::Conflict,
            Self::TenantRoleRequired { .. }
            | Self::InvitationExpired { .. }
            | Self::InvitationInvalid
            | Self::ExpiryInThePast { .. }
            | Self::Disabled
            | Self::TooManyGrants { .. } => RejectionKind::Rule,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::AlreadyAccepted => "already_accepted",
            Self::TenantRoleRequired { .. } => "tenant_role_required",
            Self::InvitationExpired { .. } => "invitation_expired",
            Self::InvitationInvalid => "invitation_invalid",
            Self::ExpiryInThePast { .. } => "expiry_in_the_past",
            Self::Disabled => "membership_disabled",
            Self::TooManyGrants { .. } => "too_many_grants",
            Self::LinkedOtherwise => "sso_linked_otherwise",
        }
    }
}

impl Decider for Membership {
    const TYPE: &'static str = "membership";
    const SNAPSHOT_VERSION: u32 = 4;

    type Command = MembershipCommand;
    type Event = MembershipEvent;
    type Rejection = MembershipRejection;

    fn decide(&self, command: MembershipCommand) -> Result<Vec<MembershipEvent>, MembershipRejection> {
        match command {
            MembershipCommand::Invite { tenant, person, role, kind, expires_at, token_hash, now } => {
                self.invite(tenant, person, role, kind, expires_at, token_hash, now)
            }
            MembershipCommand::Resend { expires_at, token_hash, now } => {
                let membership = self.present()?;
                if membership.accepted {
                    return Err(MembershipRejection::AlreadyAccepted);
                }
                if membership.disabled {
                    return Err(MembershipRejection::Disabled);
                }
                let wished = Invitation { expires_at: expiry(expires_at, now), token_hash };
                if membership.invitation == wished {
                    return Ok(Vec::new());
                }
                let Invitation { expires_at, token_hash } = wished.not_expired(now)?;
                Ok(vec![MembershipEvent::Resent { expires_at, token_hash }])
            }
            MembershipCommand::Accept { token_hash, now } => self.present()?.accept(token_hash, now),
            MembershipCommand::ChangeRole { role } => {
                let membership = self.present()?;
                let role = tenant_role(role)?;
                Ok(unless(membership.role == role, || MembershipEvent::RoleChanged {
                    from: membership.role,
                    to: role,
                }))
            }
            MembershipCommand::ChangeKind { kind } => {
                let membership = self.present()?;
                Ok(unless(membership.kind == kind, || MembershipEvent::KindChanged {
                    from: membership.kind,
                    to: kind,
                }))
            }
            MembershipCommand::Disable => {
                let membership = self.present()?;
                Ok(unless(membership.disabled, || MembershipEvent::Disabled {}))
            }
            MembershipCommand::Enable => {
                let membership = self.present()?;
                Ok(unless(!membership.disabled, || MembershipEvent::Enabled {}))
            }
            MembershipCommand::Revoke => {
                let membership = self.existing().ok_or(MembershipRejection::NotFound)?;
                if membership.accepted && !membership.removed {
                    return Err(MembershipRejection::AlreadyAccepted);
                }
                Ok(unless(membership.removed, || MembershipEvent::Removed {}))
            }
            MembershipCommand::Remove => {
                let membership = self.existing().ok_or(MembershipRejection::NotFound)?;
                Ok(unless(membership.removed, || MembershipEvent::Removed {}))
            }
            MembershipCommand::Grant(grant) => self.present()?.grants.decide(grant),
            MembershipCommand::SetSecurity { mfa_required } => {
                let membership = self.present()?;
                Ok(unless(membership.mfa_required == mfa_required, || MembershipEvent::SecurityChanged {
                    mfa_required,
                }))
            }
            MembershipCommand::LinkSso(wish) => self.link_sso(wish),
        }
    }

    fn evolve(&mut self, event: &MembershipEvent) {
        if let MembershipEvent::Invited { tenant, person, role, kind, expires_at, token_hash } = event {
            self.existing = Some(Existing {
                tenant: *tenant,
                person: *person,
                role: *role,
                kind: *kind,
                invitation: Invitation { expires_at: *expires_at, token_hash: token_hash.clone() },
                accepted: false,
                disabled: false,
                removed: false,
                mfa_required: false,
                grants: Grants::default(),
                sso: SsoLinks::default(),
            });
        }
        // A stream begins with an invitation, so there is nothing that could happen before.
        let Some(membership) = self.existing.as_mut() else { return };
        match event {
            MembershipEvent::Invited { .. } => {}
            MembershipEvent::Resent { expires_at, token_hash } => {
                membership.invitation =
                    Invitation { expires_at: *expires_at, token_hash: token_hash.clone() };
            }
            MembershipEvent::Accepted {} => membership.accepted = true,
            MembershipEvent::RoleChanged { from: _, to } => membership.role = *to,
            MembershipEvent::KindChanged { from: _, to } => membership.kind = *to,
            MembershipEvent::Disabled {} => membership.disabled = true,
            MembershipEvent::Enabled {} => membership.disabled = false,
            MembershipEvent::Removed {} => {
                membership.removed = true;
                membership.sso.clear();
            }
            MembershipEvent::SecurityChanged { mfa_required } => membership.mfa_required = *mfa_required,
            MembershipEvent::SsoLinked { provider, identity } => membership.sso.linked(*provider, identity),
            MembershipEvent::CustomRoleSet { .. }
            | MembershipEvent::PermissionGranted { .. }
            | MembershipEvent::PermissionRevoked { .. }
            | MembershipEvent::ModuleGranted { .. }
            | MembershipEvent::ModuleRevoked { .. }
            | MembershipEvent::DelegationChanged { .. } => membership.grants.evolve(event),
        }
    }

    fn claims(&self, event: &MembershipEvent) -> Vec<ClaimChange> {
        match event {
            MembershipEvent::SsoLinked { identity, .. } => vec![ClaimChange::Take(claim(identity))],
            MembershipEvent::Removed {} => self.existing().map(|known| known.sso.freed()).unwrap_or_default(),
            MembershipEvent::Invited { .. }
            | MembershipEvent::Resent { .. }
            | MembershipEvent::Accepted {}
            | MembershipEvent::RoleChanged { .. }
            | MembershipEvent::KindChanged { .. }
            | MembershipEvent::Disabled {}
            | MembershipEvent::Enabled {}
            | MembershipEvent::CustomRoleSet { .. }
            | MembershipEvent::PermissionGranted { .. }
            | MembershipEvent::PermissionRevoked { .. }
            | MembershipEvent::ModuleGranted { .. }
            | MembershipEvent::ModuleRevoked { .. }
            | MembershipEvent::DelegationChanged { .. }
            | MembershipEvent::SecurityChanged { .. } => Vec::new(),
        }
    }
}

impl Membership {
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one command, taken apart where it is matched"
    )]
    fn invite(
        &self,
        tenant: TenantId,
        person: PersonId,
        role: Role,
        kind: MembershipKind,
        expires_at: Option<DateTime<Utc>>,
        token_hash: Option<SecretHash>,
        now: DateTime<Utc>,
    ) -> Result<Vec<MembershipEvent>, MembershipRejection> {
        let role = tenant_role(role)?;
        let wished = Invitation { expires_at: expiry(expires_at, now), token_hash };
        if let Ok(before) = self.present() {
            let same = (before.role, before.kind) == (role, kind);
            let stands = before.invitation.expires_at > now;
            if before.status() == MembershipStatus::Invited && same && (stands || before.invitation == wished)
            {
                // One without a link can't be accepted by mail: it gets one.
                return if before.invitation.token_hash.is_none() && wished.token_hash.is_some() {
                    let Invitation { expires_at, token_hash } = wished.not_expired(now)?;
                    Ok(vec![MembershipEvent::Resent { expires_at, token_hash }])
                } else {
                    Ok(Vec::new())
                };
            }
            if before.status() != MembershipStatus::Invited || stands {
                return Err(MembershipRejection::AlreadyExists);
            }
        }
        let Invitation { expires_at, token_hash } = wished.not_expired(now)?;
        Ok(vec![MembershipEvent::Invited { tenant, person, role, kind, expires_at, token_hash }])
    }
}

impl Existing {
    fn accept(
        &self,
        token_hash: Option<SecretHash>,
        now: DateTime<Utc>,
    ) -> Result<Vec<MembershipEvent>, MembershipRejection> {
        let Invitation { expires_at, token_hash: last } = &self.invitation;
        if token_hash != *last {
            return Err(MembershipRejection::InvitationInvalid);
        }
        if self.disabled {
            return Err(MembershipRejection::Disabled);
        }
        if self.accepted {
            return Ok(Vec::new());
        }
        if *expires_at <= now {
            return Err(MembershipRejection::InvitationExpired { expired_at: *expires_at });
        }
        Ok(vec![MembershipEvent::Accepted {}])
    }
}

impl Invitation {
    fn not_expired(self, now: DateTime<Utc>) -> Result<Self, MembershipRejection> {
        if self.expires_at <= now {
            return Err(MembershipRejection::ExpiryInThePast { expires_at: self.expires_at });
        }
        Ok(self)
    }
}

fn expiry(wished: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    let default =
        || now.checked_add_signed(TimeDelta::days(INVITATION_DAYS)).unwrap_or(DateTime::<Utc>::MAX_UTC);
    wished.unwrap_or_else(default)
}

fn tenant_role(role: Role) -> Result<Role, MembershipRejection> {
    if role.is_tenant() { Ok(role) } else { Err(MembershipRejection::TenantRoleRequired { role }) }
}

/// Nothing if it is so already, else the one event.
fn unless(already: bool, event: impl FnOnce() -> MembershipEvent) -> Vec<MembershipEvent> {
    if already { Vec::new() } else { vec![event()] }
}

#[cfg(test)]
mod tests;
