//! Personal access tokens, by given, when, then.

use kernel::RejectionKind::{Conflict, Rule};
use kernel::{PersonId, SessionId};
use schemas::values::{LoginMethod, PasswordChange, SessionEnd, UserStatus};

use super::*;
use crate::testing::{self, DAY, Given, at, id, value};
use crate::user::{User, UserCommand};

fn ann() -> PersonId {
    id(2).into()
}

fn token(number: u128) -> TokenId {
    id(0x700 + number).into()
}

fn p<T>(value: T) -> Personal<T> {
    Personal::new(ann(), value)
}

fn hash(of: char) -> SecretHash {
    of.to_string().repeat(64).parse().unwrap()
}

fn wish(number: u128, now: i64) -> IssueToken {
    IssueToken {
        token: token(number),
        tenant: id(1).into(),
        name: value("Nightly export"),
        permissions: [value("users:*")].into(),
        hash: hash('a'),
        second_factor: true,
        by: SessionId(id(0x500)),
        now: at(now),
        expires_at: at(now + 90 * DAY),
    }
}

fn issue(wish: IssueToken) -> UserCommand {
    UserCommand::IssueToken(Box::new(wish))
}

fn issued_in(tenant: u128, number: u128, now: i64) -> UserEvent {
    UserEvent::TokenIssued {
        token: token(number),
        tenant: id(tenant).into(),
        name: p(value("Nightly export")),
        permissions: [value("users:*")].into(),
        hash: hash('a'),
        second_factor: true,
        at: at(now),
        expires_at: at(now + 90 * DAY),
    }
}

fn issued(number: u128, now: i64) -> UserEvent {
    issued_in(1, number, now)
}

fn revoked(number: u128) -> UserEvent {
    UserEvent::TokenRevoked { token: token(number) }
}

fn password() -> UserEvent {
    UserEvent::PasswordChanged { hash: p(value("$argon2id$a")), because: PasswordChange::Changed }
}

fn session_began() -> UserEvent {
    UserEvent::LoginSucceeded {
        session: SessionId(id(0x500)),
        // Not one of those whose end is looked at.
        tenant: Some(id(9).into()),
        method: LoginMethod::Password,
        device: id(7),
        new_device: true,
        origin: None,
        token_hash: hash('1'),
        at: at(0),
        expires_at: at(400 * DAY),
        risk: vec![],
        challenge: None,
    }
}

/// A person who is signed in, and what happened since.
fn and_then(events: impl IntoIterator<Item = UserEvent>) -> Given<User> {
    let registered = UserEvent::Registered {
        person: ann(),
        email: p(value("ann@acme.example")),
        first_name: None,
        last_name: None,
        status: UserStatus::Active,
    };
    testing::given([registered, session_began()].into_iter().chain(events))
}

fn live(given: Given<User>) -> Vec<TokenId> {
    given.state().existing().unwrap().tokens.iter().map(|(id, _)| id).collect()
}

#[test]
fn a_token_is_issued_once_and_revoked_once() {
    and_then([]).when(issue(wish(1, 0))).then([issued(1, 0)]).and_again_nothing();
    and_then([issued(1, 0), issued(2, 0)])
        .when(UserCommand::RevokeToken { token: token(1) })
        .then([revoked(1)])
        .and_again_nothing();
    and_then([]).when(UserCommand::RevokeToken { token: token(1) }).then_nothing();
}

/// CC-DAT-001: a retry that comes after its outcome was forgotten brings no secret back that was given up.
#[test]
fn a_token_that_ended_does_not_come_back() {
    for end in [revoked(1), password()] {
        let ended = and_then([issued(1, 0), end]);
        ended.when(issue(wish(1, 10))).then_rejected(Conflict, "token_already_exists");
    }
    let expired = and_then([issued(1, 0), issued(2, 91 * DAY)]);
    expired.when(issue(wish(1, 91 * DAY))).then_rejected(Conflict, "token_already_exists");
    let other = IssueToken { hash: hash('b'), ..wish(1, 0) };
    and_then([issued(1, 0)]).when(issue(other)).then_rejected(Conflict, "token_already_exists");
}

#[test]
fn a_token_has_permissions_and_an_end_within_bounds() {
    let refused = |wish, detail| and_then([]).when(issue(wish)).then_rejected(Rule, detail);
    refused(IssueToken { permissions: [].into(), ..wish(1, 0) }, "permission_required");
    let many = (0..=TOKEN_PERMISSIONS_MAX).map(|n| value(&format!("things:do-{n}"))).collect();
    refused(IssueToken { permissions: many, ..wish(1, 0) }, "too_many_permissions");
    refused(IssueToken { expires_at: at(0), ..wish(1, 0) }, "expiry_in_the_past");
    let end = at(366 * DAY);
    refused(IssueToken { expires_at: end + TimeDelta::seconds(1), ..wish(1, 0) }, "expiry_too_late");
    let longest = UserEvent::TokenIssued {
        token: token(1),
        tenant: id(1).into(),
        name: p(value("Nightly export")),
        permissions: [value("users:*")].into(),
        hash: hash('a'),
        second_factor: true,
        at: at(0),
        expires_at: end,
    };
    and_then([]).when(issue(IssueToken { expires_at: end, ..wish(1, 0) })).then([longest]);
}

#[test]
fn a_person_has_so_many_tokens_and_expired_ones_do_not_count() {
    let full = || and_then((0..50).map(|number| issued(number, 0)));
    full().when(issue(wish(99, 10))).then_rejected(Rule, "too_many_tokens");
    full().when(issue(wish(99, 90 * DAY))).then([issued(99, 90 * DAY)]).and_again_nothing();
    assert_eq!(live(and_then([issued(1, 0), issued(2, 90 * DAY)])), [token(2)]);
}

/// FR-AUTH-004, FR-AUTH-005, FR-TENANT-006, CON-COMP-001
#[test]
fn whatever_ends_all_sessions_ends_all_tokens_and_the_end_of_one_session_none() {
    let ended = UserEvent::SessionsRevoked { because: SessionEnd::Logout };
    for end in [password(), ended, UserEvent::Disabled { reason: None }, UserEvent::SubjectForgotten {}] {
        assert_eq!(live(and_then([issued(1, 0), issued(2, 0), end])), []);
    }
    let session = SessionId(id(0x500));
    let one = UserEvent::SessionRevoked { session, because: SessionEnd::Logout };
    assert_eq!(live(and_then([session_began(), issued(1, 0), one])), [token(1)]);
}

#[test]
fn all_sessions_are_ended_also_of_whoever_has_tokens_only() {
    let because = SessionEnd::Revoked;
    and_then([issued(1, 0)])
        .when(UserCommand::EndSessions { because })
        .then([UserEvent::SessionsRevoked { because }])
        .and_again_nothing();
}

/// UC-TENANT-SESSION-REVOKE
#[test]
fn who_is_thrown_out_of_a_tenant_keeps_the_tokens_for_others() {
    let because = SessionEnd::Revoked;
    and_then([issued_in(1, 1, 0), issued_in(3, 2, 0)])
        .when(UserCommand::EndSessionsIn { tenant: id(1).into(), because })
        .then([revoked(1)])
        .and_again_nothing();
}

/// FR-AUTH-005: a wish that was on its way when its session ended does not outlive it.
#[test]
fn a_session_that_ended_issues_none() {
    let session = SessionId(id(0x500));
    for end in [
        UserEvent::SessionRevoked { session, because: SessionEnd::Logout },
        UserEvent::SessionsRevoked { because: SessionEnd::Revoked },
        password(),
    ] {
        and_then([end]).when(issue(wish(1, 0))).then_rejected(Rule, "session_expired");
    }
}

#[test]
fn a_disabled_person_is_issued_none() {
    let disabled = and_then([UserEvent::Disabled { reason: None }]);
    disabled.when(issue(wish(1, 0))).then_rejected(Rule, "user_disabled");
    let disabled = and_then([issued(1, 0), UserEvent::Disabled { reason: None }]);
    disabled.when(UserCommand::RevokeToken { token: token(1) }).then_nothing();
}
