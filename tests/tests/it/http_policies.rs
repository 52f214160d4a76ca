//! Policies over HTTP: published, in force when the answer comes, shown and withdrawn.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;
use uuid::Uuid;

use crate::app::TestApp;

const PATH: &str = "/api/operator/policies/018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b16";
const NO_PEOPLE: &str = "forbid (principal is Person, action in Action::\"tenant:people\", resource)";

/// REQUIREMENTS §4
#[tokio::test]
async fn a_policy_is_in_force_from_its_publication_to_its_withdrawal() {
    let app = TestApp::new().await;
    let acme = app.provision("acme").await;
    let (operator, owner) = (app.token(Role::Operator, None), app.token(Role::Owner, Some(acme.id)));
    let publish = |text: String| app.put(PATH, json!({ "text": text })).by(&operator);
    let users = || app.get("/api/v1/users").by(&owner).send();
    users().await.is(StatusCode::OK);

    let published = publish(format!("{NO_PEOPLE};")).send().await.is(StatusCode::OK);
    users().await.refused(403, "ERR-AUTH-403", "forbidden");
    app.get("/auth/me").by(&owner).send().await.is(StatusCode::OK);
    let shown = app.get(PATH).by(&operator).after(&published).send().await.is(StatusCode::OK);
    assert_eq!((&shown.body["effect"], &shown.body["faults"]), (&json!("forbid"), &json!([])));
    assert_eq!(shown.body["text"], format!("{NO_PEOPLE};"));
    let before = app.events().await;
    publish(format!("  {NO_PEOPLE};\r\n")).send().await.is(StatusCode::OK);
    assert_eq!(app.events().await, before, "asked twice, said once");
    let listed = app.get("/api/operator/policies").by(&operator).send().await.is(StatusCode::OK);
    assert_eq!(listed.body["items"], json!([shown.body]));

    // In place of the former; but not of one that somebody has changed meanwhile.
    let etag = shown.header("etag").to_owned();
    let clients = format!("{NO_PEOPLE} when {{ principal.kind == Kind::\"client\" }};");
    publish(clients.clone()).header("if-match", &etag).send().await.is(StatusCode::OK);
    users().await.is(StatusCode::OK);
    let stale = publish(format!("{NO_PEOPLE};")).header("if-match", &etag).send().await;
    stale.refused(412, "ERR-VAL-409", "precondition_failed");

    let withdrawn = app.delete(PATH).by(&operator).send().await.is(StatusCode::OK);
    let gone = app.get(PATH).by(&operator).after(&withdrawn).send().await;
    gone.refused(404, "ERR-RES-404", "not_found");
    app.delete(PATH).by(&operator).send().await.is(StatusCode::OK);
    let never = format!("/api/operator/policies/{}", Uuid::from_u128(1));
    app.delete(&never).by(&operator).send().await.refused(404, "ERR-RES-404", "not_found");
}

#[tokio::test]
async fn a_policy_that_is_none_is_refused_with_line_and_column_and_nothing_is_written() {
    let app = TestApp::new().await;
    let operator = app.token(Role::Operator, None);
    let before = app.events().await;
    for (text, told) in [
        ("forbid (principal, action, resource)\nwhen { 1 + };", "line 2, column"),
        ("forbid (principal is Person, action, resource)\nwhen {\n principal.age > 3 };", "line 3, column 2"),
        ("forbid (principal, action, resource == Tenant::\"x\");", "names Tenant"),
        ("  \n", "must not be empty"),
        (&"// \n".repeat(5000), "must be at most 16384 bytes long"),
    ] {
        let answer = app.put(PATH, json!({ "text": text })).by(&operator).send().await;
        let answer = answer.names(&["/text"]);
        let detail = answer.body["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(told), "{text}: {detail}");
    }
    assert_eq!(app.events().await, before);
}

/// Signatures and policies are what a request costs most: each is looked at once, and metrics tell how often that was.
#[tokio::test]
async fn a_token_is_verified_once_and_a_decision_taken_once_as_the_metrics_tell() {
    let app = TestApp::new().await;
    let acme = app.provision("acme").await;
    let owner = app.token(Role::Owner, Some(acme.id));
    let counts = async || {
        let verified = |outcome| format!("tenantry_tokens_verified_total{{outcome=\"{outcome}\"}}");
        [
            app.metric(&verified("valid")).await,
            app.metric(&verified("invalid")).await,
            app.metric("tenantry_decisions_taken_total").await,
        ]
    };
    let ask = async |token: &str| app.get("/api/v1/users").by(token).send().await.status;
    let [valid, invalid, decisions] = counts().await;
    assert_eq!(ask(&owner).await, StatusCode::OK);
    let first = counts().await;
    assert_eq!(first[..2], [valid + 1.0, invalid]);
    assert!(first[2] > decisions);
    for _ in 0..3 {
        assert_eq!(ask(&owner).await, StatusCode::OK);
    }
    assert_eq!(counts().await, first);
    // Who makes up tokens is remembered never.
    let (signed, _) = owner.rsplit_once('.').unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&format!("{signed}.{}", "A".repeat(342))).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(counts().await[..2], [first[0], invalid + 2.0]);
}
