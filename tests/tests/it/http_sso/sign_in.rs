//! Who gets in by a provider, and who doesn't.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;
use uuid::Uuid;

use super::browser::{Away, claims, refused};
use crate::app::TestApp;
use crate::http_sign_in::{Acme, PASSWORD, Session};
use crate::openid_provider::{Foreign, Provider};

const ANN: &str = "ann@acme.example";

/// FR-AUTH-001, FR-AUTH-003, RT-001, CC-AUTH-001: by a provider that others wrote, in a process of its own.
#[tokio::test]
async fn whoever_a_foreign_provider_knows_signs_in_to_the_tenant() {
    let acme = Acme::with_private_providers().await;
    let owner = acme.session().await.access;
    let ann = acme.member(&owner, ANN, Role::User).await;
    let foreign = Foreign::open(&[json!({"sub": "subject-of-ann", "email": ANN, "email_verified": true})]);
    let wish = json!({
        "name": "Acme ID", "issuer": foreign.issuer, "client_id": "tenantry", "client_secret": "a secret",
    });
    acme.app.post(super::SSO, wish).by(&owner).send().await.is(StatusCode::CREATED);

    let found = acme.app.get("/auth/sso/discover?email=Whoever@ACME.example").send().await.is(StatusCode::OK);
    let choice = &found.body["items"][0];
    assert_eq!((&choice["name"], found.body["items"].as_array().map(Vec::len)), (&json!("Acme ID"), Some(1)));
    let provider: Uuid = choice["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let public = acme.app.server.state.keys.tokens.issuer();
    assert_eq!(choice["start_url"], format!("{public}/auth/sso/{provider}/start"));

    let away = Away::begin_with(&acme.app, provider, "?login_hint=ann@acme.example").await;
    assert_eq!(
        (away.asked("response_type"), away.asked("code_challenge_method")),
        ("code".into(), "S256".into())
    );
    assert_eq!((away.asked("scope"), away.asked("login_hint")), ("openid email".into(), ANN.into()));
    let back = foreign.sign_in(&away.to, &[("sub", "subject-of-ann")]).await;
    let session = Session::of(&away.come_back(&acme.app, &back).await.is(StatusCode::OK));
    let me = acme.me(&session.access).await.is(StatusCode::OK).body;
    assert_eq!(
        (&me["id"], &me["tenant"], &me["role"]),
        (&json!(ann), &json!(acme.tenant.id), &json!("user"))
    );
    assert_eq!(claims(&session.access)["amr"], json!(["sso"]));
    let again = Session::of(&acme.refresh(&session.refresh).await.is(StatusCode::OK));
    acme.me(&again.access).await.is(StatusCode::OK);

    // Whoever says no at the provider comes back with that.
    let away = Away::begin(&acme.app, provider).await;
    let back = foreign.sign_in(&away.to, &[("action", "deny")]).await;
    let back = if back.contains("state=") { back } else { format!("{back}&state={}", away.asked("state")) };
    away.come_back(&acme.app, &back).await.refused(401, "ERR-AUTH-401", "sso_denied");
    // Whom the tenant doesn't know is nobody, however well the provider knows them.
    let away = Away::begin(&acme.app, provider).await;
    refused(away.come_back(&acme.app, &foreign.sign_in(&away.to, &[("sub", "stranger")]).await).await);
    let written = acme.app.everything_written().await;
    for readable in ["subject-of-ann", "a secret", &foreign.issuer] {
        assert!(!written.contains(readable), "{readable} is readable");
    }
}

/// CON-SEC-009: a tenant's domain leads to its providers; whether anybody is there is not looked at.
#[tokio::test]
async fn discovery_tells_of_tenants_and_of_nobody() {
    let (acme, _, provider) = Acme::with_provider(json!({})).await;
    acme.app.provision("other").await;
    let discover = async |email: &str| {
        acme.app.get(&format!("/auth/sso/discover?email={email}")).send().await.is(StatusCode::OK).body
    };
    let ours = discover("owner@acme.example").await;
    assert_eq!(ours["items"][0]["id"], json!(provider));
    assert_eq!(discover("nobody@acme.example").await, ours);
    for elsewhere in ["owner@other.example", "a@unknown.example", "a@acme.example.org"] {
        assert_eq!(discover(elsewhere).await, json!({"items": []}), "{elsewhere}");
    }
    acme.app.get("/auth/sso/discover").send().await.names(&["email"]);
    acme.app.get("/auth/sso/discover?email=x").send().await.names(&["email"]);
    acme.app.get(&format!("/auth/sso/{}/start", Uuid::nil())).send().await.is(StatusCode::NOT_FOUND);
}

/// RFC 6749 §10.12: nobody signs another browser in, and an answer is good once.
#[tokio::test]
async fn only_the_browser_that_began_finishes_and_only_once() {
    let (acme, provider, id) = Acme::with_provider(json!({})).await;
    let owner = acme.session().await.access;
    acme.member(&owner, ANN, Role::User).await;
    let wrong = |answer: crate::app::Answer| {
        answer.refused(401, "ERR-AUTH-401", "invalid_token");
    };
    let away = Away::begin(&acme.app, id).await;
    let back = away.at_provider().await;
    wrong(acme.app.get(&back).send().await);
    let victim = Away::begin(&acme.app, id).await;
    wrong(victim.come_back(&acme.app, &back).await);
    let both = format!("{}; {}", victim.cookie, away.cookie);
    wrong(acme.app.get(&back).header("cookie", &both).send().await);
    let twice = format!("{back}&state={}", away.asked("state"));
    away.come_back(&acme.app, &twice).await.names(&["state"]);
    assert!(!provider.does().asked.contains(&"/token".to_owned()), "no code was exchanged for a stranger");

    let first = away.come_back(&acme.app, &back).await.is(StatusCode::OK);
    assert!(first.header("set-cookie").contains("Max-Age=0"));
    // A provider that takes a code twice makes no second session of it either; nor after the first has ended.
    provider.does().forgets_codes = false;
    let away = Away::begin(&acme.app, id).await;
    let back = away.at_provider().await;
    let session = Session::of(&away.come_back(&acme.app, &back).await.is(StatusCode::OK));
    refused(away.come_back(&acme.app, &back).await);
    acme.app.post("/auth/logout", json!({})).by(&session.access).send().await.is(StatusCode::NO_CONTENT);
    refused(away.come_back(&acme.app, &back).await);
}

/// FR-TENANT-001: an invitation is accepted by it, a member is known by it; nobody else gets in, and all hear the same.
#[tokio::test]
async fn it_lets_in_members_and_whoever_was_invited_and_nobody_else() {
    let (acme, provider, id) = Acme::with_provider(json!({})).await;
    let ann = acme.invited(ANN).await;
    provider.does().claims = json!({"email_verified": false});
    refused(acme.sso(id).await);
    provider.does().claims = json!({"email_verified": null});
    refused(acme.sso(id).await);
    provider.does().claims = json!({"email": "nobody@acme.example"});
    refused(acme.sso(id).await);
    let before = acme.app.events().await;
    refused(acme.sso(id).await);
    assert_eq!(acme.app.events().await, before, "nothing was written");

    provider.does().claims = json!({});
    let session = acme.sso_session(id).await;
    assert_eq!(acme.me(&session.access).await.body["id"], json!(ann));
    // From now on the subject is theirs, whatever address it comes with.
    provider.does().claims = json!({"email": "elsewhere@gmail.example", "email_verified": false});
    assert_eq!(acme.me(&acme.sso_session(id).await.access).await.body["id"], json!(ann));
    // And no other subject is, with their address or without.
    provider.does().claims = json!({"sub": "subject-2"});
    refused(acme.sso(id).await);
    provider.does().claims = json!({"sub": ""});
    refused(acme.sso(id).await);

    let owner = acme.session().await.access;
    let path = format!("/api/v1/users/{ann}");
    provider.does().claims = json!({});
    let status =
        |status: &str| acme.app.put(&format!("{path}/status"), json!({"status": status})).by(&owner).send();
    status("disabled").await.is(StatusCode::OK);
    refused(acme.sso(id).await);
    status("active").await.is(StatusCode::OK);
    acme.sso(id).await.is(StatusCode::OK);
    acme.app.delete(&path).by(&owner).send().await.is(StatusCode::OK);
    refused(acme.sso(id).await);
    // Whoever is invited again is known by another subject too: the former is nobody's.
    acme.invited(ANN).await;
    provider.does().claims = json!({"sub": "subject-2"});
    acme.sso(id).await.is(StatusCode::OK);
    acme.app.disable(ann).await;
    refused(acme.sso(id).await);
}

/// FR-AUTH-003, UserProvisioned
#[tokio::test]
async fn whoever_the_provider_vouches_for_becomes_a_member_only_where_the_owner_said_so() {
    let (acme, provider, id) = Acme::with_provider(json!({})).await;
    refused(acme.sso(id).await);
    acme.change(id, json!({"provision": true})).await;
    provider.does().claims = json!({"email": "ann@gmail.example"});
    refused(acme.sso(id).await);
    provider.does().claims = json!({"email": "ann@acme.example.org"});
    refused(acme.sso(id).await);
    provider.does().claims = json!({});
    let session = acme.sso_session(id).await;
    acme.app.settled().await;
    let me = acme.me(&session.access).await.body;
    assert_eq!((&me["role"], &me["user"]["email"]), (&json!("user"), &json!(ANN)));
    // Somebody who is known elsewhere is the same person.
    let elsewhere = acme.app.provision_with("other", json!({"owner_email": "ben@acme.example"})).await;
    provider.does().claims = json!({"sub": "subject-2", "email": "ben@acme.example"});
    let ben = acme.sso_session(id).await;
    assert_eq!(acme.me(&ben.access).await.body["id"], json!(elsewhere.owner));
    // An administrator's removal is not undone by the provider.
    let owner = acme.session().await.access;
    let gone = format!("/api/v1/users/{}", elsewhere.owner);
    acme.app.delete(&gone).by(&owner).send().await.is(StatusCode::OK);
    refused(acme.sso(id).await);
}

/// REQUIREMENTS §5
#[tokio::test]
async fn a_tenant_without_room_gets_no_member_by_it() {
    let app = TestApp::with(&super::PRIVATE).await;
    let tenant = app.provision_only("acme", json!({"plan": "free"})).await;
    let token = app.invitation(tenant.id, tenant.owner).await;
    let body = json!({"token": token, "password": PASSWORD, "first_name": "Ann"});
    app.post("/auth/invitations/accept", body).send().await.is(StatusCode::OK);
    let acme = Acme { app, tenant };
    let provider = Provider::open().await;
    let id = acme.configure(&provider, json!({"provision": true})).await;
    let room = schemas::values::Plan::Free.limits().users - 1;
    for n in 0..room {
        provider.does().claims = json!({"sub": format!("s{n}"), "email": format!("n{n}@acme.example")});
        acme.sso(id).await.is(StatusCode::OK);
        acme.app.settled().await;
    }
    provider.does().claims = json!({"sub": "one-more", "email": "more@acme.example"});
    let before = acme.app.events().await;
    refused(acme.sso(id).await);
    assert_eq!(acme.app.events().await, before);
    provider.does().claims = json!({"sub": "s0", "email": "n0@acme.example"});
    acme.sso(id).await.is(StatusCode::OK);
}
