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
    // Its link stays, whichever would have been made now; but one without a link gets one.
    let mut without = invited();
    if let MembershipEvent::Invited { token_hash, .. } = &mut without {
        *token_hash = None;
    }
    given([without])
        .when(invite(Role::User, None, "b", at(DAY)))
        .then([MembershipEvent::Resent { expires_at: at(8 * DAY), token_hash: hash("b") }])
        .and_again_nothing();
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

/// FR-TENANT-001
#[test]
fn an_invitation_is_taken_back_until_it_is_accepted() {
    let revoke = || MembershipCommand::Revoke;
    let removed = || MembershipEvent::Removed {};
    given([invited()]).when(revoke()).then([removed()]).and_again_nothing();
    given([invited_until(at(-DAY), "a")]).when(revoke()).then([removed()]).and_again_nothing();
    given([invited(), MembershipEvent::Disabled {}]).when(revoke()).then([removed()]);
    for accepted in
        [vec![MembershipEvent::Accepted {}], vec![MembershipEvent::Accepted {}, MembershipEvent::Disabled {}]]
    {
        let history = [invited()].into_iter().chain(accepted);
        given(history).when(revoke()).then_rejected(Conflict, "already_accepted");
    }
    // Taken back, its link opens nothing, and the person can be invited again.
    let again = given([invited(), removed()]).when(invite(Role::User, None, "b", at(DAY)));
    again.then([invited_until(at(8 * DAY), "b")]);
    given([invited(), removed()]).when(accept("a", at(0))).then_rejected(NotFound, "not_found");
    given([invited(), MembershipEvent::Accepted {}, removed()]).when(revoke()).then_nothing();
    given([]).when(revoke()).then_rejected(NotFound, "not_found");
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
    ]
}
