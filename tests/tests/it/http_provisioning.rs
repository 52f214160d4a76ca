//! The main job, from HTTP to journal to read model and back.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;

use crate::app::TestApp;

/// UC-PROV-001, UC-TENANT-SUSPEND, UC-SYS-APP-AUTH, FR-OPS-001, FR-FLAG-001, FR-FLAG-002
#[tokio::test]
async fn a_tenant_is_provisioned_polled_suspended_and_reactivated() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let tenant = app
        .provision_with("acme", json!({"application": {"name": "Portal", "environment": "production"}}))
        .await;
    let path = format!("/api/operator/tenants/{}", tenant.id);

    // The owner is invited, the plan's flags are set, the application is there and connected.
    let shown = app.get(&path).by(&operator).send().await.is(StatusCode::OK);
    assert_eq!(shown.body["owners"], json!([tenant.owner]));
    assert_eq!(shown.body["applications"], json!([tenant.application.unwrap()]));
    assert_eq!(shown.body["status"], "trial");
    let flags = app.get(&format!("{path}/flags")).by(&operator).send().await.is(StatusCode::OK);
    let keys: Vec<_> = flags.body["items"].as_array().unwrap().iter().map(|flag| &flag["key"]).collect();
    assert_eq!(
        keys,
        ["plan.api-access", "plan.audit-export", "plan.custom-roles", "plan.sso", "plan.webhooks"]
    );

    // The application polls; what an operator sets is there on the next poll.
    let (key, _) = app.issue_key(tenant.application.unwrap(), &["flag:read"]).await;
    let poll = format!("/api/v1/flags?tenant={}", tenant.id);
    let first = app.get(&poll).by(&key).send().await.is(StatusCode::OK);
    assert_eq!(first.body["flags"]["plan.webhooks"], json!({"type": "boolean", "value": true}));
    let tag = first.header("etag").to_owned();
    let again = app.get(&poll).by(&key).header("if-none-match", &tag).send().await;
    assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let set = json!({"type": "string", "value": "blue"});
    app.put(&format!("{path}/flags/theme"), set.clone()).by(&operator).send().await.is(StatusCode::OK);
    let changed = app.get(&poll).by(&key).header("if-none-match", &tag).send().await.is(StatusCode::OK);
    assert_eq!(changed.body["flags"]["theme"], set);
    assert_ne!(changed.header("etag"), tag);

    // Suspended, neither the application nor the owner gets in, on the very next request.
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    app.get("/api/v1/tenants/me").by(&owner).send().await.is(StatusCode::OK);
    let reason = json!({"reason": "The invoice is unpaid."});
    app.post(&format!("{path}/suspend"), reason).by(&operator).send().await.is(StatusCode::OK);
    app.get(&poll).by(&key).send().await.refused(403, "ERR-AUTH-403", "blocked");
    app.get("/api/v1/tenants/me").by(&owner).send().await.refused(401, "ERR-AUTH-440", "session_expired");
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    app.get("/api/v1/tenants/me").by(&owner).send().await.refused(403, "ERR-AUTH-403", "blocked");
    let shown = app.get(&path).by(&operator).send().await;
    let shown = if shown.body["status"] == "suspended" {
        shown
    } else {
        app.settled().await;
        app.get(&path).by(&operator).send().await
    };
    assert_eq!(shown.body["suspension_reason"], "The invoice is unpaid.");

    // Reactivated, both do, and nothing was lost.
    app.post(&format!("{path}/reactivate"), json!({})).by(&operator).send().await.is(StatusCode::OK);
    let after = app.get(&poll).by(&key).send().await.is(StatusCode::OK);
    assert_eq!(after.body["flags"], changed.body["flags"]);
    app.get("/api/v1/tenants/me").by(&owner).send().await.is(StatusCode::OK);
}

/// UC-PROV-001: what can't be provisioned is refused at once, with the field.
#[tokio::test]
async fn provisioning_refuses_what_could_not_be_carried_out() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    app.provision_with("acme", json!({"application": {"name": "Portal", "environment": "staging"}})).await;
    let before = app.events().await;
    let ask = |more: serde_json::Value| {
        let mut body = json!({
            "name": "Other", "domain": "other.example", "plan": "free", "owner_email": "o@other.example"
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("/api/operator/tenants", body).by(&operator).send()
    };
    let taken = ask(json!({"domain": "ACME.example"})).await.refused(409, "ERR-VAL-409", "domain_taken");
    assert_eq!(taken.body["errors"][0]["pointer"], "/domain");
    ask(json!({"slug": "acme-example"})).await.refused(409, "ERR-VAL-409", "slug_taken");
    ask(json!({"application": {"id": uuid::Uuid::from_u128(7)}})).await.names(&["/application/id"]);
    ask(json!({"application": {}})).await.names(&["/application"]);
    let taken = ask(json!({"application": {"name": "portal", "environment": "production"}})).await;
    let taken = taken.refused(409, "ERR-VAL-409", "name_taken");
    assert_eq!(taken.body["errors"][0]["pointer"], "/application/name");
    ask(json!({"plan": "gold", "owner_email": "nobody", "domain": "-"})).await.names(&[
        "/domain",
        "/plan",
        "/owner_email",
    ]);
    assert_eq!(app.events().await, before, "nothing was written");
}

/// CC-DAT-001: a retry reaches the same tenant, and makes nothing twice.
#[tokio::test]
async fn a_repeated_provisioning_is_the_same_provisioning() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let body = json!({
        "name": "Acme", "domain": "acme.example", "plan": "pro", "owner_email": "ann@acme.example",
        "application": {"name": "Portal", "environment": "production"}
    });
    let ask = || app.post("/api/operator/tenants", body.clone()).by(&operator).idempotency_key("provision-1");
    let first = ask().send().await.is(StatusCode::CREATED);
    let second = ask().send().await.is(StatusCode::CREATED);
    assert_eq!(first.body, second.body);
    assert_eq!(second.header("idempotent-replayed"), "true");
    app.provisioned(first.id()).await;
    let third = ask().send().await.is(StatusCode::CREATED);
    assert_eq!(third.body, first.body, "also when the application's name is taken by then");
    let list = app.get("/api/operator/tenants").by(&operator).after(&first).send().await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
}

/// A tenant without a trial, and one whose trial has expired.
#[tokio::test]
async fn an_expired_trial_lets_staff_read_only() {
    let app = TestApp::new().await;
    let expired = app.provision_with("late", json!({"trial_ends_at": "2020-01-01T00:00:00Z"})).await;
    let none = app.provision_with("paid", json!({"trial_ends_at": null})).await;
    let owner = app.token_of(expired.owner, Role::Owner, Some(expired.id));
    app.get("/api/v1/tenants/me").by(&owner).send().await.is(StatusCode::OK);
    let rename = app.patch("/api/v1/tenants/me", json!({"name": "Later"})).by(&owner).send().await;
    rename.refused(403, "ERR-AUTH-403", "read_only");
    let owner = app.token_of(none.owner, Role::Owner, Some(none.id));
    let me = app.get("/api/v1/tenants/me").by(&owner).send().await.is(StatusCode::OK);
    assert_eq!((&me.body["status"], &me.body["trial_ends_at"]), (&json!("active"), &json!(null)));
    assert!(me.body.get("suspension_reason").is_none() && me.body.get("created_by").is_none());
}
