//! Who gets in, and for how long.

use axum::Extension;
use axum::response::Response;
use chrono::TimeDelta;
use engine::audit::AuditOutcome;
use schemas::events::{ApplicationEvent, MembershipEvent, TenantEvent, UserEvent};
use schemas::values::{AccessMode, MembershipKind, Role, Scope};

use super::{OWNER, map, only, told};
use crate::endpoint::{Endpoint, TenantRule};
use crate::gate::Admitted;
use crate::testing::{APPLICATION, Ask, House, KEY, OTHER, PERSON, TENANT};
use crate::url_map::UrlMap;
use crate::view::audience::EVERYONE;
use crate::view::fields::body;

#[tokio::test]
async fn nobody_may_what_is_not_allowed_expressly() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let key = house.application(Scope::LogWrite, None);
    for (path, token) in [
        ("/own", house.operator()),
        ("/everything", house.member(Role::Owner, MembershipKind::Staff)),
        ("/nobody", house.operator()),
        ("/nobody", key.reveal().to_string()),
        ("/poll", house.operator()),
        ("/poll", key.reveal().to_string()),
    ] {
        let answer = Ask::new(&router, "GET", path).bearer(&token).send().await;
        assert_eq!(answer.problem(), (403, "ERR-AUTH-403", "forbidden"), "{path}");
        assert_eq!(told(&only(house.audit.take())).0, AuditOutcome::Denied);
    }
    // A machine's role can't be had by token, nor a tenant's without a tenant.
    for token in [house.token(Role::Application, None, "x"), house.token(Role::Owner, None, "x")] {
        let answer = Ask::new(&router, "GET", "/own").bearer(&token).send().await;
        assert_eq!(answer.problem(), (401, "ERR-AUTH-401", "invalid_token"));
    }
}

#[tokio::test]
async fn another_tenant_is_not_there() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    house.tenant(OTHER).await;
    let router = house.router(map());
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let limited = house.token(Role::Operator, Some(TENANT), "local:0");
    for token in [owner, limited] {
        let get = |tenant| Ask::new(&router, "GET", &format!("/tenants/{tenant}")).bearer(&token);
        assert_eq!(get(TENANT).send().await.status, 200);
        house.audit.take();
        assert_eq!(get(OTHER).send().await.problem(), (404, "ERR-RES-404", "not_found"));
        let entry = only(house.audit.take());
        assert_eq!(told(&entry), (AuditOutcome::Denied, 404, "ERR-RES-404", "not_found"));
        // It is the stranger's tenant that hears of it.
        assert_eq!(entry.metadata.tenant, Some(TENANT));
        assert_eq!(entry.fact.resource_id, Some(OTHER.to_string()));
    }
}

#[tokio::test]
async fn x_org_picks_a_tenant_but_no_other_one() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    house.tenant(OTHER).await;
    let router = house.router(map());
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let own = |org: &str| Ask::new(&router, "GET", "/own").bearer(&owner).header("x-org", org);
    assert_eq!(own(&TENANT.to_string()).send().await.status, 200);
    for wrong in [OTHER.to_string(), "x".to_owned(), String::new()] {
        assert_eq!(own(&wrong).send().await.problem(), (403, "ERR-AUTH-403", "wrong_org"), "{wrong}");
    }
    // An operator who picked one reaches that one only.
    let operator = house.operator();
    let picked =
        |path: &str| Ask::new(&router, "GET", path).bearer(&operator).header("x-org", &TENANT.to_string());
    assert_eq!(picked(&format!("/tenants/{TENANT}")).send().await.status, 200);
    assert_eq!(picked(&format!("/tenants/{OTHER}")).send().await.status, 404);
    assert_eq!(picked("/everything").send().await.problem(), (403, "ERR-AUTH-403", "wrong_org"));
}

#[tokio::test]
async fn the_state_of_a_tenant_bounds_what_its_members_may_do() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let ask = |method: &str, path: &str| Ask::new(&router, method, path).bearer(&owner);
    let mode = |mode| house.happened("tenant", TENANT.0, &TenantEvent::AccessModeSet { mode });

    mode(AccessMode::ReadOnly);
    assert_eq!(ask("GET", "/own").send().await.status, 200);
    assert_eq!(ask("POST", "/own").send().await.problem(), (403, "ERR-AUTH-403", "read_only"));
    assert_eq!(ask("POST", "/own/farewell").send().await.status, 200);

    mode(AccessMode::Blocked);
    for method in ["GET", "POST"] {
        assert_eq!(ask(method, "/own").send().await.problem(), (403, "ERR-AUTH-403", "blocked"));
    }
    assert_eq!(ask("POST", "/own/farewell").send().await.status, 200);

    mode(AccessMode::Active);
    let reason = kernel::Confidential::new(TENANT, "unpaid".parse().unwrap());
    house.happened("tenant", TENANT.0, &TenantEvent::Suspended { reason });
    // What was signed in before is over, what is signed in since is blocked.
    let ended = (401, "ERR-AUTH-440", "session_expired");
    assert_eq!(ask("GET", "/own").send().await.problem(), ended);
    let since = house.token(Role::Owner, Some(TENANT), &PERSON.to_string());
    let again = || Ask::new(&router, "GET", "/own").bearer(&since);
    assert_eq!(again().send().await.problem(), (403, "ERR-AUTH-403", "blocked"));
    // Who runs the platform still gets in, to reactivate it.
    let path = format!("/tenants/{TENANT}");
    assert_eq!(Ask::new(&router, "GET", &path).bearer(&house.operator()).send().await.status, 200);
    house.happened("tenant", TENANT.0, &TenantEvent::Reactivated { reason: None });
    assert_eq!(ask("GET", "/own").send().await.problem(), ended);
    assert_eq!(again().send().await.status, 200);
    house.audit.take();
}

/// FR-AUTH-005
#[tokio::test]
async fn a_session_that_ended_takes_its_tokens_along_and_no_others() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let ask = || Ask::new(&router, "GET", "/own").bearer(&owner).send();
    let because = schemas::values::SessionEnd::Logout;
    let end =
        |session: u128| UserEvent::SessionRevoked { session: uuid::Uuid::from_u128(session).into(), because };
    house.happened("user", PERSON.0, &end(2));
    assert_eq!(ask().await.status, 200);
    // The session that the house's tokens belong to.
    house.happened("user", PERSON.0, &end(1));
    assert_eq!(ask().await.problem(), (401, "ERR-AUTH-440", "session_expired"));
}

/// RFC 9470
#[tokio::test]
async fn what_is_sensitive_wants_a_fresh_authentication() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let ask = || Ask::new(&router, "POST", "/own/sensitive").bearer(&owner).send();
    assert_eq!(ask().await.status, 200);
    house.clock.advance(TimeDelta::minutes(10));
    assert_eq!(ask().await.problem(), (401, "ERR-AUTH-401", "fresh_authentication_required"));
}

#[tokio::test]
async fn a_trial_ends_at_its_instant() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let ends_at = Some(kernel::Clock::now(&*house.clock) + TimeDelta::minutes(10));
    house.happened("tenant", TENANT.0, &TenantEvent::TrialSet { ends_at });
    let staff = house.member(Role::Owner, MembershipKind::Staff);
    let ask = |method: &str| Ask::new(&router, method, "/own").bearer(&staff);
    assert_eq!(ask("POST").send().await.status, 200);
    house.clock.advance(TimeDelta::minutes(10));
    assert_eq!(ask("POST").send().await.problem(), (403, "ERR-AUTH-403", "read_only"));
    assert_eq!(ask("GET").send().await.status, 200);
    house.membership(&MembershipEvent::KindChanged {
        from: MembershipKind::Staff,
        to: MembershipKind::Client,
    });
    assert_eq!(ask("GET").send().await.problem(), (403, "ERR-AUTH-403", "blocked"));
}

#[tokio::test]
async fn a_token_ends_with_what_it_rests_on() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let ended = (401, "ERR-AUTH-440", "session_expired");
    let first = house.member(Role::Owner, MembershipKind::Staff);
    let ask = |token: &str| Ask::new(&router, "GET", "/own").bearer(token).send();
    let fresh = || house.token(Role::Owner, Some(TENANT), &PERSON.to_string());
    assert_eq!(ask(&first).await.status, 200);
    house.audit.take();

    house.happened("user", PERSON.0, &UserEvent::Disabled { reason: None });
    assert_eq!(ask(&first).await.problem(), ended);
    assert_eq!(ask(&fresh()).await.problem(), ended, "nor is there a new one while it lasts");
    // What has ended does not come back, whatever made it end.
    house.happened("user", PERSON.0, &UserEvent::Enabled {});
    assert_eq!(ask(&first).await.problem(), ended);
    let second = fresh();
    assert_eq!(ask(&second).await.status, 200);
    house.membership(&MembershipEvent::RoleChanged { from: Role::Owner, to: Role::User });
    house.membership(&MembershipEvent::RoleChanged { from: Role::User, to: Role::Owner });
    assert_eq!(ask(&second).await.problem(), ended);
    let third = fresh();
    assert_eq!(ask(&third).await.status, 200);
    let hash = kernel::Personal::new(PERSON, "$argon2id$x".parse().unwrap());
    let changed = UserEvent::PasswordChanged { hash, because: schemas::values::PasswordChange::Reset };
    house.happened("user", PERSON.0, &changed);
    assert_eq!(ask(&third).await.problem(), ended);
    let fourth = fresh();
    assert_eq!(ask(&fourth).await.status, 200);
    for event in [MembershipEvent::Disabled {}, MembershipEvent::Removed {}] {
        house.membership(&event);
        assert_eq!(ask(&fourth).await.problem(), ended);
    }
    house.clock.advance(TimeDelta::minutes(15));
    assert_eq!(ask(&fourth).await.problem(), (401, "ERR-AUTH-401", "invalid_token"));
}

#[tokio::test]
async fn an_application_reaches_the_tenants_it_is_connected_to_while_its_key_is_good() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    house.tenant(OTHER).await;
    let router = house.router(map());
    let expires_at = kernel::Clock::now(&*house.clock) + TimeDelta::days(1);
    let key = house.application(Scope::FlagRead, Some(expires_at)).reveal().to_string();
    let poll = |query: String, key: &str| Ask::new(&router, "GET", &format!("/poll{query}")).bearer(key);
    let of = |tenant: kernel::TenantId| format!("?tenant={tenant}");
    assert_eq!(poll(of(TENANT), &key).send().await.status, 200);
    let entry = only(house.audit.take());
    assert_eq!((entry.metadata.actor.id, entry.metadata.tenant), (APPLICATION.to_string(), Some(TENANT)));
    let by_header = poll(String::new(), &key).header("x-org", &TENANT.to_string());
    assert_eq!(by_header.send().await.status, 200);

    assert_eq!(poll(of(OTHER), &key).send().await.problem(), (404, "ERR-RES-404", "not_found"));
    assert_eq!(poll(String::new(), &key).send().await.problem().0, 400);
    assert_eq!(poll("?tenant=x".into(), &key).send().await.problem().0, 400);
    let both = poll(of(TENANT), &key).header("x-org", &OTHER.to_string());
    assert_eq!(both.send().await.problem(), (403, "ERR-AUTH-403", "wrong_org"));

    let refused = (401, "ERR-AUTH-401", "invalid_token");
    let stranger = crate::api_key::ApiKey::new(KEY, &[6; 32]).reveal().to_string();
    let unknown = crate::api_key::ApiKey::new(kernel::KeyId(OTHER.0), &[5; 32]).reveal().to_string();
    for wrong in [stranger.as_str(), unknown.as_str(), "tk_x", "tk__"] {
        assert_eq!(poll(of(TENANT), wrong).send().await.problem(), refused);
    }
    house.happened("application", APPLICATION.0, &ApplicationEvent::Disabled {});
    assert_eq!(poll(of(TENANT), &key).send().await.problem(), refused);
    house.happened("application", APPLICATION.0, &ApplicationEvent::Enabled {});
    assert_eq!(poll(of(TENANT), &key).send().await.status, 200);
    let reason = kernel::Confidential::new(TENANT, "unpaid".parse().unwrap());
    house.happened("tenant", TENANT.0, &TenantEvent::Suspended { reason });
    assert_eq!(poll(of(TENANT), &key).send().await.problem(), (403, "ERR-AUTH-403", "blocked"));
    house.happened("tenant", TENANT.0, &TenantEvent::Reactivated { reason: None });
    house.clock.advance(TimeDelta::days(1));
    assert_eq!(poll(of(TENANT), &key).send().await.problem(), refused);
    house.clock.advance(TimeDelta::days(-1));
    assert_eq!(poll(of(TENANT), &key).send().await.status, 200);
    house.happened("application", APPLICATION.0, &ApplicationEvent::KeyRevoked { key: KEY });
    assert_eq!(poll(of(TENANT), &key).send().await.problem(), refused);
}

#[tokio::test]
async fn a_node_that_cannot_know_refuses_and_one_that_runs_the_platform_goes_on() {
    let house = House::without_access().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let answer = Ask::new(&router, "GET", "/own").bearer(&owner).send().await;
    assert_eq!(answer.problem(), (503, "ERR-SYS-503", "access_unknown"));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(Ask::new(&router, "GET", "/everything").bearer(&house.operator()).send().await.status, 200);
}

/// Tells by which policies it was let in.
#[utoipa::path(get, path = "/own", responses((status = OK)))]
async fn why(Extension(admitted): Extension<Admitted>) -> Response {
    let policies: Vec<String> = admitted.policies.iter().map(ToString::to_string).collect();
    body(EVERYONE, &policies)
}

#[tokio::test]
async fn the_policies_that_let_a_call_in_go_with_it() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let endpoint = Endpoint::get("/own", "own:look").roles(OWNER).tenant(TenantRule::Own);
    let router = house.router(UrlMap::default().at(endpoint, utoipa_axum::routes!(why)));
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let answer = Ask::new(&router, "GET", "/own").bearer(&owner).send().await;
    assert_eq!(answer.body, serde_json::json!(["owners-in-tests"]));
}
