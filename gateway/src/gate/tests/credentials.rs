//! Credentials that are neither sessions nor keys: personal access tokens, and tokens of services.

use chrono::TimeDelta;
use kernel::{ActorKind, Clock, Confidential, Personal, SessionId, TokenId};
use schemas::events::{MembershipEvent, TenantEvent, UserEvent};
use schemas::values::{MembershipKind, PasswordChange, Role, SessionEnd};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{map, only, told};
use crate::personal_token::PersonalToken;
use crate::services::Services;
use crate::services::tests::{Pair, claims, file, header, pair, signed};
use crate::signing::SigningAlgorithm;
use crate::testing::{Ask, House, OTHER, PERSON, TENANT};

const TOKEN: TokenId = TokenId(Uuid::from_u128(0xf1));
const REFUSED: (u16, &str, &str) = (401, "ERR-AUTH-401", "invalid_token");
const ENDED: (u16, &str, &str) = (401, "ERR-AUTH-440", "session_expired");

/// A token of the house's person for a day, as the journal tells of it.
fn issue(house: &House, id: TokenId, permissions: &[&str]) -> PersonalToken {
    let token = PersonalToken::new(id, &[7; 32]);
    let at = house.clock.now();
    let issued = UserEvent::TokenIssued {
        token: id,
        tenant: TENANT,
        name: Personal::new(PERSON, "script".parse().unwrap()),
        permissions: permissions.iter().map(|text| text.parse().unwrap()).collect(),
        hash: token.hash(),
        second_factor: false,
        at,
        expires_at: at + TimeDelta::days(1),
    };
    house.happened("user", PERSON.0, &issued);
    token
}

async fn with_owner() -> House {
    let house = House::new().await;
    house.tenant(TENANT).await;
    house.tenant(OTHER).await;
    house.member(Role::Owner, MembershipKind::Staff);
    house
}

#[tokio::test]
async fn a_personal_token_is_its_person_within_its_permissions_and_its_tenant() {
    let house = with_owner().await;
    let router = house.router(map());
    let token = issue(&house, TOKEN, &["own:look", "own:sensitive"]).reveal().to_string();
    let ask = |method: &str, path: &str| Ask::new(&router, method, path).bearer(&token);
    assert_eq!(ask("GET", "/own").send().await.status, 200);
    let entry = only(house.audit.take());
    let actor = (entry.metadata.actor.kind, entry.metadata.actor.id.clone(), entry.metadata.role.as_str());
    assert_eq!(actor, (ActorKind::User, PERSON.to_string(), "owner"));
    assert_eq!(entry.metadata.scopes, ["own:look", "own:sensitive"]);
    assert_eq!(entry.metadata.tenant, Some(TENANT));

    let forbidden = (403, "ERR-AUTH-403", "forbidden");
    assert_eq!(ask("POST", "/own").send().await.problem(), forbidden);
    assert_eq!(ask("GET", "/everything").send().await.problem(), forbidden);
    assert_eq!(ask("DELETE", "/api/v1/users/me/sessions").send().await.problem(), forbidden);
    // It is covered, and wants somebody who has just signed in, which no token has.
    let fresh = (401, "ERR-AUTH-401", "fresh_authentication_required");
    assert_eq!(ask("POST", "/own/sensitive").send().await.problem(), fresh);
    let elsewhere = ask("GET", "/own").header("x-org", &OTHER.to_string()).send().await;
    assert_eq!(elsewhere.problem(), (403, "ERR-AUTH-403", "wrong_org"));
}

/// CON-SEC-009
#[tokio::test]
async fn an_unknown_a_wrong_a_revoked_and_an_expired_token_are_told_alike() {
    let house = with_owner().await;
    let router = house.router(map());
    let good = issue(&house, TOKEN, &["*"]).reveal().to_string();
    let revoked = TokenId(Uuid::from_u128(0xf2));
    let void = issue(&house, revoked, &["*"]).reveal().to_string();
    let ask = |token: &str| Ask::new(&router, "GET", "/own").bearer(token).send();
    assert_eq!(ask(&good).await.status, 200);
    assert_eq!(ask(&void).await.status, 200);
    house.happened("user", PERSON.0, &UserEvent::TokenRevoked { token: revoked });
    let wrong = PersonalToken::new(TOKEN, &[8; 32]).reveal().to_string();
    let unknown = PersonalToken::new(TokenId(OTHER.0), &[7; 32]).reveal().to_string();
    let mut told = Vec::new();
    for token in [&void, &wrong, &unknown, &"tp_x".to_owned(), &good.to_uppercase()] {
        told.push(ask(token).await);
    }
    house.clock.advance(TimeDelta::days(1));
    told.push(ask(&good).await);
    for answer in &told {
        assert_eq!(answer.problem(), REFUSED);
        let names = |answer: &crate::testing::Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(answer), names(&told[0]));
    }
    house.audit.take();
    // Whoever is refused so is nobody we know.
    house.app.audit.flush().await;
    assert!(house.audit.take().iter().all(|entry| entry.metadata.actor.kind == ActorKind::Anonymous));
    house.clock.advance(TimeDelta::days(-1));
    assert_eq!(ask(&good).await.status, 200);
}

#[tokio::test]
async fn a_personal_token_ends_with_what_ends_sessions_and_does_not_come_back() {
    let house = with_owner().await;
    let router = house.router(map());
    let mut number = 0xf0;
    let mut fresh = || {
        number += 1;
        issue(&house, TokenId(Uuid::from_u128(number)), &["own:*"]).reveal().to_string()
    };
    let ask = |token: String| {
        let router = router.clone();
        async move { Ask::new(&router, "GET", "/own").bearer(&token).send().await }
    };
    let person = |event: UserEvent| house.happened("user", PERSON.0, &event);
    let because = SessionEnd::Logout;

    let token = fresh();
    person(UserEvent::SessionRevoked { session: SessionId(Uuid::from_u128(1)), because });
    assert_eq!(ask(token.clone()).await.status, 200, "the end of one session ends no token");
    person(UserEvent::SessionsRevoked { because });
    assert_eq!(ask(token).await.problem(), ENDED);

    let token = fresh();
    let hash = Personal::new(PERSON, "$argon2id$x".parse().unwrap());
    person(UserEvent::PasswordChanged { hash, because: PasswordChange::Changed });
    assert_eq!(ask(token).await.problem(), ENDED);

    let token = fresh();
    person(UserEvent::Disabled { reason: None });
    assert_eq!(ask(token.clone()).await.problem(), ENDED);
    person(UserEvent::Enabled {});
    assert_eq!(ask(token).await.problem(), ENDED);

    let token = fresh();
    house.membership(&MembershipEvent::RoleChanged { from: Role::Owner, to: Role::User });
    house.membership(&MembershipEvent::RoleChanged { from: Role::User, to: Role::Owner });
    assert_eq!(ask(token).await.problem(), ENDED);

    let token = fresh();
    let reason = Confidential::new(TENANT, "unpaid".parse().unwrap());
    house.happened("tenant", TENANT.0, &TenantEvent::Suspended { reason });
    assert_eq!(ask(token.clone()).await.problem(), ENDED);
    house.happened("tenant", TENANT.0, &TenantEvent::Reactivated { reason: None });
    assert_eq!(ask(token).await.problem(), ENDED);

    let token = fresh();
    assert_eq!(ask(token.clone()).await.status, 200);
    for event in [MembershipEvent::Disabled {}, MembershipEvent::Removed {}] {
        house.membership(&event);
        assert_eq!(ask(token.clone()).await.problem(), ENDED);
    }
}

/// NFR-SEC-003
#[tokio::test]
async fn a_personal_token_shows_the_second_factor_that_its_session_showed() {
    let house = with_owner().await;
    let router = house.router(map());
    let without = issue(&house, TOKEN, &["own:*"]).reveal().to_string();
    house.happened("tenant", TENANT.0, &TenantEvent::SecurityChanged { mfa_required: true });
    let answer = Ask::new(&router, "GET", "/own").bearer(&without).send().await;
    assert_eq!(answer.problem(), (401, "ERR-AUTH-461", "mfa_required"));
    let with = PersonalToken::new(TokenId(Uuid::from_u128(0xf2)), &[9; 32]);
    let at = house.clock.now();
    let issued = UserEvent::TokenIssued {
        token: with.id,
        tenant: TENANT,
        name: Personal::new(PERSON, "script".parse().unwrap()),
        permissions: ["own:*".parse().unwrap()].into(),
        hash: with.hash(),
        second_factor: true,
        at,
        expires_at: at + TimeDelta::days(1),
    };
    house.happened("user", PERSON.0, &issued);
    let asked = async || Ask::new(&router, "GET", "/own").bearer(&with.reveal()).send().await;
    let secret = "3132333435363738393031323334353637383930".parse().unwrap();
    let secret = Personal::new(PERSON, secret);
    house.happened("user", PERSON.0, &UserEvent::MfaEnrolled { secret, step: 1, recovery_codes: vec![] });
    assert_eq!(asked().await.status, 200);
    // It lives longer than sessions do: what was taken away since counts no more.
    house.happened("user", PERSON.0, &UserEvent::MfaRemoved {});
    assert_eq!(asked().await.problem(), (401, "ERR-AUTH-461", "mfa_required"));
}

#[tokio::test]
async fn a_node_that_cannot_know_believes_no_personal_token() {
    let house = House::without_access().await;
    let router = house.router(map());
    let token = PersonalToken::new(TOKEN, &[7; 32]).reveal();
    let answer = Ask::new(&router, "GET", "/own").bearer(&token).send().await;
    assert_eq!(answer.problem(), (503, "ERR-SYS-503", "access_unknown"));
}

async fn with_service(pair: &Pair) -> House {
    House::with_services(Services::parse(&file(&[&pair.public]), "http://127.0.0.1:8080").unwrap()).await
}

#[tokio::test]
async fn a_service_does_what_its_scopes_let_it_and_is_named_in_the_audit_trail() {
    let pair = pair(SigningAlgorithm::EdDsa, "k");
    let house = with_service(&pair).await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let token = signed(&pair, &header(&pair), &claims());
    let ask = |path: &str| Ask::new(&router, "GET", path).bearer(&token);
    assert_eq!(ask("/services").send().await.status, 200);
    let entry = only(house.audit.take());
    let actor = (entry.metadata.actor.kind, entry.metadata.actor.id.as_str(), entry.metadata.role.as_str());
    assert_eq!(actor, (ActorKind::System, "service:billing", "internal_service"));
    assert_eq!(entry.metadata.scopes, ["access:read"]);
    // Default deny: whatever names no service is for none, also in a tenant that it picks.
    for path in ["/own", "/everything", "/nobody", "/auth/me", "/api/operator/tenants"] {
        let forbidden = (403, "ERR-AUTH-403", "forbidden");
        assert_eq!(ask(path).send().await.problem(), forbidden, "{path}");
        let picked = ask(path).header("x-org", &TENANT.to_string()).send().await;
        assert_eq!(picked.problem(), forbidden, "{path}");
    }
    house.audit.take();
    let unknown = House::new().await;
    let router = unknown.router(map());
    let answer = Ask::new(&router, "GET", "/services").bearer(&token).send().await;
    assert_eq!(answer.problem(), REFUSED);

    let mut file: Value = serde_json::from_str(&file(&[&pair.public])).unwrap();
    file["services"][0]["scopes"] = json!(["flag:read"]);
    let house =
        House::with_services(Services::parse(&file.to_string(), "http://127.0.0.1:8080").unwrap()).await;
    let router = house.router(map());
    let answer = Ask::new(&router, "GET", "/services").bearer(&token).send().await;
    assert_eq!(answer.problem(), (403, "ERR-AUTH-403", "forbidden"));
    assert_eq!(told(&only(house.audit.take())).1, 403);
}

/// Neither token passes as the other, whoever signed it.
#[tokio::test]
async fn an_access_token_is_no_services_token_and_the_reverse() {
    let pair = pair(SigningAlgorithm::Rs256, "k");
    let house = with_service(&pair).await;
    let router = house.router(map());
    let ask = |path: &'static str, token: String| {
        let router = router.clone();
        async move { Ask::new(&router, "GET", path).bearer(&token).send().await }
    };
    // What a service can sign, in an access token's words. The house's own key is called `k` too.
    let now = house.clock.now().timestamp();
    let said = json!({
        "iss": "http://127.0.0.1:8080", "aud": "tenantry", "sub": "local:0", "exp": now + 60, "iat": now, "nbf": now,
        "sid": Uuid::nil(), "ver": 9, "role": "operator", "scopes": [], "auth_time": now, "jti": Uuid::nil(),
    });
    for typ in ["at+jwt", "JWT"] {
        let header = json!({"alg": "RS256", "typ": typ, "kid": "k"});
        assert_eq!(ask("/everything", signed(&pair, &header, &said)).await.problem(), REFUSED, "{typ}");
        let answer = ask("/services", signed(&pair, &header, &said)).await;
        assert_eq!(answer.problem(), REFUSED, "{typ}");
    }
    let access_header = json!({"alg": "RS256", "typ": "at+jwt", "kid": "k"});
    assert_eq!(ask("/services", signed(&pair, &access_header, &claims())).await.problem(), REFUSED);
    // An access token is what it is, and its type is signed.
    let operator = house.operator();
    assert_eq!(ask("/services", operator.clone()).await.problem(), (403, "ERR-AUTH-403", "forbidden"));
    let (_, rest) = operator.split_once('.').unwrap();
    let good = signed(&pair, &header(&pair), &claims());
    let (head, _) = good.split_once('.').unwrap();
    assert_eq!(ask("/services", format!("{head}.{rest}")).await.problem(), REFUSED);
}
