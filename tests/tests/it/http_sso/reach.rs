//! What a session that a provider began reaches, and what ends it.

use reqwest::{Method, StatusCode};
use schemas::values::Role;
use serde_json::json;

use super::SSO;
use super::browser::{Away, claims, refused};
use crate::app::Answer;
use crate::http_sign_in::{Acme, PASSWORD, Session};
use crate::http_tenant_security::enrol;

const ANN: &str = "ann@acme.example";

fn ended(answer: Answer) {
    answer.refused(401, "ERR-AUTH-440", "session_expired");
}

/// CC-SEC-001: whom one tenant's provider vouches for is nobody in another tenant.
#[tokio::test]
async fn a_provider_opens_its_own_tenant_and_no_other() {
    let (acme, provider, id) = Acme::with_provider(json!({})).await;
    let owner = acme.session().await.access;
    acme.member(&owner, ANN, Role::User).await;
    // The same person owns another tenant.
    let other = acme.app.provision_with("other", json!({"owner_email": ANN})).await;
    let session = acme.sso_session(id).await;
    let me = acme.me(&session.access).await.is(StatusCode::OK).body;
    assert_eq!(me["memberships"], json!([{"tenant": acme.tenant.id, "role": "user", "kind": "staff"}]));
    for path in ["/auth/me", "/api/v1/tenants/me", "/api/v1/users", SSO] {
        let elsewhere = acme.app.get(path).by(&session.access).header("x-org", &other.id.to_string());
        elsewhere.send().await.refused(403, "ERR-AUTH-403", "wrong_org");
    }
    let refreshed = Session::of(&acme.refresh(&session.refresh).await.is(StatusCode::OK));
    let elsewhere = acme.app.get("/auth/me").by(&refreshed.access).header("x-org", &other.id.to_string());
    elsewhere.send().await.refused(403, "ERR-AUTH-403", "wrong_org");
    // The owner of that tenant is no member of this one.
    provider.does().claims = json!({"sub": "subject-2", "email": "stranger@other.example"});
    refused(acme.sso(id).await);
    // Another tenant's provider that says the same of the same subject vouches for nobody here.
    let theirs = Acme { app: acme.app, tenant: other };
    let by = theirs.app.token(Role::Owner, Some(theirs.tenant.id));
    provider.does().claims = json!({"email": "x@other.example"});
    let made = theirs.app.post(SSO, provider.wish()).by(&by).send().await.is(StatusCode::CREATED).id();
    refused(theirs.sso(made).await);
}

/// What is the person's in all tenants is no tenant's provider's to touch.
#[tokio::test]
async fn it_looks_after_nothing_that_is_the_persons_everywhere() {
    let (acme, _, id) = Acme::with_provider(json!({"trusts_mfa": true})).await;
    let owner = acme.session().await.access;
    acme.member(&owner, ANN, Role::User).await;
    let session = acme.sso_session(id).await;
    let mut refused = 0;
    for endpoint in gateway::url_map::url_map().endpoints() {
        let is_theirs = endpoint.path.starts_with("/api/v1/users/me") || endpoint.path == "/auth/logout-all";
        if !is_theirs {
            continue;
        }
        let path = endpoint.path.replace("{id}", &session.id.to_string());
        let mut call = acme.app.call(endpoint.method.clone(), &path).by(&session.access);
        if endpoint.method != Method::GET {
            call = call.json(json!({}));
        }
        call.send().await.refused(403, "ERR-AUTH-403", "sso_session");
        refused += 1;
    }
    assert!(refused >= 18, "only {refused} endpoints were refused");
    acme.me(&session.access).await.is(StatusCode::OK);
    acme.app.get("/auth/me/access").by(&session.access).send().await.is(StatusCode::OK);
    acme.app.post("/auth/logout", json!({})).by(&session.access).send().await.is(StatusCode::NO_CONTENT);
    ended(acme.me(&session.access).await);
}

/// FR-AUTH-003, FR-AUTH-005
#[tokio::test]
async fn removing_a_provider_ends_what_it_began_and_nothing_else() {
    let (acme, _, id) = Acme::with_provider(json!({})).await;
    let owner = acme.session().await.access;
    acme.member(&owner, ANN, Role::User).await;
    let by_password = Session::of(&acme.log_in(ANN, PASSWORD).await.is(StatusCode::OK));
    let session = acme.sso_session(id).await;
    let away = Away::begin(&acme.app, id).await;
    acme.change(id, json!({"name": "Another name", "provision": true})).await;
    acme.me(&session.access).await.is(StatusCode::OK);
    acme.app.delete(&format!("{SSO}/{id}")).by(&owner).send().await.is(StatusCode::NO_CONTENT);
    ended(acme.me(&session.access).await);
    ended(acme.refresh(&session.refresh).await);
    acme.me(&by_password.access).await.is(StatusCode::OK);
    let back = away.at_provider().await;
    refused(away.come_back(&acme.app, &back).await);
    let again = acme.app.get(&format!("/auth/sso/{id}/start")).send().await;
    again.is(StatusCode::NOT_FOUND);
    let found = acme.app.get("/auth/sso/discover?email=ann@acme.example").send().await;
    assert_eq!(found.body, json!({"items": []}));
}

/// REQUIREMENTS §12, ruling 2
#[tokio::test]
async fn where_a_provider_is_required_members_come_by_it_and_owners_may_come_by_password() {
    let (acme, _, id) = Acme::with_provider(json!({})).await;
    let owner = acme.session().await.access;
    acme.member(&owner, ANN, Role::Administrator).await;
    let ann = Session::of(&acme.log_in(ANN, PASSWORD).await.is(StatusCode::OK)).access;
    let token = json!({"name": "Export", "permissions": ["users:read", "users:list"]});
    let token = acme.app.post("/api/v1/users/me/tokens", token).by(&ann).send().await.is(StatusCode::CREATED);
    let token = token.body["token"].as_str().expect("it is shown").to_owned();
    let users = async |by: &str| acme.app.get("/api/v1/users").by(by).send().await;
    users(&ann).await.is(StatusCode::OK);
    users(&token).await.is(StatusCode::OK);
    acme.change(id, json!({"required": true})).await;
    users(&ann).await.refused(403, "ERR-AUTH-403", "sso_required");
    users(&token).await.refused(403, "ERR-AUTH-403", "sso_required");
    users(&owner).await.is(StatusCode::OK);
    users(&acme.sso_session(id).await.access).await.is(StatusCode::OK);
    // What is theirs alone they still look after.
    acme.app.get("/api/v1/users/me").by(&ann).send().await.is(StatusCode::OK);
    acme.change(id, json!({"required": false})).await;
    users(&ann).await.is(StatusCode::OK);
}

/// NFR-SEC-003: the person's own second factor is wanted, unless the tenant trusts its provider with that.
#[tokio::test]
async fn a_second_factor_is_wanted_unless_the_provider_is_trusted_to_have_asked_for_one() {
    let (acme, provider, id) = Acme::with_provider(json!({})).await;
    let owner = acme.session().await.access;
    acme.member(&owner, ANN, Role::User).await;
    provider.does().claims = json!({"amr": ["pwd", "mfa"]});
    let session = acme.sso_session(id).await;
    assert_eq!(claims(&session.access)["amr"], json!(["sso"]), "it is not trusted");
    let ann = Session::of(&acme.log_in(ANN, PASSWORD).await.is(StatusCode::OK)).access;
    let (totp, then) = enrol(&acme.app, &ann).await;
    let asked = acme.sso(id).await.refused(401, "ERR-AUTH-461", "mfa_required");
    let show = |challenge: &serde_json::Value, code: String| {
        acme.app.post("/auth/login/mfa", json!({"challenge": challenge, "code": code})).send()
    };
    refused(show(&asked.body["challenge"], "000000".to_owned()).await);
    let shown = show(&asked.body["challenge"], totp.generate(then + 30).to_string()).await;
    let shown = Session::of(&shown.is(StatusCode::OK));
    assert_eq!(claims(&shown.access)["amr"], json!(["sso", "otp", "mfa"]));
    acme.app.get("/api/v1/users/me").by(&shown.access).send().await.refused(
        403,
        "ERR-AUTH-403",
        "sso_session",
    );

    acme.change(id, json!({"trusts_mfa": true})).await;
    let trusted = acme.sso_session(id).await;
    assert_eq!(claims(&trusted.access)["amr"], json!(["sso", "mfa"]));
    provider.does().claims = json!({"amr": ["pwd"]});
    let asked = acme.sso(id).await.refused(401, "ERR-AUTH-461", "mfa_required");
    // What rested on the trust ends with it, and a challenge leads nowhere once the provider is gone.
    acme.change(id, json!({"trusts_mfa": false})).await;
    ended(acme.me(&trusted.access).await);
    acme.app.delete(&format!("{SSO}/{id}")).by(&owner).send().await.is(StatusCode::NO_CONTENT);
    let late = show(&asked.body["challenge"], totp.generate(then + 60).to_string()).await;
    late.refused(401, "ERR-AUTH-401", "invalid_token");
}

/// RFC 9470: fresh is who proved it to the provider a moment ago, if that says so.
#[tokio::test]
async fn whoever_signed_in_by_a_provider_is_as_fresh_as_it_says() {
    let (acme, provider, id) = Acme::with_provider(json!({})).await;
    let now = acme.app.server.state.clock.now().timestamp();
    let change = async |by: &str| {
        acme.app.put("/api/v1/tenants/me/security", json!({"mfa_required": false})).by(by).send().await
    };
    let stale = |answer: Answer| {
        answer.refused(401, "ERR-AUTH-401", "fresh_authentication_required");
    };
    let says = |claim: serde_json::Value| {
        provider.does().claims = json!({"email": "owner@acme.example", "auth_time": claim});
    };
    says(json!(null));
    stale(change(&acme.sso_session(id).await.access).await);
    says(json!(now - 40 * 24 * 3600));
    let old = acme.sso_session(id).await;
    stale(change(&old.access).await);
    acme.refresh(&old.refresh).await.is(StatusCode::OK);
    says(json!(now));
    let away = Away::begin_with(&acme.app, id, "?fresh=true").await;
    assert_eq!(away.asked("max_age"), "0");
    let back = away.at_provider().await;
    let fresh = Session::of(&away.come_back(&acme.app, &back).await.is(StatusCode::OK));
    change(&fresh.access).await.is(StatusCode::OK);
    // Nobody is fresh for longer than others are.
    says(json!(now + 3600));
    let ahead = acme.sso_session(id).await;
    assert!(claims(&ahead.access)["auth_time"].as_i64() <= claims(&ahead.access)["iat"].as_i64());
}

/// NFR-SEC-006: what a provider vouches for makes no device and no network of the person's better known.
#[tokio::test]
async fn signing_in_by_a_provider_ends_no_other_session_and_vouches_for_no_device() {
    let (acme, _, id) = Acme::with_provider(json!({})).await;
    let owner = acme.session().await.access;
    let ann = acme.member(&owner, ANN, Role::User).await;
    let by_password = Session::of(&acme.log_in(ANN, PASSWORD).await.is(StatusCode::OK));
    let look = async || {
        let (user, _) =
            acme.app.server.state.engine.look::<aggregates::User>(ann).await.expect("it is there");
        user.existing().expect("a person").sign_in.clone()
    };
    let before = look().await;
    let first = acme.sso(id).await.is(StatusCode::OK);
    assert_eq!(first.body["device"], serde_json::Value::Null);
    for _ in 0..aggregates::user::SSO_SESSIONS_MAX {
        acme.sso(id).await.is(StatusCode::OK);
    }
    let after = look().await;
    assert_eq!(after.devices, before.devices);
    assert_eq!(after.sessions.len(), 1 + aggregates::user::SSO_SESSIONS_MAX);
    acme.me(&by_password.access).await.is(StatusCode::OK);
    ended(acme.me(&Session::of(&first).access).await);
}

/// CON-COMP-001: what a provider called somebody who was erased is nobody's any more.
#[tokio::test]
async fn whoever_was_erased_may_come_again_as_somebody_new() {
    let (acme, _, id) = Acme::with_provider(json!({"provision": true})).await;
    let owner = acme.session().await.access;
    let ann = acme.member(&owner, ANN, Role::User).await;
    acme.sso(id).await.is(StatusCode::OK);
    let by_password = Session::of(&acme.log_in(ANN, PASSWORD).await.is(StatusCode::OK)).access;
    let erased = acme.app.delete("/api/v1/users/me").by(&by_password).send().await;
    assert!(erased.status.is_success(), "{}", erased.text);
    let again = acme.sso_session(id).await;
    let me = acme.me(&again.access).await.is(StatusCode::OK).body;
    assert_ne!(me["id"], json!(ann));
}
