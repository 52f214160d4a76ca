use kernel::RejectionKind::{Conflict, NotFound, Rule};

use super::*;
use crate::testing::{self, DAY, Given, at, id, value};

fn given(events: impl IntoIterator<Item = ApplicationEvent>) -> Given<Application> {
    testing::given(events)
}

fn uris(count: usize) -> BTreeSet<RedirectUri> {
    (0..count).map(|number| value(&format!("https://app.example/{number}"))).collect()
}

fn register(name: &str, redirect_uris: BTreeSet<RedirectUri>) -> ApplicationCommand {
    ApplicationCommand::Register {
        application: id(1).into(),
        name: value(name),
        owner: value("team:portal"),
        environment: Environment::Production,
        redirect_uris,
    }
}

fn registered() -> ApplicationEvent {
    ApplicationEvent::Registered {
        application: id(1).into(),
        name: value("Portal"),
        owner: value("team:portal"),
        environment: Environment::Production,
        redirect_uris: uris(1),
    }
}

fn rename(name: &str) -> ApplicationCommand {
    ApplicationCommand::Update { name: Some(value(name)), owner: None, redirect_uris: None }
}

fn renamed(name: &str) -> ApplicationEvent {
    ApplicationEvent::Updated { name: Some(value(name)), owner: None, redirect_uris: None }
}

fn issue(key: u128, scopes: &[Scope], expires_at: Option<DateTime<Utc>>) -> ApplicationCommand {
    ApplicationCommand::IssueKey {
        key: id(key).into(),
        hash: value(&"a".repeat(64)),
        prefix: value("tk_a"),
        scopes: scopes.iter().copied().collect(),
        expires_at,
        now: at(0),
    }
}

fn issued(key: u128, expires_at: Option<DateTime<Utc>>) -> ApplicationEvent {
    ApplicationEvent::KeyIssued {
        key: id(key).into(),
        hash: value(&"a".repeat(64)),
        prefix: value("tk_a"),
        scopes: BTreeSet::from([Scope::FlagRead]),
        expires_at,
    }
}

/// FR-SYS-001
#[test]
fn an_application_is_registered_once() {
    given([]).when(register("Portal", uris(1))).then([registered()]).and_again_nothing();
    given([registered(), renamed("Desk")]).when(register("Portal", uris(1))).then_nothing();
    given([registered()]).when(register("Desk", uris(1))).then_rejected(Conflict, "already_exists");
}

/// FR-SYS-003
#[test]
fn an_update_tells_only_what_changed() {
    let command = ApplicationCommand::Update {
        name: Some(value("Desk")),
        owner: Some(value("team:portal")),
        redirect_uris: Some(uris(1)),
    };
    given([registered()]).when(command).then([renamed("Desk")]).and_again_nothing();
    let command = ApplicationCommand::Update {
        name: None,
        owner: Some(value("team:desk")),
        redirect_uris: Some(uris(2)),
    };
    let updated = ApplicationEvent::Updated {
        name: None,
        owner: Some(value("team:desk")),
        redirect_uris: Some(uris(2)),
    };
    given([registered()]).when(command).then([updated]).and_again_nothing();
}

#[test]
fn redirect_uris_are_bounded() {
    let too_many = || uris(REDIRECT_URIS_MAX + 1);
    given([]).when(register("Portal", too_many())).then_rejected(Rule, "too_many_redirect_uris");
    let command = ApplicationCommand::Update { name: None, owner: None, redirect_uris: Some(too_many()) };
    given([registered()]).when(command).then_rejected(Rule, "too_many_redirect_uris");
}

/// FR-SYS-003
#[test]
fn an_application_is_disabled_and_enabled() {
    let after = given([registered()])
        .when(ApplicationCommand::Disable)
        .then([ApplicationEvent::Disabled {}])
        .and_again_nothing()
        .and()
        .when(ApplicationCommand::Enable)
        .then([ApplicationEvent::Enabled {}])
        .and_again_nothing()
        .and();
    assert_eq!(after.state().existing().unwrap().status(), ApplicationStatus::Active);
    let disabled = given([registered(), ApplicationEvent::Disabled {}]).state();
    assert_eq!(disabled.existing().unwrap().status(), ApplicationStatus::Disabled);
}

/// FR-SYS-002
#[test]
fn a_key_is_issued_with_scopes_and_an_expiry_to_come() {
    given([registered()])
        .when(issue(7, &[Scope::FlagRead], None))
        .then([issued(7, None)])
        .and_again_nothing();
    given([registered()])
        .when(issue(7, &[Scope::FlagRead], Some(at(DAY))))
        .then([issued(7, Some(at(DAY)))])
        .and_again_nothing();
    given([registered()]).when(issue(7, &[], None)).then_rejected(Rule, "scope_required");
    given([registered()])
        .when(issue(7, &[Scope::FlagRead], Some(at(0))))
        .then_rejected(Rule, "expiry_in_the_past");
    given([registered(), issued(7, None)])
        .when(issue(7, &[Scope::BillWrite], None))
        .then_rejected(Conflict, "key_already_exists");
}

/// FR-SYS-003
#[test]
fn a_disabled_application_gets_no_keys_but_can_lose_them() {
    let disabled = || given([registered(), issued(7, None), ApplicationEvent::Disabled {}]);
    disabled().when(issue(8, &[Scope::FlagRead], None)).then_rejected(Rule, "application_disabled");
    disabled()
        .when(ApplicationCommand::RevokeKey { key: id(7).into() })
        .then([ApplicationEvent::KeyRevoked { key: id(7).into() }])
        .and_again_nothing();
}

/// FR-SYS-002
#[test]
fn what_is_revoked_stays_revoked() {
    let revoked = ApplicationEvent::KeyRevoked { key: id(7).into() };
    let after = given([registered(), issued(7, None), revoked])
        .when(issue(7, &[Scope::FlagRead], None))
        .then([])
        .and();
    assert!(after.state().existing().unwrap().keys[&KeyId(id(7))].revoked);
    given([registered()])
        .when(ApplicationCommand::RevokeKey { key: id(7).into() })
        .then_rejected(NotFound, "key_not_found");
}

fn rotate(key: u128, successor: u128, overlap_hours: u16) -> ApplicationCommand {
    ApplicationCommand::RotateKey {
        key: id(key).into(),
        successor: id(successor).into(),
        hash: value(&"a".repeat(64)),
        prefix: value("tk_a"),
        expires_at: None,
        overlap_hours,
        now: at(0),
    }
}

fn rotated(key: u128, successor: u128, expires_at: DateTime<Utc>) -> ApplicationEvent {
    ApplicationEvent::KeyRotated { key: id(key).into(), successor: id(successor).into(), expires_at }
}

/// FR-SYS-002
#[test]
fn a_rotated_key_goes_on_until_the_overlap_is_over() {
    let after = given([registered(), issued(7, None)])
        .when(rotate(7, 8, 24))
        .then([issued(8, None), rotated(7, 8, at(DAY))])
        .and_again_nothing()
        .and();
    let state = after.state();
    let keys = &state.existing().unwrap().keys;
    assert_eq!((keys[&KeyId(id(7))].expires_at, keys[&KeyId(id(8))].expires_at), (Some(at(DAY)), None));
    // Its own end comes first; an overlap never makes a key live longer.
    let soon = at(DAY) - TimeDelta::hours(1);
    given([registered(), issued(7, Some(soon))])
        .when(rotate(7, 8, 24))
        .then([issued(8, None), rotated(7, 8, soon)])
        .and_again_nothing();
    given([registered(), issued(7, None)])
        .when(rotate(7, 8, 0))
        .then([issued(8, None), rotated(7, 8, at(0))]);
}

/// FR-SYS-002
#[test]
fn only_a_live_key_has_a_successor() {
    let revoked = ApplicationEvent::KeyRevoked { key: id(7).into() };
    given([registered(), issued(7, None), revoked]).when(rotate(7, 8, 1)).then_rejected(Rule, "key_not_live");
    given([registered(), issued(7, Some(at(0)))]).when(rotate(7, 8, 1)).then_rejected(Rule, "key_not_live");
    given([registered()]).when(rotate(7, 8, 1)).then_rejected(NotFound, "key_not_found");
    let disabled = ApplicationEvent::Disabled {};
    given([registered(), issued(7, None), disabled])
        .when(rotate(7, 8, 1))
        .then_rejected(Rule, "application_disabled");
    given([registered(), issued(7, None)])
        .when(rotate(7, 8, OVERLAP_HOURS_MAX + 1))
        .then_rejected(Rule, "overlap_too_long");
    let full = (0..LIVE_KEYS_MAX as u128).map(|key| issued(key, None));
    given([registered()].into_iter().chain(full)).when(rotate(0, 99, 1)).then_rejected(Rule, "too_many_keys");
}

#[test]
fn only_live_keys_count_against_the_bound() {
    let live = || (0..LIVE_KEYS_MAX as u128).map(|key| issued(key, None));
    given([registered()].into_iter().chain(live()))
        .when(issue(99, &[Scope::FlagRead], None))
        .then_rejected(Rule, "too_many_keys");
    let revoked = ApplicationEvent::KeyRevoked { key: id(0).into() };
    given([registered()].into_iter().chain(live()).chain([revoked]))
        .when(issue(99, &[Scope::FlagRead], None))
        .then([issued(99, None)]);
    let expired = issued(0, Some(at(0)));
    given([registered()].into_iter().chain(live().skip(1)).chain([expired]))
        .when(issue(99, &[Scope::FlagRead], None))
        .then([issued(99, None)]);
}

#[test]
fn nothing_can_be_wished_of_an_application_that_is_not_there() {
    for command in [
        rename("Desk"),
        ApplicationCommand::Disable,
        ApplicationCommand::Enable,
        issue(7, &[Scope::FlagRead], None),
        ApplicationCommand::RevokeKey { key: id(7).into() },
        rotate(7, 8, 1),
    ] {
        given([]).when(command).then_rejected(NotFound, "not_found");
    }
}

#[test]
fn a_name_is_one_whatever_its_case() {
    let claim = |name: &str| Claim::new(NAME_CLAIM, name);
    assert_eq!(Application::default().claims(&registered()), [ClaimChange::Take(claim("portal"))]);
    let portal = given([registered()]).state();
    let swapped = [ClaimChange::Free(claim("portal")), ClaimChange::Take(claim("desk"))];
    assert_eq!(portal.claims(&renamed("Desk")), swapped);
    assert_eq!(portal.claims(&renamed("PORTAL")), []);
    given([registered()]).when(rename("PORTAL")).then([renamed("PORTAL")]).and_again_nothing();
}
