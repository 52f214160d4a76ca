//! What the gate promises, against handlers of its own and one of ours.

mod access;
mod credentials;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use engine::audit::{AuditEntry, AuditOutcome};
use engine::journal::Journal;
use kernel::{ActorKind, Position, ShardId};
use schemas::values::{Role, Scope};
use serde_json::json;
use tokio::sync::Notify;
use utoipa_axum::routes;

use crate::audit::REFUSALS_EACH_MAX;
use crate::endpoint::{Endpoint, TenantRule};
use crate::extract::Read;
use crate::problem::Problem;
use crate::state::Limits;
use crate::testing::{APPLICATION, Ask, House, OTHER, TENANT};
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
    sensitive post "/own/sensitive" { ok() }
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
    services get "/services" { ok() }
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
        .at(own(Endpoint::post("/own/sensitive", "own:sensitive")).fresh(), routes!(sensitive))
        .at(own(Endpoint::post("/own/farewell", "own:farewell")).when_blocked(), routes!(farewell))
        .at(of_path.tenant(TenantRule::Path("id")).on("tenant", "id"), routes!(self::of_path))
        .at(poll.hot().serves_stale(), routes!(self::poll))
        .at(operators("/everything", "everything:look"), routes!(everything))
        .at(operators("/crash", "everything:crash"), routes!(crash))
        .at(operators("/wait", "everything:wait"), routes!(wait))
        .at(operators("/never", "everything:never"), routes!(never))
        .at(Endpoint::get("/ping", "probe:ping").anyone().unaudited("a test"), routes!(ping))
        .at(Endpoint::get("/nobody", "nobody:look"), routes!(nobody))
        .at(Endpoint::get("/services", "services:look").service("access:read"), routes!(services))
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
/// REQUIREMENTS §12, ruling 12
/// REQUIREMENTS §4, UC-TENANT-SUSPEND
/// REQUIREMENTS §4: a trial that is over leaves staff to read and clients nothing; the clock decides, not a timer.
/// REQUIREMENTS §3: revocation is immediate, although the token has not expired.
/// FR-SYS-002, FR-SYS-003, UC-SYS-APP-AUTH
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
    while house.app.admission.room() > 0 {
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
async fn a_tenant_with_its_share_under_way_is_refused_and_its_neighbour_is_not() {
    let house = House::with_limits(Limits { tenant_in_flight_max: 1, ..Limits::default() }).await;
    house.tenant(TENANT).await;
    house.tenant(OTHER).await;
    let router = house.router(map());
    let share = house.app.admission.share_of(TENANT).unwrap();
    let ask = |tenant: kernel::TenantId| Ask::new(&router, "GET", &format!("/tenants/{}", tenant.0));
    let answer = ask(TENANT).bearer(&house.operator()).send().await;
    assert_eq!(answer.problem(), (429, "ERR-RATE-429", "overloaded"));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(ask(OTHER).bearer(&house.operator()).send().await.status, 200);
    drop(share);
    assert_eq!(ask(TENANT).bearer(&house.operator()).send().await.status, 200);
    let entries = house.audit.take();
    assert_eq!(entries.len(), 3, "one entry for each call");
    assert_eq!(told(&entries[0]), (AuditOutcome::Failure, 429, "ERR-RATE-429", "overloaded"));
    assert_eq!(entries[0].metadata.tenant, Some(TENANT));
}

/// REQUIREMENTS §1, rule 5
#[tokio::test]
async fn each_call_refused_for_want_of_room_is_audited_and_a_flood_of_them_by_its_number() {
    let house = House::with_limits(Limits { tenant_in_flight_max: 1, ..Limits::default() }).await;
    house.tenant(TENANT).await;
    let router = house.router(map());
    let _share = house.app.admission.share_of(TENANT).unwrap();
    let (path, operator) = (format!("/tenants/{}", TENANT.0), house.operator());
    let flood = 3;
    for _ in 0..REFUSALS_EACH_MAX + flood {
        assert_eq!(Ask::new(&router, "GET", &path).bearer(&operator).send().await.status, 429);
    }
    let entries = house.audit.take();
    assert_eq!(entries.len() as u32, REFUSALS_EACH_MAX);
    let one = &entries[0];
    assert_eq!((one.fact.count, one.fact.resource_id.as_deref()), (1, Some(&*TENANT.to_string())));
    let calls: BTreeSet<_> = entries.iter().map(|entry| entry.metadata.correlation_id.0).collect();
    assert_eq!(calls.len(), entries.len(), "each entry names its call");
    house.app.audit.flush().await;
    let rest = only(house.audit.take());
    assert_eq!((rest.fact.count, told(&rest)), (flood.into(), told(one)));
    assert_eq!((&rest.metadata.actor, rest.metadata.tenant), (&one.metadata.actor, Some(TENANT)));
    assert_eq!(Ask::new(&router, "GET", &path).bearer(&operator).send().await.status, 429);
    assert_eq!(only(house.audit.take()).fact.count, 1, "after the flush each has its own again");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_keep_its_call_out_of_the_audit_trail() {
    let house = House::with_limits(Limits { in_flight_max: 1, ..Limits::default() }).await;
    let router = house.router(map());
    let ask = tokio::spawn(Ask::new(&router, "GET", "/wait").bearer(&house.operator()).send());
    while house.app.admission.room() > 0 {
        tokio::task::yield_now().await;
    }
    ask.abort();
    assert!(ask.await.is_err());
    GO_ON.notify_one();
    while house.app.admission.room() == 0 {
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
