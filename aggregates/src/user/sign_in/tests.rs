//! Signing in, by given, when, then.

use kernel::RejectionKind::{Conflict, Rule};
use schemas::values::UserStatus;

use totp_rs::{Algorithm, Builder};

use super::*;
use crate::testing::{self, DAY, Given, at, id, value};
use crate::user::{User, UserCommand};

const ARGON: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$";

pub(super) fn ann() -> PersonId {
    id(2).into()
}

pub(super) fn hash(of: &str) -> PasswordHash {
    format!("{ARGON}{of}").parse().unwrap()
}

pub(super) fn secret_hash(of: char) -> SecretHash {
    of.to_string().repeat(64).parse().unwrap()
}

pub(super) fn p<T>(value: T) -> Personal<T> {
    Personal::new(ann(), value)
}

pub(super) fn session(number: u128) -> SessionId {
    id(0x500 + number).into()
}

fn registered() -> UserEvent {
    UserEvent::Registered {
        person: ann(),
        email: p(value("ann@acme.example")),
        first_name: None,
        last_name: None,
        status: UserStatus::Invited,
    }
}

fn has_password(of: &str) -> UserEvent {
    UserEvent::PasswordChanged { hash: p(hash(of)), because: PasswordChange::Accepted }
}

fn with_password() -> Vec<UserEvent> {
    vec![registered(), has_password("a"), UserEvent::Activated {}]
}

fn given(events: impl IntoIterator<Item = UserEvent>) -> Given<User> {
    testing::given(events)
}

/// A person with a password, and what happened since.
pub(super) fn and_then(events: impl IntoIterator<Item = UserEvent>) -> Given<User> {
    given(with_password().into_iter().chain(events))
}

pub(super) fn log_in(number: u128, now: i64) -> LogIn {
    LogIn {
        session: session(number),
        tenant: None,
        checked: Checked::Password(hash("a")),
        second_factor: None,
        asks_if_unusual: true,
        device: id(7),
        origin: None,
        token_hash: secret_hash('1'),
        now: at(now),
        expires_at: at(now + 7 * DAY),
    }
}

fn logged_in(number: u128, now: i64, new_device: bool) -> UserEvent {
    UserEvent::LoginSucceeded {
        session: session(number),
        tenant: None,
        method: LoginMethod::Password,
        device: id(7),
        new_device,
        origin: None,
        token_hash: secret_hash('1'),
        at: at(now),
        expires_at: at(now + 7 * DAY),
        risk: vec![],
        challenge: None,
    }
}

pub(super) fn wish(login: LogIn) -> UserCommand {
    UserCommand::LogIn(Box::new(login))
}

fn refresh(presented: char, successor: char, now: i64) -> UserCommand {
    UserCommand::Refresh {
        session: session(1),
        presented: secret_hash(presented),
        successor: secret_hash(successor),
        now: at(now),
        expires_at: at(now + 7 * DAY),
    }
}

fn refreshed(to: char, now: i64) -> UserEvent {
    UserEvent::TokenRefreshed {
        session: session(1),
        token_hash: secret_hash(to),
        at: at(now),
        expires_at: at(now + 7 * DAY),
    }
}

fn secret() -> TotpSecret {
    "3132333435363738393031323334353637383930".parse().unwrap()
}

/// The code of the secret at a moment, made as an authenticator app makes it.
fn code(now: i64) -> String {
    let totp = Builder::new().with_algorithm(Algorithm::SHA1).with_secret(secret().bytes()).build().unwrap();
    totp.generate(u64::try_from(at(now).timestamp()).unwrap()).to_string()
}

fn step(now: i64) -> u64 {
    u64::try_from(at(now).timestamp()).unwrap() / TOTP_STEP_S
}

pub(super) fn enrolled(now: i64) -> UserEvent {
    UserEvent::MfaEnrolled {
        secret: p(secret()),
        step: step(now),
        recovery_codes: vec![secret_hash('d'), secret_hash('e')],
    }
}

fn enrol(code: String, now: i64) -> UserCommand {
    UserCommand::EnrolTotp {
        secret: secret(),
        code,
        recovery_codes: vec![secret_hash('d'), secret_hash('e')],
        by: session(1),
        now: at(now),
    }
}

/// RFC 6238, appendix B: the secret `12345678901234567890` at 59 s has the code 94287082; six digits are its last six.
#[test]
fn codes_are_those_of_the_standard() {
    let then = DateTime::from_timestamp(59, 0).unwrap();
    assert_eq!(step_of(&secret(), "287082", then), Some(1));
    assert_eq!(step_of(&secret(), "287083", then), None);
    for text in ["", "28708", "2870822", "28708a", "２８７０８２"] {
        assert_eq!(step_of(&secret(), text, then), None, "{text}");
    }
}

/// UC-TENANT-INVITE
#[test]
fn accepting_an_invitation_gives_a_first_password_and_proves_the_address() {
    let accept =
        |hash| UserCommand::AcceptInvitation { hash, first_name: Some(value("Ann")), last_name: None };
    let named = UserEvent::ProfileUpdated { first_name: Some(p(value("Ann"))), last_name: None };
    given([registered()])
        .when(accept(Some(hash("a"))))
        .then([has_password("a"), named.clone(), UserEvent::Activated {}])
        .and_again_nothing();
    given([registered()]).when(accept(None)).then_rejected(Rule, "invalid_credentials");
    // Whoever has a password keeps it, whatever else comes by mail.
    and_then([named.clone()]).when(accept(None)).then_nothing();
    and_then([named]).when(accept(Some(hash("b")))).then_rejected(Conflict, "password_already_set");
}

/// FR-AUTH-001
#[test]
fn a_verified_password_begins_a_session() {
    let after = and_then([]).when(wish(log_in(1, 0))).then([logged_in(1, 0, true)]).and_again_nothing().and();
    after.when(wish(log_in(2, 60))).then([logged_in(2, 60, false)]);
}

#[test]
fn a_password_that_was_changed_while_it_was_verified_signs_nobody_in() {
    and_then([has_password("b")]).when(wish(log_in(1, 0))).then_rejected(Rule, "invalid_credentials");
    given([registered()]).when(wish(log_in(1, 0))).then_rejected(Rule, "invalid_credentials");
}

#[test]
fn whoever_is_disabled_or_forgotten_neither_signs_in_nor_stays_in() {
    let disabled = UserEvent::Disabled { reason: None };
    let history = || and_then([logged_in(1, 0, true), disabled.clone()]);
    history().when(wish(log_in(2, 1))).then_rejected(Rule, "user_disabled");
    history().when(refresh('1', '2', 1)).then_rejected(Rule, "user_disabled");
    and_then([logged_in(1, 0, true), disabled, UserEvent::Enabled {}])
        .when(refresh('1', '2', 1))
        .then_rejected(Rule, "session_expired");
    let forgotten = and_then([logged_in(1, 0, true), enrolled(0), UserEvent::SubjectForgotten {}]).state();
    assert_eq!(forgotten.existing().unwrap().sign_in, SignIn::default());
}

/// FR-AUTH-005
#[test]
fn a_refresh_token_is_used_once_and_within_the_grace_gets_the_same_successor() {
    let history = || and_then([logged_in(1, 0, true)]);
    let after = history().when(refresh('1', '2', 900)).then([refreshed('2', 900)]).and_again_nothing().and();
    after.when(refresh('2', '3', 1_800)).then([refreshed('3', 1_800)]);
    let used = || and_then([logged_in(1, 0, true), refreshed('2', 900)]);
    used().when(refresh('1', '2', 910)).then_nothing();
    used().when(refresh('1', '2', 911)).then_rejected(Rule, "token_reused");
    // Another successor can't be its own.
    used().when(refresh('1', '9', 901)).then_rejected(Rule, "token_reused");
    and_then([logged_in(1, 0, true), refreshed('2', 900), refreshed('3', 901)])
        .when(refresh('1', '2', 902))
        .then_rejected(Rule, "token_reused");
}

#[test]
fn a_reused_token_ends_its_family_and_no_other() {
    let history = || and_then([logged_in(1, 0, true), logged_in(2, 0, false), refreshed('2', 900)]);
    let ended = UserEvent::RefreshReuseDetected { session: session(1) };
    let after = history()
        .when(UserCommand::ReportReuse { session: session(1) })
        .then([ended.clone()])
        .and_again_nothing()
        .and();
    after.when(refresh('2', '3', 901)).then_rejected(Rule, "session_expired");
    let left = and_then([logged_in(1, 0, true), logged_in(2, 0, false), ended]).state();
    let sessions = &left.existing().unwrap().sign_in.sessions;
    assert_eq!(sessions.keys().copied().collect::<Vec<_>>(), [session(2)]);
}

#[test]
fn a_session_that_was_not_refreshed_in_time_is_over() {
    and_then([logged_in(1, 0, true)]).when(refresh('1', '2', 7 * DAY)).then_rejected(Rule, "session_expired");
    and_then([logged_in(1, 0, true)])
        .when(refresh('1', '2', 7 * DAY - 1))
        .then([refreshed('2', 7 * DAY - 1)]);
}

/// UC-LOGOUT, UC-TENANT-SESSION-REVOKE
#[test]
fn one_session_or_all_of_them_end() {
    let history = || and_then([logged_in(1, 0, true), logged_in(2, 0, false)]);
    let because = SessionEnd::Logout;
    history()
        .when(UserCommand::EndSession { session: session(1), because })
        .then([UserEvent::SessionRevoked { session: session(1), because }])
        .and_again_nothing()
        .and()
        .when(refresh('1', '2', 1))
        .then_rejected(Rule, "session_expired");
    let because = SessionEnd::Administrator;
    history()
        .when(UserCommand::EndSessions { because })
        .then([UserEvent::SessionsRevoked { because }])
        .and_again_nothing();
}

/// UC-TENANT-SESSION-REVOKE: a tenant's administrator ends what reaches the tenant, and nothing else.
#[test]
fn the_sessions_that_reach_a_tenant_end() {
    let in_tenant = |number, of: Option<u128>| {
        let mut event = logged_in(number, 0, number == 1);
        let UserEvent::LoginSucceeded { tenant, .. } = &mut event else { unreachable!() };
        *tenant = of.map(|of| id(of).into());
        event
    };
    let because = SessionEnd::Administrator;
    and_then([in_tenant(1, Some(0xa)), in_tenant(2, Some(0xb)), in_tenant(3, None)])
        .when(UserCommand::EndSessionsIn { tenant: id(0xa).into(), because })
        .then([1, 3].map(|number| UserEvent::SessionRevoked { session: session(number), because }))
        .and_again_nothing();
}

#[test]
fn one_session_more_than_there_may_be_ends_the_one_used_longest_ago() {
    let many = (0..SESSIONS_MAX as u128).map(|number| logged_in(number, number as i64, number == 0));
    let because = SessionEnd::Replaced;
    and_then(many)
        .when(wish(log_in(900, 1_000)))
        .then([UserEvent::SessionRevoked { session: session(0), because }, logged_in(900, 1_000, false)])
        .and_again_nothing();
    // Expired ones are in nobody's way.
    let old = (0..SESSIONS_MAX as u128).map(|number| logged_in(number, 0, number == 0));
    let after = and_then(old).when(wish(log_in(900, 8 * DAY))).then([logged_in(900, 8 * DAY, false)]).and();
    assert_eq!(after.state().existing().unwrap().sign_in.sessions.len(), 1);
}

/// FR-AUTH-004
#[test]
fn a_change_of_password_wants_the_former_one_and_ends_all_sessions() {
    let changed = UserEvent::PasswordChanged { hash: p(hash("b")), because: PasswordChange::Changed };
    let change = |former: &str| UserCommand::ChangePassword { former: hash(former), hash: hash("b") };
    let after = and_then([logged_in(1, 0, true)]).when(change("a")).then([changed]).and_again_nothing().and();
    after.when(refresh('1', '2', 1)).then_rejected(Rule, "session_expired");
    and_then([]).when(change("x")).then_rejected(Rule, "invalid_credentials");
    given([registered()]).when(change("a")).then_rejected(Rule, "invalid_credentials");
}

/// FR-AUTH-004, UC-AUTH-RESET
#[test]
fn a_password_is_reset_by_one_of_the_last_links_once_before_it_expires() {
    let requested =
        |hash, until| UserEvent::PasswordResetRequested { token_hash: hash, expires_at: at(until) };
    let ask = |hash, until| UserCommand::RequestPasswordReset { token_hash: hash, expires_at: at(until) };
    let reset = |link, now| UserCommand::ResetPassword { token_hash: link, hash: hash("b"), now: at(now) };
    let changed = UserEvent::PasswordChanged { hash: p(hash("b")), because: PasswordChange::Reset };
    let (a, b) = (secret_hash('a'), secret_hash('b'));
    and_then([]).when(ask(a.clone(), 3600)).then([requested(a.clone(), 3600)]).and_again_nothing();
    let asked = || and_then([logged_in(1, 0, true), requested(a.clone(), 3600)]);
    let after = asked().when(reset(a.clone(), 3599)).then([changed.clone()]).and_again_nothing().and();
    after.when(refresh('1', '2', 1)).then_rejected(Rule, "session_expired");
    asked().when(reset(a.clone(), 3600)).then_rejected(Rule, "link_expired");
    asked().when(reset(b.clone(), 0)).then_rejected(Rule, "link_invalid");
    // A link that was used is void, and so are all that were asked for before the change.
    let again = |link| UserCommand::ResetPassword { token_hash: link, hash: hash("c"), now: at(1) };
    let both = || [requested(a.clone(), 3600), requested(b.clone(), 3600)];
    for link in [&a, &b] {
        let after = and_then(both()).when(reset(link.clone(), 1)).then([changed.clone()]).and();
        after.when(again(link.clone())).then_rejected(Rule, "link_invalid");
    }
    and_then(both().into_iter().chain([changed.clone()])).when(again(b)).then_rejected(Rule, "link_invalid");
    // Of many only the last are good, so that there is an end to it.
    let many = || "0123456789".chars().map(|of| requested(secret_hash(of), 3600));
    and_then(many()).when(reset(secret_hash('4'), 1)).then_rejected(Rule, "link_invalid");
    and_then(many()).when(reset(secret_hash('5'), 1)).then([changed]);
}

#[test]
fn a_reset_gives_an_invited_person_a_password_and_proves_the_address() {
    let requested = UserEvent::PasswordResetRequested { token_hash: secret_hash('a'), expires_at: at(3600) };
    let reset = UserCommand::ResetPassword { token_hash: secret_hash('a'), hash: hash("b"), now: at(0) };
    let changed = UserEvent::PasswordChanged { hash: p(hash("b")), because: PasswordChange::Reset };
    given([registered(), requested]).when(reset).then([changed, UserEvent::Activated {}]).and_again_nothing();
}

#[test]
fn a_stronger_hash_of_the_same_password_ends_nothing() {
    let rehash = |former: &str| UserCommand::Rehash { former: hash(former), hash: hash("b") };
    and_then([logged_in(1, 0, true)])
        .when(rehash("a"))
        .then([UserEvent::PasswordRehashed { hash: p(hash("b")) }])
        .and_again_nothing()
        .and()
        .when(refresh('1', '2', 1))
        .then([refreshed('2', 1)]);
    and_then([]).when(rehash("x")).then_rejected(Rule, "invalid_credentials");
}

/// NFR-SEC-003
#[test]
fn a_second_factor_is_enrolled_by_its_first_code_and_asked_for_from_then_on() {
    let signed_in = || and_then([logged_in(1, 0, true)]);
    signed_in().when(enrol(code(0), 0)).then([enrolled(0)]).and_again_nothing();
    signed_in().when(enrol("000000".to_owned(), 0)).then_rejected(Rule, "mfa_wrong");
    // A wish that was on its way when its session ended does not outlive it.
    and_then([]).when(enrol(code(0), 0)).then_rejected(Rule, "session_expired");
    and_then([enrolled(0)]).when(wish(log_in(1, 60))).then_rejected(Rule, "mfa_required");
    let other = UserCommand::EnrolTotp {
        secret: "00".repeat(20).parse().unwrap(),
        code: code(0),
        recovery_codes: vec![],
        by: session(1),
        now: at(0),
    };
    and_then([enrolled(0)]).when(other).then_rejected(Conflict, "mfa_already_set");
    and_then([enrolled(0)])
        .when(UserCommand::RemoveMfa)
        .then([UserEvent::MfaRemoved {}])
        .and_again_nothing()
        .and()
        .when(wish(log_in(1, 60)))
        .then([logged_in(1, 60, true)]);
}

/// Whoever else has the password may have issued a token.
#[test]
fn a_second_factor_that_is_new_ends_all_tokens() {
    let token = id(0x701).into();
    let issued = UserEvent::TokenIssued {
        token,
        tenant: id(1).into(),
        name: p(value("Export")),
        permissions: [value("users:*")].into(),
        hash: secret_hash('a'),
        second_factor: false,
        at: at(0),
        expires_at: at(DAY),
    };
    and_then([logged_in(1, 0, true), issued])
        .when(enrol(code(0), 0))
        .then([enrolled(0), UserEvent::TokenRevoked { token }])
        .and_again_nothing();
}

/// RFC 6238 §5.2: a code is accepted once.
#[test]
fn a_code_signs_in_once_and_no_older_one_after_it() {
    let with = |number, code: String, now| {
        wish(LogIn { second_factor: Some(SecondFactor::Totp(code)), ..log_in(number, now) })
    };
    let verified = |now| UserEvent::MfaVerified { step: Some(step(now)), recovery_code: None };
    // The code it was enrolled with is used up.
    and_then([enrolled(0)]).when(with(1, code(0), 1)).then_rejected(Rule, "mfa_wrong");
    let after = and_then([enrolled(0)])
        .when(with(1, code(90), 90))
        .then([verified(90), logged_in(1, 90, true)])
        .and_again_nothing()
        .and();
    after.when(with(2, code(90), 91)).then_rejected(Rule, "mfa_wrong");
    let used = || and_then([enrolled(0), verified(90), logged_in(1, 90, true)]);
    used().when(with(2, code(60), 91)).then_rejected(Rule, "mfa_wrong");
    used().when(with(2, code(120), 91)).then([verified(120), logged_in(2, 91, false)]);
    used().when(with(2, code(300), 91)).then_rejected(Rule, "mfa_wrong");
}

#[test]
fn a_recovery_code_signs_in_once() {
    let with = |number, hash| {
        wish(LogIn { second_factor: Some(SecondFactor::RecoveryCode(hash)), ..log_in(number, 60) })
    };
    let verified = UserEvent::MfaVerified { step: None, recovery_code: Some(secret_hash('d')) };
    let after = and_then([enrolled(0)])
        .when(with(1, secret_hash('d')))
        .then([verified, logged_in(1, 60, true)])
        .and_again_nothing()
        .and();
    after.when(with(2, secret_hash('d'))).then_rejected(Rule, "mfa_wrong");
    let replaced = UserEvent::RecoveryCodesReplaced { recovery_codes: vec![secret_hash('f')] };
    let replace = UserCommand::ReplaceRecoveryCodes { recovery_codes: vec![secret_hash('f')] };
    and_then([enrolled(0)]).when(replace.clone()).then([replaced.clone()]).and_again_nothing();
    and_then([enrolled(0), replaced]).when(with(1, secret_hash('d'))).then_rejected(Rule, "mfa_wrong");
    and_then([]).when(replace).then_rejected(Rule, "mfa_not_set");
}

/// A session that the password alone began, perhaps in a stranger's hands, does not outlive the second factor's enrolment.
#[test]
fn a_second_factor_ends_the_sessions_that_were_begun_without_it() {
    let because = SessionEnd::SecondFactor;
    and_then([logged_in(1, 0, true), logged_in(2, 0, false)])
        .when(enrol(code(0), 0))
        .then([enrolled(0), UserEvent::SessionRevoked { session: session(2), because }])
        .and_again_nothing();
}

#[test]
fn what_cannot_be_verified_is_no_second_factor() {
    let shown = LogIn { second_factor: Some(SecondFactor::Totp(code(60))), ..log_in(1, 60) };
    and_then([]).when(wish(shown)).then_rejected(Rule, "mfa_wrong");
}

/// Whoever had the former password, or reads the former mailbox, is trusted nowhere any more.
#[test]
fn a_reset_and_another_address_forget_the_devices_and_the_links() {
    let reset = UserEvent::PasswordChanged { hash: p(hash("b")), because: PasswordChange::Reset };
    let moved = UserEvent::EmailChanged { email: p(value("anna@acme.example")) };
    let asked = UserEvent::PasswordResetRequested { token_hash: secret_hash('a'), expires_at: at(3600) };
    for event in [reset, moved] {
        let left = and_then([logged_in(1, 0, true), asked.clone(), event]).state();
        let sign_in = &left.existing().unwrap().sign_in;
        assert_eq!((sign_in.devices.len(), sign_in.resets.len()), (0, 0));
    }
}
