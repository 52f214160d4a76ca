//! Passkeys, by given, when, then.

use chrono::TimeDelta;
use kernel::Decider;
use kernel::RejectionKind::{Conflict, NotFound, Rule};
use schemas::values::{LoginMethod, PasswordChange, SessionEnd, TotpSecret, UserStatus};

use super::*;
use crate::testing::{self, DAY, Given, at, id, value};
use crate::user::{Checked, LogIn, SecondFactor, User, UserCommand};

fn ann() -> PersonId {
    id(2).into()
}

fn p<T>(value: T) -> Personal<T> {
    Personal::new(ann(), value)
}

fn secret_hash(of: char) -> SecretHash {
    of.to_string().repeat(64).parse().unwrap()
}

fn session(number: u128) -> SessionId {
    id(0x500 + number).into()
}

fn passkey(number: u128) -> PasskeyId {
    id(0x700 + number).into()
}

fn credential(number: u128) -> CredentialId {
    value(&format!("credential-{number}"))
}

fn record(number: u128) -> CredentialRecord {
    value(&format!(r#"{{"key":{number}}}"#))
}

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$a";

/// A person with a password, and what happened since.
fn and_then(events: impl IntoIterator<Item = UserEvent>) -> Given<User> {
    let registered = UserEvent::Registered {
        person: ann(),
        email: p(value("ann@acme.example")),
        first_name: None,
        last_name: None,
        status: UserStatus::Active,
    };
    let password = UserEvent::PasswordChanged { hash: p(value(HASH)), because: PasswordChange::Accepted };
    testing::given([registered, password].into_iter().chain(events))
}

fn added(number: u128, counter: u32) -> UserEvent {
    UserEvent::PasskeyAdded {
        passkey: passkey(number),
        name: p(value("Ann's phone")),
        credential: p(credential(number)),
        record: p(record(number)),
        counter,
        at: at(0),
    }
}

fn add(number: u128) -> UserCommand {
    let wish = NewPasskey {
        passkey: passkey(number),
        name: value("Ann's phone"),
        credential: credential(number),
        record: record(number),
        counter: 0,
        recovery_codes: vec![],
        by: session(1),
        now: at(0),
    };
    UserCommand::Passkey(PasskeyCommand::Add(Box::new(wish)))
}

fn remove(number: u128) -> UserCommand {
    UserCommand::Passkey(PasskeyCommand::Remove { passkey: passkey(number) })
}

fn removed(number: u128) -> UserEvent {
    UserEvent::PasskeyRemoved { passkey: passkey(number) }
}

fn assertion(number: u128, counter: u32, challenge: char) -> Assertion {
    Assertion {
        passkey: passkey(number),
        checked: record(number),
        counter,
        challenge: secret_hash(challenge),
        challenge_expires_at: at(300),
    }
}

fn used(number: u128, counter: u32, challenge: char, now: i64) -> UserEvent {
    UserEvent::PasskeyUsed {
        passkey: passkey(number),
        counter,
        challenge: secret_hash(challenge),
        challenge_expires_at: at(300),
        at: at(now),
    }
}

fn wish(number: u128, checked: Checked, second_factor: Option<SecondFactor>, now: i64) -> UserCommand {
    UserCommand::LogIn(Box::new(LogIn {
        session: session(number),
        tenant: None,
        checked,
        second_factor,
        asks_if_unusual: true,
        device: id(7),
        origin: None,
        token_hash: secret_hash('1'),
        now: at(now),
        expires_at: at(now + 7 * DAY),
    }))
}

fn alone(number: u128, shown: Assertion, now: i64) -> UserCommand {
    wish(number, Checked::Passkey(shown), None, now)
}

fn after_password(number: u128, second_factor: Option<SecondFactor>, now: i64) -> UserCommand {
    wish(number, Checked::Password(value(HASH)), second_factor, now)
}

fn logged_in(number: u128, method: LoginMethod, now: i64) -> UserEvent {
    UserEvent::LoginSucceeded {
        session: session(number),
        tenant: None,
        method,
        device: id(7),
        new_device: true,
        origin: None,
        token_hash: secret_hash('1'),
        at: at(now),
        expires_at: at(now + 7 * DAY),
        risk: vec![],
        challenge: None,
    }
}

fn enrolled() -> UserEvent {
    let secret: TotpSecret = value("3132333435363738393031323334353637383930");
    UserEvent::MfaEnrolled { secret: p(secret), step: 1, recovery_codes: vec![secret_hash('d')] }
}

/// NFR-SEC-003
#[test]
fn a_passkey_is_added_once_and_the_first_ends_the_sessions_that_were_begun_without_it() {
    let sessions = || [1, 2].map(|number| logged_in(number, LoginMethod::Password, 0));
    let ended = UserEvent::SessionRevoked { session: session(2), because: SessionEnd::SecondFactor };
    and_then(sessions()).when(add(1)).then([added(1, 0), ended]).and_again_nothing();
    // Whoever had a second factor showed it in each.
    for factor in [added(2, 0), enrolled()] {
        and_then(sessions().into_iter().chain([factor])).when(add(1)).then([added(1, 0)]);
    }
}

/// An authenticator gets lost: whoever has nothing else gets recovery codes with it.
#[test]
fn the_first_passkey_comes_with_recovery_codes_and_further_ones_leave_them_as_they_are() {
    let with_codes = |number, of| match add(number) {
        UserCommand::Passkey(PasskeyCommand::Add(wish)) => {
            let wish = NewPasskey { recovery_codes: vec![secret_hash(of)], ..*wish };
            UserCommand::Passkey(PasskeyCommand::Add(Box::new(wish)))
        }
        _ => unreachable!("it adds"),
    };
    let codes = UserEvent::RecoveryCodesReplaced { recovery_codes: vec![secret_hash('a')] };
    let session = logged_in(1, LoginMethod::Password, 0);
    let after = and_then([session]).when(with_codes(1, 'a')).then([added(1, 0), codes]).and();
    after.when(with_codes(2, 'b')).then([added(2, 0)]);
}

/// FR-AUTH-005: a wish that was on its way when its session ended does not outlive it.
#[test]
fn a_session_that_ended_adds_no_passkey() {
    let ended = UserEvent::SessionsRevoked { because: SessionEnd::Revoked };
    let since = and_then([logged_in(1, LoginMethod::Password, 0), ended]);
    since.when(add(1)).then_rejected(Rule, "session_expired");
}

/// NFR-SEC-003
#[test]
fn whoever_lost_their_second_factors_is_rid_of_all_of_them_and_signs_in_anew() {
    let ended = UserEvent::SessionsRevoked { because: SessionEnd::SecondFactor };
    and_then([added(1, 0), enrolled()])
        .when(UserCommand::ResetSecondFactors)
        .then([UserEvent::MfaRemoved {}, removed(1), ended])
        .and_again_nothing()
        .and()
        .when(after_password(2, None, 10))
        .then([logged_in(2, LoginMethod::Password, 10)]);
}

#[test]
fn a_credential_is_no_second_passkey_and_there_are_ten_at_most() {
    let NewPasskey { name, credential, record, counter, by, now, .. } = match add(1) {
        UserCommand::Passkey(PasskeyCommand::Add(wish)) => *wish,
        _ => unreachable!("it adds"),
    };
    let twin = NewPasskey {
        passkey: passkey(2),
        name,
        credential,
        record,
        counter,
        recovery_codes: vec![],
        by,
        now,
    };
    let twin = UserCommand::Passkey(PasskeyCommand::Add(Box::new(twin)));
    and_then([added(1, 0)]).when(twin).then_rejected(Conflict, "mfa_already_set");
    let ten = || (1..=10).map(|number| added(number, 0));
    and_then(ten()).when(add(11)).then_rejected(Rule, "too_many_passkeys");
    let with_room = ten().chain([removed(3), logged_in(1, LoginMethod::Password, 0)]);
    and_then(with_room).when(add(11)).then([added(11, 0)]);
}

/// A credential is one person's in the whole deployment, for as long as it is anybody's.
#[test]
fn a_passkeys_credential_is_claimed_until_it_is_removed_or_its_person_forgotten() {
    let claim = |number| Claim::new(CREDENTIAL_CLAIM, credential(number).as_str());
    let state = and_then([added(1, 0), added(2, 0)]).state();
    assert_eq!(state.claims(&added(3, 0)), [ClaimChange::Take(claim(3))]);
    assert_eq!(state.claims(&removed(1)), [ClaimChange::Free(claim(1))]);
    let freed = state.claims(&UserEvent::SubjectForgotten {});
    assert!(freed.contains(&ClaimChange::Free(claim(1))) && freed.contains(&ClaimChange::Free(claim(2))));
    assert_eq!(freed.len(), 3, "and the address");
}

/// FR-AUTH-001, NFR-SEC-003
#[test]
fn a_passkey_signs_in_alone_and_each_challenge_once() {
    let after = and_then([added(1, 0)])
        .when(alone(1, assertion(1, 0, 'a'), 10))
        .then([used(1, 0, 'a', 10), logged_in(1, LoginMethod::Passkey, 10)])
        .and_again_nothing()
        .and();
    after.when(alone(2, assertion(1, 0, 'a'), 11)).then_rejected(Rule, "invalid_credentials");
    let known = || and_then([added(1, 0), used(1, 0, 'a', 10)]);
    known()
        .when(alone(2, assertion(1, 0, 'b'), 11))
        .then([used(1, 0, 'b', 11), logged_in(2, LoginMethod::Passkey, 11)]);
    known().when(alone(2, assertion(1, 0, 'b'), 300)).then_rejected(Rule, "invalid_credentials");
    // What was answered is remembered for as long as its ticket is good, and no longer.
    let late = UserEvent::PasskeyUsed {
        passkey: passkey(1),
        counter: 0,
        challenge: secret_hash('c'),
        challenge_expires_at: at(600),
        at: at(301),
    };
    let state = and_then([added(1, 0), used(1, 0, 'a', 10), late]).state();
    assert_eq!(state.existing().unwrap().sign_in.passkeys.answered.len(), 1);
}

#[test]
fn so_many_answers_are_remembered_and_then_none_is_taken_until_some_are_too_old() {
    let many = || {
        (0..ANSWERED_MAX).map(|number| UserEvent::PasskeyUsed {
            passkey: passkey(1),
            counter: 0,
            challenge: format!("{number:064}").parse().unwrap(),
            challenge_expires_at: at(300),
            at: at(1),
        })
    };
    let known = || and_then([added(1, 0)].into_iter().chain(many()));
    known().when(alone(1, assertion(1, 0, 'a'), 2)).then_rejected(Rule, "invalid_credentials");
    let later = Assertion { challenge_expires_at: at(0) + TimeDelta::seconds(500), ..assertion(1, 0, 'a') };
    let events = known().when(alone(1, later, 301));
    events.then([
        UserEvent::PasskeyUsed {
            passkey: passkey(1),
            counter: 0,
            challenge: secret_hash('a'),
            challenge_expires_at: at(500),
            at: at(301),
        },
        logged_in(1, LoginMethod::Passkey, 301),
    ]);
}

/// WebAuthn Level 3, §6.1.1
#[test]
fn a_counter_that_does_not_go_on_is_a_copys() {
    let with = |counter| alone(1, assertion(1, counter, 'a'), 10);
    for counter in [0, 6, 7] {
        and_then([added(1, 7)]).when(with(counter)).then_rejected(Rule, "invalid_credentials");
    }
    and_then([added(1, 7)]).when(with(8)).then([used(1, 8, 'a', 10), logged_in(1, LoginMethod::Passkey, 10)]);
    let since = || and_then([added(1, 7), used(1, 9, 'b', 5)]);
    since().when(with(8)).then_rejected(Rule, "invalid_credentials");
    // One that didn't count may begin to.
    and_then([added(1, 0)]).when(with(1)).then([used(1, 1, 'a', 10), logged_in(1, LoginMethod::Passkey, 10)]);
}

#[test]
fn a_passkey_that_is_gone_or_another_by_now_proves_nothing() {
    let shown = || alone(1, assertion(1, 0, 'a'), 10);
    and_then([]).when(shown()).then_rejected(Rule, "invalid_credentials");
    and_then([added(1, 0), removed(1)]).when(shown()).then_rejected(Rule, "invalid_credentials");
    let other = Assertion { checked: record(2), ..assertion(1, 0, 'a') };
    and_then([added(1, 0)]).when(alone(1, other, 10)).then_rejected(Rule, "invalid_credentials");
    let disabled = UserEvent::Disabled { reason: None };
    and_then([added(1, 0), disabled]).when(shown()).then_rejected(Rule, "user_disabled");
    let forgotten = || and_then([added(1, 0), UserEvent::SubjectForgotten {}]);
    forgotten().when(shown()).then_rejected(NotFound, "not_found");
    assert!(forgotten().state().existing().unwrap().sign_in.passkeys.is_empty());
}

/// NFR-SEC-003
#[test]
fn whoever_has_a_passkey_needs_it_after_the_password() {
    let known = || and_then([added(1, 0)]);
    known().when(after_password(1, None, 10)).then_rejected(Rule, "mfa_required");
    let shown = |challenge| Some(SecondFactor::Passkey(assertion(1, 0, challenge)));
    let after = known()
        .when(after_password(1, shown('a'), 10))
        .then([used(1, 0, 'a', 10), logged_in(1, LoginMethod::Password, 10)])
        .and_again_nothing()
        .and();
    after.when(after_password(2, shown('a'), 11)).then_rejected(Rule, "mfa_wrong");
    let wrong = Some(SecondFactor::Totp("000000".to_owned()));
    known().when(after_password(1, wrong, 10)).then_rejected(Rule, "mfa_wrong");
    and_then([]).when(after_password(1, shown('a'), 10)).then_rejected(Rule, "mfa_wrong");
    // Either of two will do.
    and_then([enrolled(), added(1, 0)])
        .when(after_password(1, shown('a'), 10))
        .then([used(1, 0, 'a', 10), logged_in(1, LoginMethod::Password, 10)]);
    and_then([added(1, 0), removed(1)]).when(after_password(1, None, 10)).then([logged_in(
        1,
        LoginMethod::Password,
        10,
    )]);
}

#[test]
fn recovery_codes_stand_in_for_a_passkey_and_go_with_the_last_second_factor() {
    let codes = vec![secret_hash('e')];
    let replaced = || UserEvent::RecoveryCodesReplaced { recovery_codes: codes.clone() };
    let replace = UserCommand::ReplaceRecoveryCodes { recovery_codes: codes.clone() };
    and_then([added(1, 0)]).when(replace).then([replaced()]).and_again_nothing();
    let with = || after_password(1, Some(SecondFactor::RecoveryCode(secret_hash('e'))), 10);
    let verified = UserEvent::MfaVerified { step: None, recovery_code: Some(secret_hash('e')) };
    and_then([added(1, 0), replaced()])
        .when(with())
        .then([verified, logged_in(1, LoginMethod::Password, 10)]);
    let left =
        |events: Vec<UserEvent>| and_then(events).state().existing().unwrap().sign_in.recovery_codes.len();
    assert_eq!(left(vec![enrolled(), added(1, 0), UserEvent::MfaRemoved {}]), 1);
    assert_eq!(left(vec![enrolled(), added(1, 0), removed(1)]), 1);
    assert_eq!(left(vec![enrolled(), added(1, 0), UserEvent::MfaRemoved {}, removed(1)]), 0);
}

#[test]
fn a_passkey_is_removed_once() {
    and_then([added(1, 0)]).when(remove(1)).then([removed(1)]).and_again_nothing();
    and_then([]).when(remove(1)).then_nothing();
    and_then([added(1, 0)]).when(add(1)).then_nothing();
}

/// A new password is no reason to distrust what was never told to anybody.
#[test]
fn a_reset_of_the_password_leaves_passkeys_as_they_are() {
    let reset = UserEvent::PasswordChanged { hash: p(value("$2b$10$c")), because: PasswordChange::Reset };
    and_then([added(1, 0), reset])
        .when(alone(1, assertion(1, 0, 'a'), 10))
        .then([used(1, 0, 'a', 10), logged_in(1, LoginMethod::Passkey, 10)]);
}
