//! Tenants over HTTP: lists, changes, preconditions, retries.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};

use crate::app::TestApp;

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|tenant| tenant["name"].as_str().unwrap()).collect()
}

/// Pages, filters and orders lead through all rows exactly once.
#[tokio::test]
async fn a_list_is_filtered_sorted_and_paged() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let mut last = None;
    for (name, plan) in [("delta", "pro"), ("alpha", "pro"), ("charlie", "free"), ("bravo", "pro")] {
        let body = json!({"name": name, "domain": format!("{name}.example"), "plan": plan,
            "owner_email": "ann@acme.example"});
        last =
            Some(app.post("/api/operator/tenants", body).by(&operator).send().await.is(StatusCode::CREATED));
    }
    let list = async |query: &str| {
        let call = app.get(&format!("/api/operator/tenants?{query}")).by(&operator);
        call.after(last.as_ref().unwrap()).send().await.is(StatusCode::OK)
    };
    assert_eq!(names(&list("").await.body), ["bravo", "charlie", "alpha", "delta"], "newest first");
    assert_eq!(names(&list("sort=name").await.body), ["alpha", "bravo", "charlie", "delta"]);
    let some = list("filter[plan][eq]=pro&filter[name][ne]=alpha&sort=-name").await;
    assert_eq!(names(&some.body), ["delta", "bravo"]);
    assert_eq!(names(&list("filter[domain][like]=%25RA%25&sort=name").await.body), ["bravo"]);
    assert_eq!(names(&list("filter[name][in]=alpha,delta&sort=name").await.body), ["alpha", "delta"]);

    let first = list("sort=name&limit=3").await;
    assert_eq!(names(&first.body), ["alpha", "bravo", "charlie"]);
    let link = first.header("link");
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    assert!(next.contains("limit=3") && next.contains("sort=name"), "{next}");
    let second = app.get(next).by(&operator).send().await.is(StatusCode::OK);
    assert_eq!(names(&second.body), ["delta"]);
    assert!(second.headers.get("link").is_none() && second.body.get("next_cursor").is_none());
}

#[tokio::test]
async fn a_change_is_made_once_and_told_by_its_tag() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let tenant = app.provision("acme").await;
    let path = format!("/api/operator/tenants/{}", tenant.id);
    app.settled().await;
    let shown = app.get(&path).by(&operator).send().await.is(StatusCode::OK);
    let tag = shown.header("etag").to_owned();
    let unchanged = app.get(&path).by(&operator).header("if-none-match", &tag).send().await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);

    let rename = json!({"name": "Acme Ltd", "settings": {"locale": "en"}});
    let changed = app.patch(&path, rename.clone()).by(&operator).header("if-match", &tag).send().await;
    let changed = changed.is(StatusCode::OK);
    assert_eq!(changed.header("etag"), format!("\"{}\"", changed.body["sequence"]));
    let stale = app.patch(&path, json!({"name": "Other"})).by(&operator).header("if-match", &tag);
    stale.send().await.refused(412, "ERR-VAL-409", "precondition_failed");
    let shown = app.get(&path).by(&operator).after(&changed).send().await;
    assert_eq!((&shown.body["name"], &shown.body["settings"]), (&rename["name"], &rename["settings"]));
    assert_eq!(shown.header("etag"), changed.header("etag"));

    let before = app.events().await;
    let again = app.patch(&path, rename).by(&operator).send().await.is(StatusCode::OK);
    assert_eq!(again.body, changed.body, "asked twice, said once");
    assert_eq!(app.events().await, before);
}

/// CC-DAT-001
#[tokio::test]
async fn a_key_gives_the_same_answer_and_serves_no_other_request() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let tenant = app.provision("acme").await;
    let path = format!("/api/operator/tenants/{}/access-mode", tenant.id);
    let ask = |key: &str, mode: &str| {
        app.put(&path, json!({"mode": mode})).by(&operator).idempotency_key(key).send()
    };
    let first = ask("k-1", "read_only").await.is(StatusCode::OK);
    ask("k-2", "active").await.is(StatusCode::OK);
    let before = app.events().await;
    let again = ask("\"k-1\"", "read_only").await.is(StatusCode::OK);
    assert_eq!((&again.body, again.header("etag")), (&first.body, first.header("etag")));
    ask("k-1", "blocked").await.refused(422, "ERR-VAL-422", "idempotency_key_reused");
    assert_eq!(app.events().await, before, "nothing was carried out again");
    // Another caller's key is another key.
    let other = app.token_of(uuid::Uuid::from_u128(9), Role::Operator, None);
    let call = app.put(&path, json!({"mode": "blocked"})).by(&other).idempotency_key("k-1");
    call.send().await.is(StatusCode::OK);
}

/// Refusals are outcomes too: a retry hears the same, also when it would be carried out by now.
#[tokio::test]
async fn a_refusal_is_kept_with_its_key() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    app.provision("acme").await;
    let other = app.provision("other").await;
    let path = format!("/api/operator/tenants/{}", other.id);
    let take = || app.patch(&path, json!({"domain": "acme.example"})).by(&operator).idempotency_key("take");
    take().send().await.refused(409, "ERR-VAL-409", "domain_taken");
    take().send().await.refused(409, "ERR-VAL-409", "domain_taken");
}

/// FR-TENANT-003; REQUIREMENTS §12, rulings 11 and 15
#[tokio::test]
async fn owners_change_the_plan_operators_too_and_administrators_only_settings() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let tenant = app.provision("acme").await;
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    let administrator = app.token(Role::Administrator, Some(tenant.id));
    let mine = "/api/v1/tenants/me/plan";
    app.put(mine, json!({"plan": "enterprise"})).by(&owner).send().await.is(StatusCode::OK);
    let refused = app.put(mine, json!({"plan": "free"})).by(&administrator).send().await;
    refused.refused(403, "ERR-AUTH-403", "forbidden");
    let path = format!("/api/operator/tenants/{}/plan", tenant.id);
    app.put(&path, json!({"plan": "pro"})).by(&operator).send().await.is(StatusCode::OK);
    let settings = json!({"settings": {"locale": "ja"}});
    let set = app.patch("/api/v1/tenants/me", settings).by(&administrator).send().await.is(StatusCode::OK);
    let me = app.get("/api/v1/tenants/me").by(&administrator).after(&set).send().await.is(StatusCode::OK);
    assert_eq!((&me.body["plan"], &me.body["settings"]), (&json!("pro"), &json!({"locale": "ja"})));
    app.patch("/api/v1/tenants/me", json!({"domain": "new.example"}))
        .by(&owner)
        .send()
        .await
        .names(&["/domain"]);
    for n in 0..20 {
        let flag = format!("/api/operator/tenants/{}/flags/extra-{n}", tenant.id);
        app.put(&flag, json!({"value": n})).by(&operator).send().await.is(StatusCode::OK);
    }
    let small = app.put(mine, json!({"plan": "free"})).by(&owner).send().await;
    small.refused(422, "ERR-VAL-422", "capacity");
}

/// REQUIREMENTS §4: what an operator sets is stronger than what the lifecycle leaves.
#[tokio::test]
async fn an_access_mode_holds_on_the_next_request() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let tenant = app.provision("acme").await;
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    let path = format!("/api/operator/tenants/{}/access-mode", tenant.id);
    let rename = || app.patch("/api/v1/tenants/me", json!({"name": "New"})).by(&owner).send();
    let read = || app.get("/api/v1/tenants/me").by(&owner).send();
    app.put(&path, json!({"mode": "read_only"})).by(&operator).send().await.is(StatusCode::OK);
    read().await.is(StatusCode::OK);
    rename().await.refused(403, "ERR-AUTH-403", "read_only");
    app.put(&path, json!({"mode": "blocked"})).by(&operator).send().await.is(StatusCode::OK);
    read().await.refused(403, "ERR-AUTH-403", "blocked");
    app.put(&path, json!({"mode": "active"})).by(&operator).send().await.is(StatusCode::OK);
    rename().await.is(StatusCode::OK);
}
