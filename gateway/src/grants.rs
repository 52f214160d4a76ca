//! What somebody may do in a tenant all told, and what of it they may pass on (REQUIREMENTS §4).
//!
//! **Nobody grants what they don't hold.** Owners hold everything in their tenant; administrators everything but what is
//! the owners' alone: contract, SSO, security. Others hold what a role of the tenant's own and grants give them, and may
//! pass on what of it their delegation names. Nobody holds what belongs to a module that the tenant is not entitled to.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use kernel::{RoleId, TenantId};
use projections::{AccessMemory, MemberAccess, MemberGrants, RoleAccess};
use schemas::values::{AccessMode, Module, Permission, Plan, Role};
use uuid::Uuid;

use crate::extract::{Read, Write};
use crate::personal_token::Limited;
use crate::problem::Problem;
use crate::state::App;
use crate::url_map::url_map;

/// The most roles that a tenant makes itself.
pub const ROLES_MAX: usize = 100;

/// What belongs to owners alone, whatever becomes of it: what is built of it, the URL map knows.
const OWNERS_RESOURCES: [&str; 3] = ["contract", "security", "sso"];

/// What administrators don't hold.
static OWNERS_ONLY: LazyLock<BTreeSet<Permission>> = LazyLock::new(|| {
    let map = url_map();
    let of_owners = map.endpoints().filter(|endpoint| {
        endpoint.roles.contains(&Role::Owner) && !endpoint.roles.contains(&Role::Administrator)
    });
    let built = of_owners.map(|endpoint| permission(endpoint.action));
    built.chain(OWNERS_RESOURCES.into_iter().flat_map(everything_of)).collect()
});

fn permission(text: &str) -> Permission {
    text.parse().expect("an action of ours is a permission, a test says so")
}

/// Whatever may be done to something and to what is below it.
fn everything_of(resource: &str) -> [Permission; 2] {
    [permission(&format!("{resource}:*")), permission(&format!("{resource}.*:*"))]
}

/// What somebody may do in a tenant, and pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    pub permissions: BTreeSet<Permission>,
    /// What is the owners' alone, and so not theirs.
    reserved: BTreeSet<Permission>,
    /// What the tenant is not entitled to, and so nobody holds.
    withheld: BTreeSet<Permission>,
    pub modules: BTreeSet<Module>,
    /// What they may pass on, as far as they hold it.
    pub delegation: BTreeSet<Permission>,
}

impl Effective {
    /// Entitlements ∩ grants. Until there is a catalogue, the plan says what a tenant is entitled to.
    pub fn of(role: Role, given: &MemberGrants, plan: Plan) -> Self {
        let withheld: BTreeSet<Permission> =
            plan.lacks().iter().flat_map(|module| everything_of(module.as_str())).collect();
        let manages = matches!(role, Role::Owner | Role::Administrator);
        let reserved = if role == Role::Administrator { OWNERS_ONLY.clone() } else { BTreeSet::new() };
        if manages {
            let everything: BTreeSet<Permission> = [permission("*:*")].into();
            let (permissions, delegation) = (everything.clone(), everything);
            return Self { permissions, reserved, withheld, modules: plan.modules(), delegation };
        }
        let has = |one: &&Permission| !withheld.iter().any(|other| other.covers(one));
        let permissions: BTreeSet<Permission> = given.all().filter(has).cloned().collect();
        let held = |one: &&Permission| permissions.iter().any(|other| other.overlaps(one));
        let delegation = given.may_grant.iter().filter(held).cloned().collect();
        let modules = &given.modules & &plan.modules();
        Self { permissions, reserved, withheld, modules, delegation }
    }

    /// What they don't hold although a wildcard of `permissions` stands for it.
    pub fn except(&self) -> BTreeSet<Permission> {
        self.reserved.union(&self.withheld).cloned().collect()
    }

    /// True if they hold all that a permission stands for, but for what the tenant is not entitled to.
    pub fn holds(&self, one: &Permission) -> bool {
        self.would_hold(one) && !self.withheld.iter().any(|not| not.covers(one))
    }

    /// The same, if the tenant were entitled to everything.
    fn would_hold(&self, one: &Permission) -> bool {
        self.permissions.iter().any(|held| held.covers(one))
            && !self.reserved.iter().any(|not| not.overlaps(one))
    }

    /// Nothing, if all of these are theirs to give.
    ///
    /// # Errors
    /// ERR-AUTH-403 `not_held`
    pub fn may_grant<'a>(&self, all: impl IntoIterator<Item = &'a Permission>) -> Result<(), Problem> {
        let may = |one| self.holds(one) && self.may_pass_on(one);
        if all.into_iter().all(may) { Ok(()) } else { Err(Problem::forbidden("not_held")) }
    }

    /// Nothing, if all of these are theirs to take: also what the tenant is no longer entitled to.
    ///
    /// # Errors
    /// ERR-AUTH-403 `not_held`
    pub fn may_take<'a>(&self, all: impl IntoIterator<Item = &'a Permission>) -> Result<(), Problem> {
        let may = |one| self.would_hold(one) && self.may_pass_on(one);
        if all.into_iter().all(may) { Ok(()) } else { Err(Problem::forbidden("not_held")) }
    }

    /// As far as credentials reach that are limited.
    fn within(self, limited: Option<&Limited>) -> Self {
        let Some(limited) = limited else { return self };
        let limits = &limited.permissions;
        let cut = |all: &BTreeSet<Permission>| {
            all.iter().flat_map(|one| limits.iter().filter_map(|limit| one.meet(limit))).collect()
        };
        let reached = |module: &Module| {
            everything_of(module.as_str()).iter().any(|one| limits.iter().any(|limit| limit.overlaps(one)))
        };
        let (permissions, delegation) = (cut(&self.permissions), cut(&self.delegation));
        let modules = self.modules.into_iter().filter(reached).collect();
        Self { permissions, delegation, modules, ..self }
    }

    fn may_pass_on(&self, one: &Permission) -> bool {
        self.delegation.iter().any(|other| other.covers(one))
    }
}

/// What the caller may do in the tenant that the request concerns.
///
/// # Errors
/// ERR-SYS-503: this node can't know.
pub fn of_caller<B>(write: &Write<B>) -> Result<Effective, Problem> {
    let tenant = write.tenant()?;
    let access = write.app.access.current(false)?;
    let role = write.caller.role.ok_or_else(|| Problem::forbidden("forbidden"))?;
    let member = write.caller.person().and_then(|person| access.membership(tenant, person));
    let given = member.map(|member| access.grants(member.membership)).unwrap_or_default();
    Ok(Effective::of(role, &given, plan(access, tenant)?).within(write.caller.limited.as_ref()))
}

fn plan(access: &AccessMemory, tenant: TenantId) -> Result<Plan, Problem> {
    access.plan(tenant).ok_or_else(|| Problem::unavailable("quarantined"))
}

/// May the caller change what this member was given? What owners were given is the owners' to change.
///
/// # Errors
/// ERR-AUTH-403
pub fn may_change<B>(write: &Write<B>, member: &MemberAccess) -> Result<(), Problem> {
    if member.role == Role::Owner && write.caller.role != Some(Role::Owner) {
        return Err(Problem::forbidden("forbidden"));
    }
    Ok(())
}

/// May the caller give, or take, use of a module? Managers take any; else it has to be theirs, and the tenant's. There is
/// no delegation of modules, so nobody else passes one on.
///
/// # Errors
/// ERR-AUTH-403 `module_disabled`: the tenant is not entitled to it; `not_held`.
pub fn may_change_module<B>(write: &Write<B>, module: &Module, gives: bool) -> Result<(), Problem> {
    if !matches!(write.caller.role, Some(Role::Owner | Role::Administrator)) {
        return Err(Problem::forbidden("not_held"));
    }
    if gives && !of_caller(write)?.modules.contains(module) {
        return Err(Problem::forbidden("module_disabled"));
    }
    Ok(())
}

/// A role of the tenant's own.
///
/// # Errors
/// ERR-RES-404, also for another tenant's and for one that is deleted.
pub fn role(app: &App, tenant: TenantId, id: Uuid) -> Result<RoleAccess, Problem> {
    let role = app.access.memory.role(RoleId(id)).ok_or_else(Problem::not_found)?;
    if role.tenant == tenant { Ok(role) } else { Err(Problem::hidden()) }
}

/// What a member may do now.
pub struct MyAccess {
    pub member: MemberAccess,
    pub given: MemberGrants,
    pub effective: Effective,
    pub mode: AccessMode,
    /// Rises with every change of the rest.
    pub version: u64,
}

/// The caller's access in the tenant that the token, or `x-org`, is about.
///
/// # Errors
/// ERR-AUTH-403: no tenant is picked, or the token is no member's; ERR-SYS-503: this node can't know.
pub fn of_reader(read: &Read) -> Result<MyAccess, Problem> {
    let tenant = read.caller.tenant.ok_or_else(|| Problem::forbidden("wrong_org"))?;
    let access = read.app.access.current(false)?;
    let member = read.caller.person().and_then(|person| access.membership(tenant, person));
    let member = member.ok_or_else(|| Problem::forbidden("forbidden"))?;
    let of_person = of_member(access, member, read.now())?;
    let effective = of_person.effective.within(read.caller.limited.as_ref());
    Ok(MyAccess { effective, ..of_person })
}

fn of_member(access: &AccessMemory, member: MemberAccess, now: DateTime<Utc>) -> Result<MyAccess, Problem> {
    // The version first: what changes in between then has a later one.
    let version = access.version(member.tenant, member.membership, now);
    let given = access.grants(member.membership);
    let effective = Effective::of(member.role, &given, plan(access, member.tenant)?);
    let state = access.tenant(member.tenant);
    let mode = state.map_or(AccessMode::Blocked, |state| state.effective(member.kind, now));
    Ok(MyAccess { member, given, effective, mode, version })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<Permission> {
        texts.iter().map(|text| permission(text)).collect()
    }

    fn holds(effective: &Effective, text: &str) -> bool {
        effective.holds(&permission(text))
    }

    fn given(by_role: &[&str], alone: &[&str], may_grant: &[&str]) -> MemberGrants {
        MemberGrants {
            by_role: Arc::new(set(by_role)),
            permissions: set(alone),
            may_grant: set(may_grant),
            ..MemberGrants::default()
        }
    }

    #[test]
    fn every_action_of_an_endpoint_is_a_permission() {
        for endpoint in url_map().endpoints() {
            assert_eq!(permission(endpoint.action).as_str(), endpoint.action);
        }
    }

    #[test]
    fn owners_hold_everything_and_administrators_all_but_what_is_the_owners() {
        let nothing = MemberGrants::default();
        let owner = Effective::of(Role::Owner, &nothing, Plan::Enterprise);
        let administrator = Effective::of(Role::Administrator, &nothing, Plan::Enterprise);
        for text in ["users:invite", "finance.invoices:approve", "own_tenant:read", "finance.*"] {
            assert!(holds(&owner, text) && holds(&administrator, text), "{text}");
        }
        for text in [
            "own_tenant:change_plan",
            "sso:configure",
            "security.keys:read",
            "contract:read",
            "*:read",
            "*:*",
            "own_tenant:*",
            "*:change_plan",
        ] {
            assert!(holds(&owner, text), "an owner holds {text}");
            assert!(!holds(&administrator, text), "an administrator does not hold {text}");
            assert!(administrator.may_grant(&set(&[text])).is_err());
        }
        // Nor does one who was given it.
        let more = given(&["sso:configure"], &["own_tenant:change_plan"], &["*:*"]);
        let administrator = Effective::of(Role::Administrator, &more, Plan::Enterprise);
        assert!(!holds(&administrator, "sso:configure") && !holds(&administrator, "own_tenant:change_plan"));
    }

    #[test]
    fn others_hold_what_they_were_given_and_pass_on_what_their_delegation_names() {
        let user = given(&["finance.*"], &["users:read"], &["finance.invoices:*", "users:*"]);
        let user = Effective::of(Role::User, &user, Plan::Pro);
        assert!(holds(&user, "finance.books:read") && holds(&user, "users:read"));
        assert!(!holds(&user, "users:invite"), "what may be passed on has to be held first");
        for text in ["finance.invoices:approve", "users:read"] {
            assert!(user.may_grant(&set(&[text])).is_ok(), "{text}");
        }
        for text in ["finance.books:read", "users:invite", "users:*", "finance.*"] {
            let refused = user.may_grant(&set(&[text])).unwrap_err();
            assert_eq!(refused.detail, "not_held", "{text}");
        }
        assert!(user.may_grant(&set(&["users:read", "users:invite"])).is_err(), "all or none");
        let nobody = Effective::of(Role::User, &MemberGrants::default(), Plan::Pro);
        assert_eq!((nobody.permissions, nobody.delegation, nobody.modules), Default::default());
    }

    #[test]
    fn a_token_holds_what_its_permissions_and_its_person_share() {
        let limited = |texts: &[&str]| Limited {
            token: kernel::TokenId(Uuid::nil()),
            permissions: Arc::new(set(texts)),
            began_at: kernel::Position::ZERO,
            second_factor: false,
        };
        let owner = || Effective::of(Role::Owner, &MemberGrants::default(), Plan::Pro);
        let few = owner().within(Some(&limited(&["users:*", "webhooks:read"])));
        assert_eq!(few.permissions, set(&["users:*", "webhooks:read"]));
        assert!(holds(&few, "users:invite") && !holds(&few, "roles:create") && !holds(&few, "*:*"));
        assert!(few.may_grant(&set(&["users:read"])).is_ok());
        assert!(
            few.may_grant(&set(&["finance.books:read"])).is_err(),
            "an owner's token gives what it holds"
        );
        assert_eq!(few.modules, ["webhooks".parse().unwrap()].into());
        assert_eq!(owner().within(Some(&limited(&["*"]))), owner());
        assert_eq!(owner().within(None), owner());
        let user = given(&["finance.*"], &["users:read"], &["*"]);
        let user = Effective::of(Role::User, &user, Plan::Pro).within(Some(&limited(&["*:read"])));
        assert_eq!(user.permissions, set(&["finance.*:read", "users:read"]));
        assert!(!holds(&user, "finance.books:write"));
        // What is the owners' alone is not an administrator's by a token either.
        let administrator = Effective::of(Role::Administrator, &MemberGrants::default(), Plan::Pro);
        let administrator = administrator.within(Some(&limited(&["sso:*"])));
        assert!(!holds(&administrator, "sso:configure"));
    }

    #[test]
    fn nobody_holds_what_the_tenant_is_not_entitled_to() {
        let modules = ["webhooks", "api-access"].map(|module| module.parse().unwrap());
        let user = MemberGrants {
            modules: modules.into(),
            ..given(&["webhooks:create", "*:create"], &["webhooks.*"], &[])
        };
        let on_free = Effective::of(Role::User, &user, Plan::Free);
        assert_eq!(on_free.permissions, set(&["*:create"]));
        assert!(!holds(&on_free, "webhooks:create") && holds(&on_free, "things:create"));
        assert_eq!(on_free.modules, ["api-access".parse().unwrap()].into());
        let owner = Effective::of(Role::Owner, &user, Plan::Free);
        assert!(!holds(&owner, "webhooks:create") && holds(&owner, "*:create"));
        assert!(owner.except().contains(&permission("webhooks:*")));
        let withheld = set(&["webhooks:create"]);
        assert!(owner.may_grant(&withheld).is_err());
        assert!(owner.may_take(&withheld).is_ok(), "what was given on another plan can be taken");
        let on_pro = Effective::of(Role::User, &user, Plan::Pro);
        assert!(holds(&on_pro, "webhooks:create") && holds(&on_pro, "webhooks.hooks:read"));
        assert_eq!(on_pro.modules.len(), 2);
    }
}
