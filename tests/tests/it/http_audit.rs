//! The audit trail over HTTP: one entry for each call, lists, and the CSV export.

use std::collections::BTreeSet;

use engine::audit::{AuditFact, AuditOutcome};
use kernel::Metadata;
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;
use uuid::Uuid;

use crate::app::{Answer, TestApp};
use crate::engine_postgres::context;

const LOGS: &str = "/api/auditor/audit-logs";

async fn list(app: &TestApp, query: &str) -> Answer {
    app.settled().await;
    let auditor = app.token(Role::Auditor, None);
    app.get(&format!("{LOGS}?{query}")).by(&auditor).send().await.is(StatusCode::OK)
}

/// FR-LOG-003, CC-LOG-003; REQUIREMENTS §1, rule 5: also the refused and the failed.
#[tokio::test]
async fn each_call_has_exactly_one_entry_whatever_came_of_it() {
    let app = TestApp::new().await;
    let tenant = app.provision("acme").await;
    let (operator, developer) = (app.token(Role::Operator, None), app.token(Role::Developer, None));
    let path = format!("/api/operator/tenants/{}", tenant.id);
    let rename = || app.patch(&path, json!({"name": "New"})).header("user-agent", "curl/8");
    let (changed, unchanged) = (rename().by(&operator).send().await, rename().by(&operator).send().await);
    let (refused, failed) = (
        rename().by(&developer).send().await,
        app.patch(&path, json!({"name": ""})).by(&operator).send().await,
    );
    let read = app.get(&path).by(&operator).send().await;
    let traces = [&changed, &unchanged, &refused, &failed, &read].map(|answer| answer.trace);
    let entries = app.entries(&traces).await;
    let of = |trace: Uuid| {
        let own: Vec<_> = entries.iter().filter(|entry| entry.trace == trace).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(own[0].tenant, Some(tenant.id));
        (own[0].action.as_str(), own[0].outcome.as_str(), own[0].status, own[0].code.as_deref())
    };
    assert_eq!(of(changed.trace), ("tenants:update", "success", None, None));
    assert_eq!(of(unchanged.trace), ("tenants:update", "success", Some(200), None));
    assert_eq!(of(failed.trace), ("tenants:update", "failure", Some(400), Some("ERR-VAL-400")));
    assert_eq!(of(read.trace), ("tenants:read", "success", Some(200), None));
    let entry = entries.iter().find(|entry| entry.trace == refused.trace).unwrap();
    assert_eq!((entry.outcome.as_str(), entry.status), ("denied", Some(403)));

    let shown = list(&app, &format!("filter[correlation_id][eq]={}", changed.trace)).await;
    let entry = &shown.body["items"][0];
    assert_eq!((&entry["actor"], &entry["actor_type"]), (&json!("local:1000"), &json!("operator")));
    assert_eq!((&entry["event_type"], &entry["resource_type"]), (&json!("tenant.updated"), &json!("tenant")));
    assert_eq!((&entry["user_agent"], &entry["address"]), (&json!("curl/8"), &json!("127.0.0.1")));
}

/// A request that takes several commands is told of once under its own name; the steps have names of their own.
#[tokio::test]
async fn what_follows_from_a_request_is_told_as_its_steps() {
    let app = TestApp::new().await;
    let tenant = app.provision("acme").await;
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    let invited = app.post("/api/v1/users", json!({"email": "ben@acme.example"})).by(&owner).send().await;
    let entries = app.entries(&[invited.is(StatusCode::CREATED).trace]).await;
    let mut actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["users:invite", "users:invite.register"]);
    assert!(entries.iter().all(|entry| entry.actor == tenant.owner.to_string()));
    assert!(entries.iter().all(|entry| entry.tenant == Some(tenant.id)));
}

#[tokio::test]
async fn the_trail_is_filtered_by_time_and_field() {
    let app = TestApp::new().await;
    let (acme, other) = (app.provision("acme").await, app.provision("other").await);
    let operator = app.token(Role::Operator, None);
    let clock = &app.server.state.clock;
    let between = clock.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    for tenant in [acme.id, other.id] {
        let path = format!("/api/operator/tenants/{tenant}/suspend");
        app.post(&path, json!({"reason": "unpaid"})).by(&operator).send().await.is(StatusCode::OK);
    }
    let after = list(&app, &format!("from={between}&filter[action][eq]=tenants:suspend")).await;
    assert_eq!(after.body["items"].as_array().unwrap().len(), 2);
    let one = format!("filter[action][eq]=tenants:suspend&filter[tenant][eq]={}", acme.id);
    assert_eq!(list(&app, &one).await.body["items"].as_array().unwrap().len(), 1);
    let before = list(&app, &format!("until={between}&filter[action][eq]=tenants:suspend")).await;
    assert_eq!(before.body["items"], json!([]));
    let auditor = app.token(Role::Auditor, None);
    app.get(&format!("{LOGS}?from=soon")).by(&auditor).send().await.names(&["from"]);
    app.get(&format!("{LOGS}?sort=actor")).by(&auditor).send().await.names(&["sort"]);
}

/// What a role may not see is not in the response.
#[tokio::test]
async fn a_tenant_sees_its_own_trail_and_not_where_operators_sit() {
    let app = TestApp::new().await;
    let (acme, other) = (app.provision("acme").await, app.provision("other").await);
    let operator = app.token(Role::Operator, None);
    for tenant in [acme.id, other.id] {
        let path = format!("/api/operator/tenants/{tenant}");
        app.patch(&path, json!({"name": "New"})).by(&operator).send().await.is(StatusCode::OK);
    }
    let owner = app.token_of(acme.owner, Role::Owner, Some(acme.id));
    app.get("/api/v1/tenants/me").by(&owner).send().await.is(StatusCode::OK);
    app.settled().await;
    let mine = app.get("/api/v1/tenants/me/audit-logs?limit=200").by(&owner).send().await.is(StatusCode::OK);
    let items = mine.body["items"].as_array().unwrap();
    assert!(items.iter().all(|entry| entry["tenant"] == json!(acme.id)));
    let by = |action: &str| items.iter().find(|entry| entry["action"] == action).unwrap();
    assert_eq!(by("tenants:update")["address"], json!(null));
    assert_eq!(by("own_tenant:read")["address"], "127.0.0.1");
}

/// FR-LOG-002, UC-AUDIT-EXPORT
#[tokio::test]
async fn an_export_is_csv_without_formulas_and_is_audited_itself() {
    let app = TestApp::new().await;
    let tenant = app.provision("acme").await;
    let operator = app.token(Role::Operator, None);
    let path = format!("/api/operator/tenants/{}", tenant.id);
    let formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "a,\"b\"", "plain"];
    for agent in formulas {
        app.get(&path).by(&operator).header("user-agent", agent).send().await.is(StatusCode::OK);
    }
    app.settled().await;
    let auditor = app.token(Role::Auditor, None);
    let export = format!("{LOGS}/export?format=csv&filter[action][eq]=tenants:read&sort=recorded_at");
    let csv = app.get(&export).by(&auditor).send().await.is(StatusCode::OK);
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    let mut lines = csv.text.split_terminator("\r\n");
    let head: Vec<_> = lines.next().unwrap().split(',').collect();
    assert_eq!((head[0], head[19], head.len()), ("id", "user_agent", 20));
    let rows: Vec<_> = lines.filter(|line| line.contains("tenants:read")).collect();
    let last = |n: usize| rows[rows.len() - formulas.len() + n].rsplit_once("127.0.0.1,").unwrap().1;
    let expected = ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "\"a,\"\"b\"\"\"", "plain"];
    assert_eq!([0, 1, 2, 3, 4, 5].map(last), expected);
    let own = app.entries(&[csv.trace]).await;
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!((own[0].action.as_str(), own[0].outcome.as_str()), ("audit:export", "success"));
    app.get(&format!("{LOGS}/export?format=xml")).by(&auditor).send().await.names(&["format"]);
}

/// FR-LOG-002: longer than a page, and than what is held in memory at a time.
#[tokio::test]
async fn an_export_holds_every_entry_however_many_there_are() {
    const COUNT: usize = 2_500;
    let app = TestApp::new().await;
    let audit = &app.server.state.audit;
    let entries = (0..COUNT).map(|n| {
        let metadata = Metadata { action: format!("test:{n}"), ..Metadata::clone(&context(None).metadata) };
        let fact = AuditFact {
            outcome: AuditOutcome::Success,
            status: 200,
            code: None,
            detail: None,
            resource_type: None,
            resource_id: None,
            count: 1,
        };
        audit.record(metadata, fact)
    });
    futures::future::try_join_all(entries).await.expect("they are written");
    app.settled().await;
    let auditor = app.token(Role::Auditor, None);
    let path = format!("{LOGS}/export?filter[action][like]=test:%25");
    let csv = app.get(&path).by(&auditor).send().await.is(StatusCode::OK);
    assert!(csv.headers.get("content-length").is_none(), "it is streamed");
    let actions: BTreeSet<_> =
        csv.text.split_terminator("\r\n").skip(1).map(|line| line.split(',').nth(7).unwrap()).collect();
    assert_eq!(actions.len(), COUNT);
}
