use kernel::RejectionKind::{Conflict, NotFound, Rule};

use super::*;
use crate::testing::{self, Given, id, value};

fn given(events: impl IntoIterator<Item = RoleEvent>) -> Given<Role> {
    testing::given(events)
}

fn tenant() -> TenantId {
    id(1).into()
}

fn permissions(texts: &[&str]) -> BTreeSet<Permission> {
    texts.iter().map(|text| value(text)).collect()
}

fn create(name: &str, of: &[&str]) -> RoleCommand {
    RoleCommand::Create {
        role: id(7).into(),
        tenant: tenant(),
        name: value(name),
        description: Some(value("Keeps the books")),
        permissions: permissions(of),
    }
}

fn created(name: &str, of: &[&str]) -> RoleEvent {
    RoleEvent::Created {
        role: id(7).into(),
        tenant: tenant(),
        name: Confidential::new(tenant(), value(name)),
        description: Some(Confidential::new(tenant(), value("Keeps the books"))),
        permissions: permissions(of),
    }
}

fn bookkeepers() -> RoleEvent {
    created("Bookkeepers", &["finance.*"])
}

fn rename(name: &str) -> RoleCommand {
    RoleCommand::Update { name: Some(value(name)), description: None }
}

fn renamed(name: &str) -> RoleEvent {
    RoleEvent::Updated { name: Some(Confidential::new(tenant(), value(name))), description: None }
}

fn set(of: &[&str]) -> RoleCommand {
    RoleCommand::SetPermissions { permissions: permissions(of) }
}

fn many(count: usize) -> BTreeSet<Permission> {
    (0..count).map(|n| value(&format!("things:do-{n}"))).collect()
}

#[test]
fn a_role_is_created_once() {
    given([]).when(create("Bookkeepers", &["finance.*"])).then([bookkeepers()]).and_again_nothing();
    given([bookkeepers()])
        .when(create("Bookkeepers", &["users:read"]))
        .then_rejected(Conflict, "already_exists");
    // A late retry is the same wish, whatever became of the role.
    given([bookkeepers(), renamed("Accountants"), RoleEvent::Deleted {}])
        .when(create("Bookkeepers", &["finance.*"]))
        .then_nothing();
}

#[test]
fn a_role_changes_its_name_its_description_and_its_permissions() {
    given([bookkeepers()]).when(rename("Accountants")).then([renamed("Accountants")]).and_again_nothing();
    given([bookkeepers()]).when(rename("Bookkeepers")).then_nothing();
    let of = |texts| RoleEvent::PermissionsSet { permissions: permissions(texts) };
    given([bookkeepers()])
        .when(set(&["users:read", "*:read"]))
        .then([of(&["*:read", "users:read"])])
        .and_again_nothing();
    given([bookkeepers()]).when(set(&[])).then([of(&[])]).and_again_nothing();
    for command in [rename("A"), set(&["a:b"])] {
        given([]).when(command.clone()).then_rejected(NotFound, "not_found");
        given([bookkeepers(), RoleEvent::Deleted {}]).when(command).then_rejected(NotFound, "not_found");
    }
}

#[test]
fn a_role_that_is_deleted_stays_deleted() {
    given([bookkeepers()]).when(RoleCommand::Delete).then([RoleEvent::Deleted {}]).and_again_nothing();
    given([]).when(RoleCommand::Delete).then_rejected(NotFound, "not_found");
}

#[test]
fn a_role_has_a_bounded_number_of_permissions() {
    let with = |count| RoleCommand::SetPermissions { permissions: many(count) };
    given([bookkeepers()])
        .when(with(PERMISSIONS_MAX))
        .then([RoleEvent::PermissionsSet { permissions: many(PERMISSIONS_MAX) }])
        .and_again_nothing();
    given([bookkeepers()]).when(with(PERMISSIONS_MAX + 1)).then_rejected(Rule, "too_many_permissions");
    let RoleCommand::Create { role, tenant, name, description, .. } = create("A", &[]) else {
        unreachable!("it is a creation")
    };
    let permissions = many(PERMISSIONS_MAX + 1);
    given([])
        .when(RoleCommand::Create { role, tenant, name, description, permissions })
        .then_rejected(Rule, "too_many_permissions");
}

#[test]
fn a_name_is_claimed_in_its_tenant_without_regard_to_case() {
    let claim = |name: &str| Claim::new(NAME_CLAIM, format!("{}/{name}", tenant()));
    let take = |name: &str| ClaimChange::Take(claim(name));
    let free = |name: &str| ClaimChange::Free(claim(name));
    assert_eq!(Role::default().claims(&bookkeepers()), [take("bookkeepers")]);
    let role = given([bookkeepers()]).state();
    assert_eq!(role.claims(&renamed("Accountants")), [free("bookkeepers"), take("accountants")]);
    assert_eq!(role.claims(&renamed("BOOKKEEPERS")), []);
    assert_eq!(role.claims(&RoleEvent::Deleted {}), [free("bookkeepers")]);
    assert_eq!(role.claims(&RoleEvent::PermissionsSet { permissions: permissions(&["a:b"]) }), []);
}
