//! What the gate promises, against handlers of its own and one of ours.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use chrono::TimeDelta;
use engine::audit::{AuditEntry, AuditOutcome};
use engine::journal::Journal;
use kernel::{ActorKind, Position, ShardId};
use schemas::events::{ApplicationEvent, MembershipEvent, TenantEvent, UserEvent};
use schemas::values::{AccessMode, MembershipKind, Role, Scope};
use serde_json::json;
use tokio::sync::Notify;
use utoipa_axum::routes;

use crate::endpoint::{Endpoint, TenantRule};
use crate::extract::Read;
use crate::problem::Problem;
use crate::state::Limits;
use crate::testing::{APPLICATION, Ask, House, KEY, OTHER, PERSON, TENANT};
use crate::url_map::{UrlMap, url_map};

const OWNER: &[Role] = &[Role::Owner];

/// Lets a handler wait until the test says so.
static GO_ON: std::sync::LazyLock<Arc<Notify>> = std::sync::LazyLock::new(Arc::default);

macro_rules! handlers {
    ($($name:ident $method:ident $path:literal $work:block)+) => {$(
        #[utoipa::path($method, path = $path, responses((status = OK)))]
        async fn $name(_read: Read) -> Result<Response, Problem> $work
    )+};
}

fn ok() -> Result<Response, Problem> {
    Ok(Response::default())
}

handlers! {
    look get "/own" { ok() }
    change post "/own" { ok() }
    farewell post "/own/farewell" { ok() }
    of_path get "/tenants/{id}" { ok() }
    poll get "/poll" { ok() }
    everything get "/everything" { ok() }
    crash get "/crash" { panic!("on purpose") }
    wait get "/wait" {
        GO_ON.notified().await;
        ok()
    }
    never get "/never" { std::future::pending().await }
    ping get "/ping" { ok() }
    nobody get "/nobody" { ok() }
}

fn map() -> UrlMap {
    const OPERATOR: &[Role] = &[Role::Operator];
    let own = |endpoint: Endpoint| endpoint.roles(OWNER).tenant(TenantRule::Own);
    let of_path = Endpoint::get("/tenants/{id}", "tenants:look").roles(&[Role::Owner, Role::Operator]);
    let poll = Endpoint::get("/poll", "flags:poll").scope(Scope::FlagRead).tenant(TenantRule::Connected);
    let operators = |path, action| Endpoint::get(path, action).roles(OPERATOR);
    url_map()
        .at(own(Endpoint::get("/own", "own:look")), routes!(look))
        .at(own(Endpoint::post("/own", "own:change")), routes!(change))
        .at(own(Endpoint::post("/own/farewell", "own:farewell")).when_blocked(), routes!(farewell))
        .at(of_path.tenant(TenantRule::Path("id")).on("tenant", "id"), routes!(self::of_path))
        .at(poll.hot().serves_stale(), routes!(self::poll))
        .at(operators("/everything", "everything:look"), routes!(everything))
        .at(operators("/crash", "everything:crash"), routes!(crash))
        .at(operators("/wait", "everything:wait"), routes!(wait))
        .at(operators("/never", "everything:never"), routes!(never))
        .at(Endpoint::get("/ping", "probe:ping").anyone().unaudited("a test"), routes!(ping))
        .at(Endpoint::get("/nobody", "nobody:look"), routes!(nobody))
}

fn only(entries: Vec<AuditEntry>) -> AuditEntry {
    let [entry] = <[AuditEntry; 1]>::try_from(entries).expect("exactly one entry");
    entry
}

fn told(entry: &AuditEntry) -> (AuditOutcome, u16, &str, &str) {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default().leak() as &str;
    (entry.fact.outcome, entry.fact.status, text(&entry.fact.code), text(&entry.fact.detail))
}

fn suspend_path() -> String {
    format!("/api/operator/tenants/{TENANT}/suspend")
}

/// CC-AUTH-003, CON-SEC-007
#[tokio::test]
async fn a_stranger_is_refused_and_counted_so_that_he_cannot_fill_the_disk() {
    let house = House::new().await;
    let router = house.router(map());
    for _ in 0..5 {
        let answer = Ask::new(&router, "POST", &suspend_path()).send().await;
        assert_eq!(answer.problem(), (401, "ERR-AUTH-401", "missing_token"));
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    Ask::new(&router, "GET", "/own").bearer("nonsense").send().await;
    assert_eq!(house.audit.take(), []);
    house.app.audit.flush().await;
    let mut entries = house.audit.take();
    entries.sort_by_key(|entry| entry.fact.count);
    let found: Vec<_> =
        entries.iter().map(|e| (e.metadata.action.as_str(), e.fact.count, told(e).3)).collect();
    assert_eq!(found, [("own:look", 1, "invalid_token"), ("tenants:suspend", 5, "missing_token")]);
    assert!(entries.iter().all(|entry| entry.metadata.actor.kind == ActorKind::Anonymous));
    house.app.audit.flush().await;
    assert_eq!(house.audit.take(), []);
}

#[tokio::test]
async fn counted_calls_survive_a_ledger_that_cannot_be_written() {
    let house = House::new().await;
    let router = house.router(map());
    Ask::new(&router, "GET", "/own").send().await;
    *house.audit.broken.lock().unwrap() = true;
    house.app.audit.flush().await;
    Ask::new(&router, "GET", "/own").send().await;
    *house.audit.broken.lock().unwrap() = false;
    house.app.audit.flush().await;
    assert_eq!(only(house.audit.take()).fact.count, 2);
}

/// FR-OPS-001, FR-LOG-003
#[tokio::test]
async fn what_changes_something_is_audited_by_its_event_and_what_does_not_by_one_entry() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let before = house.events().await;
    let suspend = |key: &'static str| {
        Ask::new(&router, "POST", &suspend_path())
            .bearer(&house.operator())
            .header("idempotency-key", key)
            .json(&json!({"reason": "unpaid"}))
    };
    let first = suspend("one").send().await;
    assert_eq!((first.status.as_u16(), house.events().await), (200, before + 1));
    assert!(first.headers.contains_key("x-position") && first.headers.contains_key("etag"));
    assert_eq!(house.audit.take(), []);
    let event = house.journal.read(ShardId(0), Position::ZERO, 100).await.unwrap().pop().unwrap();
    assert_eq!(event.metadata.action, "tenants:suspend");
    assert_eq!((event.metadata.role.as_str(), event.metadata.tenant), ("operator", Some(TENANT)));

    let again = suspend("one").send().await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(told(&only(house.audit.take())), (AuditOutcome::Success, 200, "", ""));

    let nothing = suspend("two").send().await;
    assert_eq!(nothing.status, 200);
    let entry = only(house.audit.take());
    assert_eq!((entry.fact.resource_type.as_deref(), entry.metadata.tenant), (Some("tenant"), Some(TENANT)));
    assert_eq!(house.events().await, before + 1);
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let ask = |reason: &str| {
        let ask = Ask::new(&router, "POST", &suspend_path()).bearer(&house.operator());
        ask.header("idempotency-key", "\"k\"").json(&json!({ "reason": reason }))
    };
    assert_eq!(ask("unpaid").send().await.status, 200);
    assert_eq!(ask("other").send().await.problem(), (422, "ERR-VAL-422", "idempotency_key_reused"));
    assert_eq!(told(&only(house.audit.take())).0, AuditOutcome::Failure);
}

#[tokio::test]
async fn a_stale_if_match_is_refused_and_changes_nothing() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let before = house.events().await;
    let ask = |tag: &str| {
        let ask = Ask::new(&router, "POST", &suspend_path()).bearer(&house.operator());
        ask.header("if-match", tag).json(&json!({"reason": "unpaid"}))
    };
    for stale in ["\"999\"", "W/\"1\"", "\"x\""] {
        assert_eq!(ask(stale).send().await.problem(), (412, "ERR-VAL-409", "precondition_failed"), "{stale}");
    }
    assert_eq!(ask("7").send().await.problem(), (400, "ERR-VAL-400", "invalid_parameter"));
    assert_eq!(house.events().await, before);
    assert_eq!(ask(&format!("\"{before}\"")).send().await.status, 200);
}

#[tokio::test]
async fn bad_input_names_its_place_and_writes_nothing() {
    let house = House::with_limits(Limits { body_bytes_max: 1000, ..Limits::default() }).await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let before = house.events().await;
    let large = json!({"reason": "x".repeat(2000)}).to_string();
    for (body, expected) in [
        ("{", (400, "ERR-VAL-400", "malformed_json")),
        ("{\"reason\":\"\\ud800\"}", (400, "ERR-VAL-400", "malformed_json")),
        ("{\"reason\":\"a\\u0000\"}", (400, "ERR-VAL-400", "invalid_fields")),
        ("{\"reason\":7}", (400, "ERR-VAL-400", "invalid_fields")),
        ("{}", (400, "ERR-VAL-400", "invalid_fields")),
        ("{\"reason\":\"x\",\"more\":1}", (400, "ERR-VAL-400", "invalid_fields")),
        (&large, (413, "ERR-VAL-400", "too_large")),
    ] {
        let ask = Ask::new(&router, "POST", &suspend_path()).bearer(&house.operator());
        let answer = ask.text(body.to_owned()).send().await;
        assert_eq!(answer.problem(), expected, "{body}");
        if expected.2 == "invalid_fields" {
            assert!(answer.body["errors"][0]["pointer"].is_string(), "{body}");
        }
        assert_eq!(told(&only(house.audit.take())).0, AuditOutcome::Failure);
    }
    let ask = Ask::new(&router, "POST", "/api/operator/tenants/1%27%20OR%201/suspend");
    let answer = ask.bearer(&house.operator()).json(&json!({"reason": "x"})).send().await;
    assert_eq!(answer.problem(), (400, "ERR-VAL-400", "invalid_parameter"));
    assert_eq!(answer.body["errors"][0]["parameter"], "id");
    assert_eq!(only(house.audit.take()).fact.resource_id, None);
    let unknown = format!("/api/operator/tenants/{OTHER}/suspend");
    let ask = Ask::new(&router, "POST", &unknown).bearer(&house.operator()).json(&json!({"reason": "x"}));
    assert_eq!(ask.send().await.problem(), (404, "ERR-RES-404", "not_found"));
    assert_eq!(house.events().await, before);
}

/// REQUIREMENTS §1, rule 2
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

/// REQUIREMENTS §12, ruling 12
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

/// REQUIREMENTS §4, UC-TENANT-SUSPEND
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
    assert_eq!(ask("GET", "/own").send().await.problem(), (403, "ERR-AUTH-403", "blocked"));
    // Who runs the platform still gets in, to reactivate it.
    let path = format!("/tenants/{TENANT}");
    assert_eq!(Ask::new(&router, "GET", &path).bearer(&house.operator()).send().await.status, 200);
    house.happened("tenant", TENANT.0, &TenantEvent::Reactivated { reason: None });
    assert_eq!(ask("GET", "/own").send().await.status, 200);
    house.audit.take();
}

/// REQUIREMENTS §4: a trial that is over leaves staff to read and clients nothing; the clock decides, not a timer.
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

/// REQUIREMENTS §3: revocation is immediate, although the token has not expired.
#[tokio::test]
async fn a_token_ends_with_what_it_rests_on() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let ended = (401, "ERR-AUTH-440", "session_expired");
    let owner = house.member(Role::Owner, MembershipKind::Staff);
    let ask = || Ask::new(&router, "GET", "/own").bearer(&owner);
    assert_eq!(ask().send().await.status, 200);
    house.audit.take();

    house.happened("user", PERSON.0, &UserEvent::Disabled { reason: None });
    assert_eq!(ask().send().await.problem(), ended);
    house.happened("user", PERSON.0, &UserEvent::Enabled {});
    assert_eq!(ask().send().await.status, 200);
    house.membership(&MembershipEvent::RoleChanged { from: Role::Owner, to: Role::User });
    assert_eq!(ask().send().await.problem(), ended);
    house.membership(&MembershipEvent::RoleChanged { from: Role::User, to: Role::Owner });
    assert_eq!(ask().send().await.status, 200);
    for event in [MembershipEvent::Disabled {}, MembershipEvent::Removed {}] {
        house.membership(&event);
        assert_eq!(ask().send().await.problem(), ended);
    }
    house.clock.advance(TimeDelta::minutes(15));
    assert_eq!(ask().send().await.problem(), (401, "ERR-AUTH-401", "invalid_token"));
}

/// FR-SYS-002, FR-SYS-003, UC-SYS-APP-AUTH
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

/// REQUIREMENTS §1, rule 5
#[tokio::test]
async fn a_call_that_cannot_be_audited_fails_but_polling_goes_on_and_is_counted() {
    let house = House::new().await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let key = house.application(Scope::FlagRead, None).reveal().to_string();
    *house.audit.broken.lock().unwrap() = true;
    let everything = || Ask::new(&router, "GET", "/everything").bearer(&house.operator());
    assert_eq!(everything().send().await.problem(), (503, "ERR-SYS-503", "audit_unavailable"));
    let poll = || Ask::new(&router, "GET", &format!("/poll?tenant={TENANT}")).bearer(&key);
    for _ in 0..3 {
        assert_eq!(poll().send().await.status, 200);
    }
    *house.audit.broken.lock().unwrap() = false;
    house.app.audit.flush().await;
    let entry = only(house.audit.take());
    assert_eq!((entry.fact.count, entry.metadata.actor.id), (3, APPLICATION.to_string()));
}

/// CC-ERR-003
#[tokio::test]
async fn a_handler_that_panics_answers_and_the_server_lives_on() {
    let house = House::new().await;
    let router = house.router(map());
    let answer = Ask::new(&router, "GET", "/crash").bearer(&house.operator()).send().await;
    assert_eq!(answer.problem(), (500, "ERR-SYS-500", "unexpected"));
    assert!(!answer.body.to_string().contains("on purpose"));
    assert_eq!(told(&only(house.audit.take())), (AuditOutcome::Failure, 500, "ERR-SYS-500", "unexpected"));
    assert_eq!(Ask::new(&router, "GET", "/everything").bearer(&house.operator()).send().await.status, 200);
}

#[tokio::test]
async fn a_full_node_says_so_and_still_answers_probes() {
    let house = House::with_limits(Limits { in_flight_max: 1, ..Limits::default() }).await;
    let router = house.router(map());
    let first = tokio::spawn(Ask::new(&router, "GET", "/wait").bearer(&house.operator()).send());
    while house.app.admission.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let answer = Ask::new(&router, "GET", "/everything").bearer(&house.operator()).send().await;
    assert_eq!(answer.problem(), (503, "ERR-SYS-503", "overloaded"));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(Ask::new(&router, "GET", "/ping").send().await.status, 200);
    assert_eq!(Ask::new(&router, "GET", "/health").send().await.status, 200);
    GO_ON.notify_one();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(Ask::new(&router, "GET", "/everything").bearer(&house.operator()).send().await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_keep_its_call_out_of_the_audit_trail() {
    let house = House::with_limits(Limits { in_flight_max: 1, ..Limits::default() }).await;
    let router = house.router(map());
    let ask = tokio::spawn(Ask::new(&router, "GET", "/wait").bearer(&house.operator()).send());
    while house.app.admission.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    ask.abort();
    assert!(ask.await.is_err());
    GO_ON.notify_one();
    while house.app.admission.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(only(house.audit.take()).metadata.action, "everything:wait");
}

#[tokio::test]
async fn a_handler_that_never_ends_is_ended() {
    let house =
        House::with_limits(Limits { handler_timeout: Duration::from_millis(20), ..Limits::default() }).await;
    let router = house.router(map());
    let answer = Ask::new(&router, "GET", "/never").bearer(&house.operator()).send().await;
    assert_eq!(answer.problem(), (503, "ERR-SYS-503", "timeout"));
    assert_eq!(told(&only(house.audit.take())).3, "timeout");
}

/// CC-ERR-004, CC-LOG-001
#[tokio::test]
async fn what_is_no_route_or_method_is_a_problem_with_the_callers_trace() {
    let house = House::new().await;
    let router = house.router(map());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = Ask::new(&router, "GET", "/nowhere").header("traceparent", parent).send().await;
    assert_eq!(answer.problem(), (404, "ERR-RES-404", "no_such_route"));
    assert_eq!(answer.body["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let answer = Ask::new(&router, "DELETE", "/own").send().await;
    assert_eq!(answer.problem(), (405, "ERR-VAL-400", "method_not_allowed"));
    assert_eq!(answer.headers["allow"], "GET,HEAD,POST");
    assert_eq!(
        Ask::new(&router, "GET", "/metrics").send().await.status,
        404,
        "it is on the private port only"
    );
}

#[tokio::test]
async fn browsers_may_call_from_allowed_origins_only() {
    let house = House::new().await;
    let router = crate::cors::allow(house.router(map()), &["https://console.example".to_owned()]);
    let ask = |origin: &str| Ask::new(&router, "GET", "/health").header("origin", origin);
    let allowed = ask("https://console.example").send().await;
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://console.example");
    let other = ask("https://evil.example").send().await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    let none = crate::cors::allow(house.router(map()), &[]);
    let answer = Ask::new(&none, "GET", "/health").header("origin", "https://console.example").send().await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}
