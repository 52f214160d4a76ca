//! Flags over HTTP: setting, polling, OFREP, and `ETag`s that are compared before anything is evaluated.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestTenant};

struct Shop {
    app: TestApp,
    operator: String,
    tenant: TestTenant,
    key: String,
}

impl Shop {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let operator = app.token(Role::Operator, None);
        let portal = json!({"application": {"name": "Shop", "environment": "production"}});
        let tenant = app.provision_with("acme", portal).await;
        let (key, _) = app.issue_key(tenant.application.unwrap(), &["flag:read"]).await;
        Self { app, operator, tenant, key }
    }

    fn flag(&self, key: &str) -> String {
        format!("/api/operator/tenants/{}/flags/{key}", self.tenant.id)
    }

    async fn set(&self, key: &str, body: Value) -> Answer {
        self.app.put(&self.flag(key), body).by(&self.operator).send().await
    }

    fn ofrep(&self, rest: &str, body: Value) -> crate::app::Call<'_> {
        let path = format!("/ofrep/v1/evaluate/flags{rest}");
        self.app.post(&path, body).by(&self.key).header("x-org", &self.tenant.id.to_string())
    }
}

/// FR-FLAG-001
#[tokio::test]
async fn a_flag_is_set_shown_changed_and_cleared() {
    let shop = Shop::new().await;
    let set = shop.set("theme", json!({"type": "string", "value": "blue"})).await.is(StatusCode::OK);
    let shown = shop.app.get(&shop.flag("theme")).by(&shop.operator).after(&set).send().await;
    let shown = shown.is(StatusCode::OK).body;
    assert_eq!((&shown["type"], &shown["value"]), (&json!("string"), &json!("blue")));
    let before = shop.app.events().await;
    let again = shop.set("theme", json!({"value": "blue"})).await.is(StatusCode::OK);
    assert_eq!((again.body, shop.app.events().await), (set.body, before), "asked twice, said once");
    let set = shop.set("theme", json!({"value": {"primary": [1, null]}})).await.is(StatusCode::OK);
    let shown = shop.app.get(&shop.flag("theme")).by(&shop.operator).after(&set).send().await.body;
    assert_eq!((&shown["type"], &shown["value"]["primary"]), (&json!("json"), &json!([1, null])));
    let cleared = shop.app.delete(&shop.flag("theme")).by(&shop.operator).send().await.is(StatusCode::OK);
    let gone = shop.app.get(&shop.flag("theme")).by(&shop.operator).after(&cleared).send().await;
    gone.refused(404, "ERR-RES-404", "not_found");
    let absent = format!("/api/operator/tenants/{}/flags", Uuid::from_u128(5));
    shop.app.get(&absent).by(&shop.operator).send().await.refused(404, "ERR-RES-404", "not_found");
    shop.set("a%20b", json!({"value": 1})).await.names(&["key"]);
    shop.set("a", json!({"type": "boolean", "value": 1})).await.names(&["/value"]);
}

/// FR-FLAG-001: two who change one flag learn of each other, and who changes another, or the tenant, is in nobody's way.
#[tokio::test]
async fn a_flag_has_a_tag_of_its_own() {
    let shop = Shop::new().await;
    let tenant = format!("/api/operator/tenants/{}", shop.tenant.id);
    let set = shop.set("theme", json!({"value": "blue"})).await.is(StatusCode::OK);
    let show = |path: String| shop.app.get(&path).by(&shop.operator).after(&set).send();
    let theme = show(shop.flag("theme")).await.is(StatusCode::OK).header("etag").to_owned();
    assert_eq!(theme, set.header("etag"), "it is told by whoever sets it, too");
    let own = show(tenant.clone()).await.is(StatusCode::OK).header("etag").to_owned();
    let unchanged = shop.app.get(&shop.flag("theme")).by(&shop.operator).header("if-none-match", &theme);
    assert_eq!(unchanged.send().await.status, StatusCode::NOT_MODIFIED);

    shop.set("beta", json!({"value": true})).await.is(StatusCode::OK);
    let rename = shop.app.patch(&tenant, json!({"name": "New"})).by(&shop.operator);
    rename.header("if-match", &own).send().await.is(StatusCode::OK);
    let change = |value: &str, tag: &str| {
        let body = json!({"value": value});
        shop.app.put(&shop.flag("theme"), body).by(&shop.operator).header("if-match", tag).send()
    };
    let changed = change("red", &theme).await.is(StatusCode::OK);
    change("green", &theme).await.refused(412, "ERR-VAL-409", "precondition_failed");
    let clear =
        |tag: &str| shop.app.delete(&shop.flag("theme")).by(&shop.operator).header("if-match", tag).send();
    clear(&theme).await.refused(412, "ERR-VAL-409", "precondition_failed");
    clear(changed.header("etag")).await.is(StatusCode::OK);
    // The same value again is another flag than the one that was seen.
    shop.set("theme", json!({"value": "red"})).await.is(StatusCode::OK);
    change("green", changed.header("etag")).await.refused(412, "ERR-VAL-409", "precondition_failed");
}

/// FR-FLAG-002, API-FLAG
#[tokio::test]
async fn a_poll_is_answered_304_until_something_changes() {
    let shop = Shop::new().await;
    let path = format!("/api/v1/flags?tenant={}", shop.tenant.id);
    let poll = |tag: &str| shop.app.get(&path).by(&shop.key).header("if-none-match", tag).send();
    let first = poll("\"none\"").await.is(StatusCode::OK);
    assert!(first.headers.get("age").is_none(), "it is current");
    let tag = first.header("etag").to_owned();
    for same in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let answer = poll(&same).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{same}");
        assert_eq!(answer.header("etag"), tag);
    }
    // What is not about flags changes nothing for those who poll them.
    let tenant = format!("/api/operator/tenants/{}", shop.tenant.id);
    let rename = shop.app.patch(&tenant, json!({"name": "New"})).by(&shop.operator).send().await;
    rename.is(StatusCode::OK);
    assert_eq!(poll(&tag).await.status, StatusCode::NOT_MODIFIED);
    let set = shop.set("beta", json!({"value": true})).await;
    let call = shop.app.get(&path).by(&shop.key).header("if-none-match", &tag).after(&set);
    let changed = call.send().await.is(StatusCode::OK);
    assert_eq!(changed.body["flags"]["beta"], json!({"type": "boolean", "value": true}));
    let by_header = shop.app.get("/api/v1/flags").by(&shop.key);
    let by_header = by_header.header("x-org", &shop.tenant.id.to_string()).send().await.is(StatusCode::OK);
    assert_eq!(by_header.body, changed.body);
}

/// The application–tenant pair is authorised: another tenant, and one that is not there, look alike.
#[tokio::test]
async fn an_application_polls_the_tenants_it_is_connected_to_and_no_others() {
    let shop = Shop::new().await;
    let other = shop.app.provision("other").await;
    for tenant in [other.id, Uuid::from_u128(3)] {
        let poll = shop.app.get(&format!("/api/v1/flags?tenant={tenant}")).by(&shop.key).send().await;
        poll.refused(404, "ERR-RES-404", "not_found");
    }
    shop.app.get("/api/v1/flags").by(&shop.key).send().await.names(&["tenant"]);
    shop.app.get("/api/v1/flags?tenant=x").by(&shop.key).send().await.names(&["tenant"]);
    let twice = format!("/api/v1/flags?tenant={}&tenant={}", shop.tenant.id, other.id);
    shop.app.get(&twice).by(&shop.key).send().await.names(&["tenant"]);
    let torn = shop.app.get(&format!("/api/v1/flags?tenant={}", shop.tenant.id)).by(&shop.key);
    let torn = torn.header("x-org", &other.id.to_string()).send().await;
    torn.refused(403, "ERR-AUTH-403", "wrong_org");
}

/// OFREP 0.3, single and bulk
#[tokio::test]
async fn ofrep_evaluates_one_flag_or_all() {
    let shop = Shop::new().await;
    let set = shop.set("limit", json!({"value": 1.5})).await.is(StatusCode::OK);
    let context = json!({"context": {"targetingKey": "user-7", "country": "JP"}});
    let one = shop.ofrep("/limit", context.clone()).after(&set).send().await.is(StatusCode::OK);
    assert_eq!(one.body, json!({"key": "limit", "value": 1.5, "reason": "STATIC"}));
    let all = shop.ofrep("", context.clone()).send().await.is(StatusCode::OK);
    let flags = all.body["flags"].as_array().unwrap();
    assert_eq!(flags.len(), 6);
    assert!(flags.contains(&one.body) && flags.iter().all(|flag| flag["reason"] == "STATIC"));
    let tag = all.header("etag").to_owned();
    let again = shop.ofrep("", context).header("if-none-match", &tag).send().await;
    assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    shop.ofrep("/limit", json!({})).send().await.is(StatusCode::OK);
}

/// OFREP 0.3: its errors, which are problems of ours too.
#[tokio::test]
async fn ofrep_tells_errors_in_its_own_words() {
    let shop = Shop::new().await;
    for key in ["nothing", "a%20b", "%00"] {
        let unknown = shop.ofrep(&format!("/{key}"), json!({"context": {}})).send().await;
        let unknown = unknown.refused(404, "ERR-RES-404", "flag_not_found");
        assert_eq!(unknown.body["errorCode"], "FLAG_NOT_FOUND");
        assert!(unknown.body["key"].is_string() && unknown.body["errorDetails"].is_string());
    }
    let wrong = shop.ofrep("/plan.sso", json!({"context": "jp"})).send().await.names(&["/context"]);
    assert_eq!(
        (&wrong.body["errorCode"], &wrong.body["key"]),
        (&json!("INVALID_CONTEXT"), &json!("plan.sso"))
    );
    let path = format!("/ofrep/v1/evaluate/flags?tenant={}", shop.tenant.id);
    let broken = shop.app.call(reqwest::Method::POST, &path).by(&shop.key).raw("{\"context\":").send().await;
    let broken = broken.refused(400, "ERR-VAL-400", "malformed_json");
    assert_eq!(broken.body["errorCode"], "PARSE_ERROR");
}
