//! A person, by given, when, then.

use kernel::RejectionKind::{Conflict, NotFound, Rule};

use super::*;
use crate::testing::{self, Given, at, id, value};

fn given(events: impl IntoIterator<Item = UserEvent>) -> Given<User> {
    testing::given(events)
}

fn ann() -> PersonId {
    id(2).into()
}

fn p<T>(value: T) -> Personal<T> {
    Personal::new(ann(), value)
}

fn register(email: &str, first_name: Option<&str>, verified: bool) -> UserCommand {
    UserCommand::Register {
        person: ann(),
        email: value(email),
        first_name: first_name.map(value),
        last_name: None,
        verified,
    }
}

fn registered(status: UserStatus) -> UserEvent {
    UserEvent::Registered {
        person: ann(),
        email: p(value("ann@acme.example")),
        first_name: Some(p(value("Ann"))),
        last_name: None,
        status,
    }
}

fn renamed() -> UserEvent {
    UserEvent::ProfileUpdated { first_name: Some(p(value("Anna"))), last_name: None }
}

fn moved() -> UserEvent {
    UserEvent::EmailChanged { email: p(value("anna@acme.example")) }
}

#[test]
fn a_person_is_registered_as_invited_or_with_a_verified_address_as_active() {
    for (verified, status) in [(false, UserStatus::Invited), (true, UserStatus::Active)] {
        let after = given([])
            .when(register("ann@acme.example", Some("Ann"), verified))
            .then([registered(status)])
            .and_again_nothing()
            .and();
        assert_eq!(after.state().existing().unwrap().status(), status);
    }
}

/// CC-DAT-001
#[test]
fn who_is_known_by_the_address_is_registered_already() {
    let history = || given([registered(UserStatus::Invited), renamed(), moved()]);
    history().when(register("ann@acme.example", Some("Ann"), false)).then_nothing();
    history().when(register("anna@acme.example", Some("Anna"), false)).then_nothing();
    history().when(register("anna@acme.example", None, false)).then_nothing();
    history().when(register("ben@acme.example", None, false)).then_rejected(Conflict, "already_exists");
    history()
        .when(register("anna@acme.example", Some("Ben"), false))
        .then_rejected(Conflict, "already_exists");
}

#[test]
fn nothing_can_be_wished_of_a_person_who_is_not_there() {
    for command in [
        UserCommand::UpdateProfile { first_name: None, last_name: None },
        UserCommand::ChangeEmail { email: value("ann@acme.example") },
        UserCommand::Activate,
        UserCommand::Disable { reason: None },
        UserCommand::Enable,
    ] {
        given([]).when(command).then_rejected(NotFound, "not_found");
    }
}

#[test]
fn a_profile_update_tells_only_what_changed() {
    given([registered(UserStatus::Active)])
        .when(UserCommand::UpdateProfile { first_name: Some(value("Anna")), last_name: None })
        .then([renamed()])
        .and_again_nothing()
        .and()
        .when(UserCommand::UpdateProfile { first_name: Some(value("Anna")), last_name: Some(value("Sato")) })
        .then([UserEvent::ProfileUpdated { first_name: None, last_name: Some(p(value("Sato"))) }])
        .and_again_nothing();
}

#[test]
fn an_address_is_changed_and_its_claim_goes_along() {
    given([registered(UserStatus::Active)])
        .when(UserCommand::ChangeEmail { email: value("Anna@ACME.example") })
        .then([moved()])
        .and_again_nothing();

    let claim = |email: &str| Claim::new(EMAIL_CLAIM, email);
    let first = User::default().claims(&registered(UserStatus::Active));
    assert_eq!(first, [ClaimChange::Take(claim("ann@acme.example"))]);
    let swapped = given([registered(UserStatus::Active)]).state().claims(&moved());
    assert_eq!(
        swapped,
        [ClaimChange::Free(claim("ann@acme.example")), ClaimChange::Take(claim("anna@acme.example"))]
    );
    assert_eq!(given([registered(UserStatus::Active)]).state().claims(&renamed()), []);
}

/// FR-TENANT-006
#[test]
fn a_person_is_disabled_and_enabled_and_is_then_what_they_were() {
    let reason = || Some(p(value("left")));
    for (before, status) in [
        (vec![registered(UserStatus::Invited)], UserStatus::Invited),
        (vec![registered(UserStatus::Invited), UserEvent::Activated {}], UserStatus::Active),
    ] {
        let disabled = given(before)
            .when(UserCommand::Disable { reason: Some(value("left")) })
            .then([UserEvent::Disabled { reason: reason() }])
            .and_again_nothing()
            .and()
            .state();
        assert_eq!(disabled.existing().unwrap().status(), UserStatus::Disabled);
        let mut enabled = disabled;
        assert_eq!(enabled.decide(UserCommand::Enable), Ok(vec![UserEvent::Enabled {}]));
        enabled.evolve(&UserEvent::Enabled {});
        assert_eq!(enabled.existing().unwrap().status(), status);
        assert_eq!(enabled.decide(UserCommand::Enable), Ok(vec![]));
    }
}

/// CON-COMP-001
#[test]
fn a_forgotten_person_is_not_there_any_more_and_gives_the_address_back() {
    let after = given([registered(UserStatus::Active), renamed()])
        .when(UserCommand::Forget)
        .then([UserEvent::SubjectForgotten {}])
        .and_again_nothing()
        .and();
    let state = after.state();
    let user = state.existing().unwrap();
    assert_eq!(
        (user.email.reveal(), user.first_name.as_ref(), user.status()),
        (None, None, UserStatus::Disabled)
    );
    let text = serde_json::to_string(&state).unwrap();
    assert!(!text.contains("ann") && !text.contains("Ann"), "{text}");
    for command in [
        UserCommand::ChangeEmail { email: value("ann@acme.example") },
        UserCommand::Activate,
        UserCommand::Enable,
    ] {
        given([registered(UserStatus::Active), UserEvent::SubjectForgotten {}])
            .when(command)
            .then_rejected(NotFound, "not_found");
    }
    given([registered(UserStatus::Active), UserEvent::SubjectForgotten {}])
        .when(register("ann@acme.example", Some("Ann"), true))
        .then_rejected(Conflict, "already_exists");
    let mut user = User::default();
    user.evolve(&registered(UserStatus::Active));
    let freed = Claim::new(EMAIL_CLAIM, "ann@acme.example");
    assert_eq!(user.claims(&UserEvent::SubjectForgotten {}), [ClaimChange::Free(freed)]);
    given([]).when(UserCommand::Forget).then_rejected(NotFound, "not_found");
}

#[test]
fn an_invited_person_is_activated_but_not_while_disabled() {
    given([registered(UserStatus::Invited)])
        .when(UserCommand::Activate)
        .then([UserEvent::Activated {}])
        .and_again_nothing();
    given([registered(UserStatus::Invited), UserEvent::Disabled { reason: None }])
        .when(UserCommand::Activate)
        .then_rejected(Rule, "user_disabled");
}

/// `If-Match` on a profile: see [`UserEvent::alters_profile`].
#[test]
fn a_person_s_revision_moves_with_what_is_shown_of_them_and_with_nothing_else() {
    let revision = |events: Vec<UserEvent>| given(events).state().revision(None);
    let reset = UserEvent::PasswordResetRequested { token_hash: value(&"00".repeat(32)), expires_at: at(1) };
    let used = |recovery_code| UserEvent::MfaVerified { step: None, recovery_code };
    assert_eq!(revision(vec![]), Some(0));
    let mut history = vec![registered(UserStatus::Invited)];
    assert_eq!(revision(history.clone()), Some(1));
    history.extend([reset, UserEvent::SessionsRevoked { because: SessionEnd::Logout }, used(None)]);
    assert_eq!(revision(history.clone()), Some(1));
    history.extend([renamed(), moved(), UserEvent::Activated {}, used(Some(value(&"11".repeat(32))))]);
    assert_eq!(revision(history.clone()), Some(5));
    history.extend([UserEvent::RecoveryCodesReplaced { recovery_codes: vec![] }, UserEvent::MfaRemoved {}]);
    assert_eq!(revision(history), Some(7));
}
