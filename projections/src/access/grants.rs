//! What members were given beside their roles, as it is now: by a role of the tenant's own, by grants, within the plan.
//!
//! Each membership has a version that rises with every change of what it may do. It is a count of changes: those of the
//! membership, and those in its tenant (of plan and mode, and of what roles give). Each only ever grows, so their sum
//! is the same on every node, in whichever order the nodes heard of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use engine::projection::FoldError;
use kernel::{MembershipId, PersonId, RoleId, ShardId, StreamId, TenantId};
use schemas::events::{MembershipEvent, RoleEvent, TenantEvent};
use schemas::values::{Module, Permission, Plan};

use super::{AccessMemory, Known, TenantAccess, unknown};

/// A role that a tenant made, and that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleAccess {
    pub tenant: TenantId,
    pub permissions: Arc<BTreeSet<Permission>>,
}

/// What a member was given beside the role of the membership. What it is worth, the tenant's plan says too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberGrants {
    /// `None` also if it was deleted.
    pub custom_role: Option<RoleId>,
    /// What that role gives.
    pub by_role: Arc<BTreeSet<Permission>>,
    /// Given to the member alone.
    pub permissions: BTreeSet<Permission>,
    pub modules: BTreeSet<Module>,
    /// What of it the member may give to others.
    pub may_grant: BTreeSet<Permission>,
}

impl MemberGrants {
    /// Every permission that was given, by the role or alone.
    pub fn all(&self) -> impl Iterator<Item = &Permission> {
        self.by_role.iter().chain(&self.permissions)
    }
}

/// What a membership's events say of it.
#[derive(Debug, Default)]
struct Given {
    custom_role: Option<RoleId>,
    permissions: BTreeSet<Permission>,
    modules: BTreeSet<Module>,
    may_grant: BTreeSet<Permission>,
}

#[derive(Debug)]
struct Member {
    shard: ShardId,
    /// Changes of what the membership may do.
    changes: u64,
    /// `None`: nothing, as of most.
    given: Option<Box<Given>>,
}

/// A role that was made once.
#[derive(Debug)]
struct Made {
    shard: ShardId,
    tenant: TenantId,
    /// `None`: it is deleted.
    gives: Option<Arc<BTreeSet<Permission>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Changes of what may be done in the tenant.
    changes: u64,
    /// Roles that are not deleted.
    roles: usize,
}

/// Folds grants.
#[derive(Debug, Default)]
pub(super) struct GrantBook {
    members: HashMap<MembershipId, Member>,
    /// Also those that were deleted, so that nobody takes an id for a new one.
    roles: HashMap<RoleId, Made>,
    plans: HashMap<TenantId, (ShardId, Plan)>,
    /// By the shard that told of it too, so that one can be folded anew without the others.
    tallies: BTreeMap<(TenantId, ShardId), Tally>,
}

impl GrantBook {
    fn tally(&mut self, tenant: TenantId, shard: ShardId) -> &mut Tally {
        self.tallies.entry((tenant, shard)).or_default()
    }

    fn total(&self, tenant: TenantId) -> Tally {
        let all = self.tallies.range((tenant, ShardId(i16::MIN))..=(tenant, ShardId(i16::MAX)));
        all.fold(Tally::default(), |sum, (_, one)| Tally {
            changes: sum.changes + one.changes,
            roles: sum.roles + one.roles,
        })
    }

    pub(super) fn tenant(
        &mut self,
        shard: ShardId,
        tenant: TenantId,
        event: &TenantEvent,
        (before, after): (TenantAccess, TenantAccess),
    ) {
        // What changes status and mode, TenantAccess knows.
        let plan = match event {
            TenantEvent::Provisioned(provisioned) => Some(provisioned.plan),
            TenantEvent::PlanChanged { to, .. } => Some(*to),
            _ => None,
        };
        if let Some(plan) = plan {
            self.plans.insert(tenant, (shard, plan));
        }
        self.tally(tenant, shard).changes += if before.trial_ends_at != after.trial_ends_at {
            // The end of a trial that has passed counts as one (see `version`): more than that is taken back.
            2
        } else {
            u64::from(before != after || plan.is_some())
        };
    }

    pub(super) fn membership(&mut self, shard: ShardId, id: MembershipId, event: &MembershipEvent) {
        let new = Member { shard, changes: 0, given: None };
        let member = self.members.entry(id).or_insert(new);
        member.changes += 1;
        match event {
            MembershipEvent::Invited { .. } | MembershipEvent::Removed {} => member.given = None,
            MembershipEvent::CustomRoleSet { role } => {
                member.given.get_or_insert_default().custom_role = *role
            }
            MembershipEvent::PermissionGranted { permission } => {
                member.given.get_or_insert_default().permissions.insert(permission.clone());
            }
            MembershipEvent::PermissionRevoked { permission } => {
                member.given.get_or_insert_default().permissions.remove(permission);
            }
            MembershipEvent::ModuleGranted { module } => {
                member.given.get_or_insert_default().modules.insert(module.clone());
            }
            MembershipEvent::ModuleRevoked { module } => {
                member.given.get_or_insert_default().modules.remove(module);
            }
            MembershipEvent::DelegationChanged { may_grant } => {
                member.given.get_or_insert_default().may_grant.clone_from(may_grant)
            }
            // They change what may be done, and not what was given.
            MembershipEvent::Accepted {}
            | MembershipEvent::RoleChanged { .. }
            | MembershipEvent::KindChanged { .. }
            | MembershipEvent::SecurityChanged { .. }
            | MembershipEvent::Disabled {}
            | MembershipEvent::Enabled {} => {}
            // A link that was sent anew changes neither, nor by whom they are known.
            MembershipEvent::Resent { .. } | MembershipEvent::SsoLinked { .. } => member.changes -= 1,
        }
    }

    pub(super) fn role(&mut self, shard: ShardId, id: RoleId, event: RoleEvent) -> Result<(), FoldError> {
        if let RoleEvent::Created { tenant, permissions, .. } = event {
            self.roles.insert(id, Made { shard, tenant, gives: Some(Arc::new(permissions)) });
            let tally = self.tally(tenant, shard);
            tally.changes += 1;
            tally.roles += 1;
            return Ok(());
        }
        let Made { tenant, gives, .. } = self.roles.get_mut(&id).ok_or_else(|| unknown("role"))?;
        let tenant = *tenant;
        let (changes, gone) = match event {
            RoleEvent::PermissionsSet { permissions } => {
                *gives = Some(Arc::new(permissions));
                (1, 0)
            }
            RoleEvent::Deleted {} => (1, usize::from(gives.take().is_some())),
            // Created was folded above; a name gives nothing.
            RoleEvent::Created { .. } | RoleEvent::Updated { .. } => (0, 0),
        };
        let tally = self.tally(tenant, shard);
        tally.changes += changes;
        tally.roles = tally.roles.saturating_sub(gone);
        Ok(())
    }

    /// A role that can't be folded gives nothing from now on, and that is a change.
    pub(super) fn close(&mut self, shard: ShardId, stream: &StreamId) {
        if stream.aggregate_type == "role"
            && let Some(tenant) = self.roles.get(&RoleId(stream.id)).map(|role| role.tenant)
        {
            self.tally(tenant, shard).changes += 1;
        }
    }

    pub(super) fn reset(&mut self, shard: ShardId) {
        self.members.retain(|_, member| member.shard != shard);
        self.roles.retain(|_, role| role.shard != shard);
        self.plans.retain(|_, (of, _)| *of != shard);
        self.tallies.retain(|(_, of), _| *of != shard);
    }
}

impl Known {
    fn live_role(&self, id: RoleId) -> Option<RoleAccess> {
        let Made { tenant, gives, .. } = self.grants.roles.get(&id)?;
        let permissions = gives.clone().filter(|_| !self.is_closed("role", id.0))?;
        Some(RoleAccess { tenant: *tenant, permissions })
    }

    /// The role of the tenant's own that a member has. Another tenant's gives nothing.
    fn role_given(&self, membership: MembershipId, given: &Given) -> Option<(RoleId, RoleAccess)> {
        let id = given.custom_role?;
        let role = self.live_role(id)?;
        let (_, member) = self.memberships.get(&membership)?;
        (member.tenant == role.tenant).then_some((id, role))
    }

    fn given(&self, membership: MembershipId) -> Option<&Given> {
        if self.is_closed("membership", membership.0) {
            return None;
        }
        self.grants.members.get(&membership)?.given.as_deref()
    }
}

impl AccessMemory {
    /// A role of a tenant's own; `None` if it is deleted, or its stream can't be folded.
    pub fn role(&self, role: RoleId) -> Option<RoleAccess> {
        self.read().live_role(role)
    }

    /// How many roles a tenant has.
    pub fn roles_of(&self, tenant: TenantId) -> usize {
        self.read().grants.total(tenant).roles
    }

    /// What a tenant bought; `None` if it isn't there, or if its stream can't be folded.
    pub fn plan(&self, tenant: TenantId) -> Option<Plan> {
        let known = self.read();
        let plan = known.grants.plans.get(&tenant).map(|(_, plan)| *plan);
        plan.filter(|_| !known.is_closed("tenant", tenant.0))
    }

    /// What a member was given; nothing, if the membership's stream can't be folded.
    pub fn grants(&self, membership: MembershipId) -> MemberGrants {
        let known = self.read();
        let Some(given) = known.given(membership) else { return MemberGrants::default() };
        let role = known.role_given(membership, given);
        MemberGrants {
            custom_role: role.as_ref().map(|(id, _)| *id),
            by_role: role.map(|(_, role)| role.permissions).unwrap_or_default(),
            permissions: given.permissions.clone(),
            modules: given.modules.clone(),
            may_grant: given.may_grant.clone(),
        }
    }

    /// The membership's version: it rises with every change of what the member may do.
    pub fn version(&self, tenant: TenantId, membership: MembershipId, now: DateTime<Utc>) -> u64 {
        let known = self.read();
        let own = known.grants.members.get(&membership).map_or(0, |member| member.changes);
        let trial = known.tenants.get(&tenant).and_then(|(_, access)| access.trial_ends_at);
        own + known.grants.total(tenant).changes + u64::from(trial.is_some_and(|end| end <= now))
    }

    /// True if what a person was given in a tenant covers an action such as `users:read`, and the plan doesn't withhold it.
    pub fn was_given(&self, tenant: TenantId, person: PersonId, action: &str) -> bool {
        let known = self.read();
        let Some(membership) = known.by_person.get(&(tenant, person)).copied() else { return false };
        let Some(given) = known.given(membership) else { return false };
        // What the plan is, nobody knows if the tenant's stream can't be folded.
        let plan = known.grants.plans.get(&tenant).filter(|_| !known.is_closed("tenant", tenant.0));
        if plan.is_none_or(|(_, plan)| plan.withholds(action)) {
            return false;
        }
        let covers = |of: &BTreeSet<Permission>| of.iter().any(|permission| permission.covers_action(action));
        covers(&given.permissions)
            || known.role_given(membership, given).is_some_and(|(_, role)| covers(&role.permissions))
    }
}
