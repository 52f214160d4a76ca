//! Applications and their keys over HTTP (FR-SYS-001, FR-SYS-002, FR-SYS-003).

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp};

const APPLICATIONS: &str = "/api/developer/applications";

struct Portal {
    app: TestApp,
    developer: String,
    tenant: Uuid,
    id: Uuid,
}

impl Portal {
    /// An application that a tenant is connected to.
    async fn new() -> Self {
        let app = TestApp::new().await;
        let developer = app.token(Role::Developer, None);
        let portal = json!({"application": {"name": "Portal", "environment": "production"}});
        let tenant = app.provision_with("acme", portal).await;
        let id = tenant.application.unwrap();
        Self { app, developer, tenant: tenant.id, id }
    }

    fn path(&self) -> String {
        format!("{APPLICATIONS}/{}", self.id)
    }

    async fn poll(&self, key: &str) -> Answer {
        self.app.get(&format!("/api/v1/flags?tenant={}", self.tenant)).by(key).send().await
    }

    async fn issue(&self, body: Value) -> Answer {
        self.app.post(&format!("{}/keys", self.path()), body).by(&self.developer).send().await
    }
}

/// FR-SYS-001, FR-SYS-003, UC-DEV-UPDATE
#[tokio::test]
async fn an_application_is_registered_changed_and_listed() {
    let app = TestApp::new().await;
    let developer = app.token(Role::Developer, None);
    let body =
        json!({"name": "Billing", "environment": "staging", "redirect_uris": ["https://b.example/back"]});
    let made = app.post(APPLICATIONS, body.clone()).by(&developer).send().await.is(StatusCode::CREATED);
    let path = format!("{APPLICATIONS}/{}", made.id());
    assert_eq!(made.header("location"), path);
    let taken = app.post(APPLICATIONS, json!({"name": "BILLING", "environment": "production"}));
    let taken = taken.by(&developer).send().await.refused(409, "ERR-VAL-409", "name_taken");
    assert_eq!(taken.body["errors"][0]["pointer"], "/name");
    let change = json!({"name": "Billing 2", "owner": "team:billing"});
    let changed =
        app.patch(&path, change).by(&developer).header("if-match", made.header("etag")).send().await;
    let changed = changed.is(StatusCode::OK);
    let shown = app.get(&path).by(&developer).after(&changed).send().await.is(StatusCode::OK);
    assert_eq!((&shown.body["name"], &shown.body["owner"]), (&json!("Billing 2"), &json!("team:billing")));
    assert_eq!(shown.body["redirect_uris"], body["redirect_uris"]);
    let list =
        app.get(&format!("{APPLICATIONS}?filter[environment][eq]=staging")).by(&developer).send().await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    let bad = json!({"name": "X", "environment": "staging", "redirect_uris": ["http://evil.example/"]});
    app.post(APPLICATIONS, bad).by(&developer).send().await.names(&["/redirect_uris/0"]);
    app.patch(&path, json!({"environment": "production"}))
        .by(&developer)
        .send()
        .await
        .names(&["/environment"]);
}

/// FR-SYS-002: shown once, stored hashed.
#[tokio::test]
async fn a_keys_secret_is_shown_once_and_stored_nowhere() {
    let portal = Portal::new().await;
    let issued = portal.issue(json!({"scopes": ["flag:read"]})).await.is(StatusCode::CREATED);
    assert_eq!(issued.header("cache-control"), "no-store");
    let key = issued.body["key"].as_str().unwrap();
    assert!(key.starts_with("tk_"), "{key}");
    portal.poll(key).await.is(StatusCode::OK);
    portal.app.settled().await;
    let list = portal.app.get(&format!("{}/keys", portal.path())).by(&portal.developer).send().await;
    let listed = &list.is(StatusCode::OK).body["items"][0];
    assert_eq!((&listed["id"], &listed["prefix"]), (&issued.body["id"], &issued.body["prefix"]));
    assert!(listed.get("key").is_none() && listed.get("hash").is_none());
    let secret = &key[key.len() - 43..];
    let client = portal.app.db.owner.get().await.unwrap();
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
                  WHERE schemaname IN ('public', 'read_model')";
    for table in client.query(tables, &[]).await.unwrap() {
        let sql = format!("SELECT count(*) FROM {} AS t WHERE t::text LIKE $1", table.get::<_, String>(0));
        let found: i64 = client.query_one(&sql, &[&format!("%{secret}%")]).await.unwrap().get(0);
        assert_eq!(found, 0, "{} holds the secret", table.get::<_, String>(0));
    }
}

/// A retry hears the same secret, and only a retry does.
#[tokio::test]
async fn a_retry_is_shown_the_same_key() {
    let portal = Portal::new().await;
    let issue = |key: &str| {
        let call = portal.app.post(&format!("{}/keys", portal.path()), json!({"scopes": ["flag:read"]}));
        call.by(&portal.developer).idempotency_key(key).send()
    };
    let first = issue("one").await.is(StatusCode::CREATED);
    let again = issue("one").await.is(StatusCode::CREATED);
    assert_eq!(first.body, again.body);
    assert_ne!(first.body["key"], issue("two").await.body["key"]);
    portal.poll(again.body["key"].as_str().unwrap()).await.is(StatusCode::OK);
}

/// FR-SYS-002: a revoked key stops at once, its neighbour goes on.
#[tokio::test]
async fn a_revoked_key_stops_at_once() {
    let portal = Portal::new().await;
    let (old, old_id) = portal.app.issue_key(portal.id, &["flag:read"]).await;
    let (new, _) = portal.app.issue_key(portal.id, &["flag:read"]).await;
    let path = format!("{}/keys/{old_id}", portal.path());
    portal.poll(&old).await.is(StatusCode::OK);
    portal.app.delete(&path).by(&portal.developer).send().await.is(StatusCode::OK);
    portal.poll(&old).await.refused(401, "ERR-AUTH-401", "invalid_token");
    portal.poll(&new).await.is(StatusCode::OK);
    portal.app.delete(&path).by(&portal.developer).send().await.is(StatusCode::OK);
    let unknown = format!("{}/keys/{}", portal.path(), Uuid::from_u128(7));
    let unknown = portal.app.delete(&unknown).by(&portal.developer).send().await;
    unknown.refused(404, "ERR-RES-404", "key_not_found");
}

/// FR-SYS-002: rotation with overlap.
#[tokio::test]
async fn a_rotated_key_and_its_successor_both_work_until_the_overlap_is_over() {
    let portal = Portal::new().await;
    let (old, old_id) = portal.app.issue_key(portal.id, &["flag:read"]).await;
    let path = format!("{}/keys/{old_id}/rotate", portal.path());
    let rotate = |body: serde_json::Value, key: &str| {
        portal.app.post(&path, body).by(&portal.developer).idempotency_key(key).send()
    };
    let rotated = rotate(json!({}), "one").await.is(StatusCode::CREATED);
    assert_eq!(rotated.header("cache-control"), "no-store");
    assert_eq!(rotated.body["replaces"], json!(old_id));
    assert_eq!(rotate(json!({}), "one").await.body, rotated.body, "a retry is shown the same key");
    let new = rotated.body["key"].as_str().unwrap().to_owned();
    portal.poll(&new).await.is(StatusCode::OK);
    portal.poll(&old).await.is(StatusCode::OK);
    portal.app.settled().await;
    let list = portal.app.get(&format!("{}/keys", portal.path())).by(&portal.developer).send().await;
    let end = |id: &serde_json::Value| {
        let keys = list.body["items"].as_array().unwrap();
        keys.iter().find(|key| key["id"] == *id).unwrap()["expires_at"].clone()
    };
    assert!(end(&json!(old_id)).is_string() && end(&rotated.body["id"]).is_null(), "{:?}", list.body);
    // Without overlap the old one stops at once, and has no further successor.
    rotate(json!({"overlap_hours": 721}), "two").await.refused(422, "ERR-VAL-422", "overlap_too_long");
    rotate(json!({"overlap_hours": 0}), "three").await.is(StatusCode::CREATED);
    portal.poll(&old).await.refused(401, "ERR-AUTH-401", "invalid_token");
    portal.poll(&new).await.is(StatusCode::OK);
    rotate(json!({}), "four").await.refused(422, "ERR-VAL-422", "key_not_live");
}

/// FR-SYS-003: all API access of a disabled application stops at once.
#[tokio::test]
async fn a_disabled_application_stops_at_once_and_comes_back() {
    let portal = Portal::new().await;
    let (key, _) = portal.app.issue_key(portal.id, &["flag:read"]).await;
    let status = format!("{}/status", portal.path());
    let set = |word: &str| portal.app.put(&status, json!({"status": word})).by(&portal.developer).send();
    portal.poll(&key).await.is(StatusCode::OK);
    set("disabled").await.is(StatusCode::OK);
    portal.poll(&key).await.refused(401, "ERR-AUTH-401", "invalid_token");
    portal.issue(json!({"scopes": ["flag:read"]})).await.refused(422, "ERR-VAL-422", "application_disabled");
    set("active").await.is(StatusCode::OK);
    portal.poll(&key).await.is(StatusCode::OK);
}

/// FR-SYS-002
#[tokio::test]
async fn a_key_opens_until_it_expires_what_its_scopes_say() {
    let portal = Portal::new().await;
    let past = json!({"scopes": ["flag:read"], "expires_at": "2020-01-01T00:00:00Z"});
    portal.issue(past).await.refused(422, "ERR-VAL-422", "expiry_in_the_past");
    portal.issue(json!({"scopes": []})).await.refused(422, "ERR-VAL-422", "scope_required");
    portal.issue(json!({"scopes": ["flag:write"]})).await.names(&["/scopes/0"]);
    let soon = portal.app.server.state.clock.now() + chrono::TimeDelta::milliseconds(1500);
    let issued = portal.issue(json!({"scopes": ["flag:read"], "expires_at": soon})).await;
    let key = issued.is(StatusCode::CREATED).body["key"].as_str().unwrap().to_owned();
    portal.poll(&key).await.is(StatusCode::OK);
    let expired = async {
        while portal.poll(&key).await.status != StatusCode::UNAUTHORIZED {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::app::PATIENCE, expired).await.expect("the key expires");
    let (other, _) = portal.app.issue_key(portal.id, &["log:write"]).await;
    portal.poll(&other).await.refused(403, "ERR-AUTH-403", "forbidden");
}
