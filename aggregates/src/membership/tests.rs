use kernel::RejectionKind::{Conflict, NotFound, Rule};

use super::*;
use crate::testing::{self, DAY, Given, at, id, value};

fn given(events: impl IntoIterator<Item = MembershipEvent>) -> Given<Membership> {
    testing::given(events)
}

fn hash(digit: &str) -> Option<SecretHash> {
    Some(value(&digit.repeat(64)))
}

fn invite(
    role: Role,
    expires_at: Option<DateTime<Utc>>,
    link: &str,
    now: DateTime<Utc>,
) -> MembershipCommand {
    MembershipCommand::Invite {
        tenant: id(1).into(),
        person: id(2).into(),
        role,
        kind: MembershipKind::Staff,
        expires_at,
        token_hash: hash(link),
        now,
    }
}

fn invited_until(expires_at: DateTime<Utc>, link: &str) -> MembershipEvent {
    MembershipEvent::Invited {
        tenant: id(1).into(),
        person: id(2).into(),
        role: Role::User,
        kind: MembershipKind::Staff,
        expires_at,
        token_hash: hash(link),
    }
}

fn invited() -> MembershipEvent {
    invited_until(at(7 * DAY), "a")
}

fn accept(link: &str, now: DateTime<Utc>) -> MembershipCommand {
    MembershipCommand::Accept { token_hash: hash(link), now }
}

#[test]
fn a_person_belongs_to_a_tenant_once_by_construction() {
    let of = |tenant: u128, person: u128| id_of(id(tenant).into(), id(person).into());
    assert_eq!(of(1, 2), of(1, 2));
    assert_ne!(of(1, 2), of(2, 1));
    assert_ne!(of(1, 2), of(1, 3));
    // The storage format: an id that changed would lose every membership there is.
    assert_eq!(of(1, 2).to_string(), "9e3ba48c-1d27-5b67-a18f-20b17b28a866");
}

/// FR-TENANT-001
#[test]
fn an_invitation_stands_for_seven_days_unless_its_sender_says_otherwise() {
    given([]).when(invite(Role::User, None, "a", at(0))).then([invited()]).and_again_nothing();
    given([])
        .when(invite(Role::User, Some(at(DAY)), "a", at(0)))
        .then([invited_until(at(DAY), "a")])
        .and_again_nothing();
    given([]).when(invite(Role::User, Some(at(0)), "a", at(0))).then_rejected(Rule, "expiry_in_the_past");
}

/// FR-TENANT-001, CC-DAT-001
#[test]
fn who_is_invited_is_invited_again_only_once_the_invitation_has_expired() {
    given([invited()]).when(invite(Role::User, None, "a", at(DAY))).then_nothing();
    // Its link stays, whichever would have been made now.
    given([invited()]).when(invite(Role::User, None, "b", at(DAY))).then_nothing();
    given([invited()])
        .when(invite(Role::Owner, None, "a", at(DAY)))
        .then_rejected(Conflict, "already_exists");
    given([invited(), MembershipEvent::Accepted {}])
        .when(invite(Role::User, None, "a", at(9 * DAY)))
        .then_rejected(Conflict, "already_exists");
    given([invited()])
        .when(invite(Role::User, None, "b", at(7 * DAY)))
        .then([invited_until(at(14 * DAY), "b")])
        .and_again_nothing();
}

#[test]
fn who_was_removed_can_be_invited_again() {
    let after = given([invited(), MembershipEvent::Accepted {}, MembershipEvent::Removed {}])
        .when(invite(Role::User, None, "b", at(DAY)))
        .then([invited_until(at(8 * DAY), "b")])
        .and_again_nothing()
        .and();
    assert_eq!(after.state().existing().unwrap().status(), MembershipStatus::Invited);
}

#[test]
fn a_membership_has_only_roles_of_a_tenant() {
    for &role in Role::ALL.iter().filter(|role| !role.is_tenant()) {
        given([]).when(invite(role, None, "a", at(0))).then_rejected(Rule, "tenant_role_required");
        given([invited()])
            .when(MembershipCommand::ChangeRole { role })
            .then_rejected(Rule, "tenant_role_required");
    }
}

/// FR-TENANT-007
#[test]
fn resending_voids_the_former_link() {
    let resend = MembershipCommand::Resend { expires_at: None, token_hash: hash("b"), now: at(DAY) };
    let resent = MembershipEvent::Resent { expires_at: at(8 * DAY), token_hash: hash("b") };
    given([invited()]).when(resend.clone()).then([resent.clone()]).and_again_nothing();
    given([invited(), resent.clone()]).when(accept("a", at(DAY))).then_rejected(Rule, "invitation_invalid");
    given([invited(), resent]).when(accept("b", at(7 * DAY))).then([MembershipEvent::Accepted {}]);
    given([invited(), MembershipEvent::Accepted {}])
        .when(resend.clone())
        .then_rejected(Conflict, "already_accepted");
    given([invited(), MembershipEvent::Disabled {}]).when(resend).then_rejected(Rule, "membership_disabled");
}

#[test]
fn an_invitation_is_accepted_with_its_link_before_it_expires() {
    given([invited()])
        .when(accept("a", at(7 * DAY - 1)))
        .then([MembershipEvent::Accepted {}])
        .and_again_nothing();
    given([invited()]).when(accept("a", at(7 * DAY))).then_rejected(Rule, "invitation_expired");
    given([invited()]).when(accept("b", at(0))).then_rejected(Rule, "invitation_invalid");
    given([invited()])
        .when(MembershipCommand::Accept { token_hash: None, now: at(0) })
        .then_rejected(Rule, "invitation_invalid");
    given([invited(), MembershipEvent::Disabled {}])
        .when(accept("a", at(0)))
        .then_rejected(Rule, "membership_disabled");
    // Accepted in time, asked again when it has expired: it is so already.
    given([invited(), MembershipEvent::Accepted {}]).when(accept("a", at(9 * DAY))).then_nothing();
}

/// FR-TENANT-004
#[test]
fn role_and_kind_change() {
    given([invited()])
        .when(MembershipCommand::ChangeRole { role: Role::Administrator })
        .then([MembershipEvent::RoleChanged { from: Role::User, to: Role::Administrator }])
        .and_again_nothing()
        .and()
        .when(MembershipCommand::ChangeKind { kind: MembershipKind::Client })
        .then([MembershipEvent::KindChanged { from: MembershipKind::Staff, to: MembershipKind::Client }])
        .and_again_nothing();
}

/// FR-TENANT-006
#[test]
fn a_member_is_disabled_and_enabled_and_is_then_what_they_were() {
    for (accepted, status) in [(false, MembershipStatus::Invited), (true, MembershipStatus::Active)] {
        let events = [invited()].into_iter().chain(accepted.then_some(MembershipEvent::Accepted {}));
        let after = given(events)
            .when(MembershipCommand::Disable)
            .then([MembershipEvent::Disabled {}])
            .and_again_nothing()
            .and()
            .when(MembershipCommand::Enable)
            .then([MembershipEvent::Enabled {}])
            .and_again_nothing()
            .and();
        assert_eq!(after.state().existing().unwrap().status(), status);
    }
}

/// FR-TENANT-002
#[test]
fn a_member_is_removed_and_then_not_there_for_anything_else() {
    let removed = || given([invited(), MembershipEvent::Removed {}]);
    given([invited()])
        .when(MembershipCommand::Remove)
        .then([MembershipEvent::Removed {}])
        .and_again_nothing();
    for command in every_command_but_invite_and_remove() {
        removed().when(command).then_rejected(NotFound, "not_found");
    }
}

#[test]
fn nothing_can_be_wished_of_a_membership_that_is_not_there() {
    for command in every_command_but_invite_and_remove().into_iter().chain([MembershipCommand::Remove]) {
        given([]).when(command).then_rejected(NotFound, "not_found");
    }
}

fn every_command_but_invite_and_remove() -> Vec<MembershipCommand> {
    vec![
        MembershipCommand::Resend { expires_at: None, token_hash: None, now: at(0) },
        accept("a", at(0)),
        MembershipCommand::ChangeRole { role: Role::Owner },
        MembershipCommand::ChangeKind { kind: MembershipKind::Client },
        MembershipCommand::Disable,
        MembershipCommand::Enable,
        MembershipCommand::Grant(Grant::CustomRole { role: None }),
    ]
}

fn permission(held: bool) -> MembershipCommand {
    MembershipCommand::Grant(Grant::Permission { permission: value("finance.*"), held })
}

fn module(held: bool) -> MembershipCommand {
    MembershipCommand::Grant(Grant::Module { module: value("webhooks"), held })
}

fn delegation(may_grant: std::collections::BTreeSet<schemas::values::Permission>) -> MembershipCommand {
    MembershipCommand::Grant(Grant::Delegation { may_grant })
}

#[test]
fn a_member_is_given_things_beside_the_role_and_they_are_taken_away_again() {
    let granted = || MembershipEvent::PermissionGranted { permission: value("finance.*") };
    let revoked = MembershipEvent::PermissionRevoked { permission: value("finance.*") };
    given([invited()]).when(permission(true)).then([granted()]).and_again_nothing();
    given([invited(), granted()]).when(permission(false)).then([revoked]).and_again_nothing();
    given([invited()]).when(permission(false)).then_nothing();

    let granted = || MembershipEvent::ModuleGranted { module: value("webhooks") };
    let revoked = MembershipEvent::ModuleRevoked { module: value("webhooks") };
    given([invited()]).when(module(true)).then([granted()]).and_again_nothing();
    given([invited(), granted()]).when(module(false)).then([revoked]).and_again_nothing();

    let set = |role: Option<u128>| MembershipEvent::CustomRoleSet { role: role.map(|role| id(role).into()) };
    let wish = |role: Option<u128>| {
        MembershipCommand::Grant(Grant::CustomRole { role: role.map(|role| id(role).into()) })
    };
    given([invited()]).when(wish(Some(7))).then([set(Some(7))]).and_again_nothing();
    given([invited(), set(Some(7))]).when(wish(Some(8))).then([set(Some(8))]).and_again_nothing();
    given([invited(), set(Some(7))]).when(wish(None)).then([set(None)]).and_again_nothing();

    let may_grant = || [value("finance.*"), value("users:read")].into();
    let changed = || MembershipEvent::DelegationChanged { may_grant: may_grant() };
    given([invited()]).when(delegation(may_grant())).then([changed()]).and_again_nothing();
    let none = MembershipEvent::DelegationChanged { may_grant: [].into() };
    given([invited(), changed()]).when(delegation([].into())).then([none]).and_again_nothing();
}

#[test]
fn who_is_invited_again_begins_without_what_they_were_given() {
    let granted = MembershipEvent::PermissionGranted { permission: value("finance.*") };
    let role = MembershipEvent::CustomRoleSet { role: Some(id(7).into()) };
    let again = given([invited(), granted, role, MembershipEvent::Removed {}, invited()]).state();
    assert_eq!(again.existing().unwrap().grants, Grants::default());
}

#[test]
fn a_member_is_given_a_bounded_number_of_things() {
    let many = |count: usize| (0..count).map(|n| value(&format!("things:do-{n}"))).collect();
    let one = |permission| MembershipEvent::PermissionGranted { permission };
    let full: std::collections::BTreeSet<schemas::values::Permission> = many(GRANTS_MAX);
    given([invited()].into_iter().chain(full.into_iter().map(one)))
        .when(permission(true))
        .then_rejected(Rule, "too_many_grants");
    given([invited()]).when(delegation(many(GRANTS_MAX + 1))).then_rejected(Rule, "too_many_grants");
    let changed = MembershipEvent::DelegationChanged { may_grant: many(GRANTS_MAX) };
    given([invited()]).when(delegation(many(GRANTS_MAX))).then([changed]).and_again_nothing();
}
