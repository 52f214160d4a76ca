//! People who want to be forgotten, and go (CON-COMP-001).

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;

use crate::app::TestApp;
use crate::feeds::eventually;
use crate::http_sign_in::{Acme, PASSWORD, Session, accept};

/// CON-COMP-001
#[tokio::test]
async fn whoever_wants_to_be_forgotten_leaves_every_tenant_and_opens_nothing_any_more() {
    let acme = Acme::new().await;
    let zeta = Acme::tenant(&acme.app, "zeta").await;
    let owner = acme.session().await.access;
    let ben = acme.member(&owner, "ben@people.example", Role::Owner).await;
    let of_zeta = Session::of(&acme.log_in("owner@zeta.example", PASSWORD).await).access;
    let body = json!({"email": "ben@people.example"});
    let elsewhere = acme.app.post("/api/v1/users", body.clone()).by(&of_zeta).send().await;
    assert_eq!(elsewhere.is(StatusCode::CREATED).id(), ben, "it is one person");

    let session = Session::of(&acme.log_in("ben@people.example", PASSWORD).await);
    let gone = acme.app.delete("/api/v1/users/me").by(&session.access).send().await;
    gone.is(StatusCode::NO_CONTENT);

    acme.me(&session.access).await.refused(401, "ERR-AUTH-440", "session_expired");
    acme.refresh(&session.refresh).await.refused(401, "ERR-AUTH-440", "session_expired");
    acme.log_in("ben@people.example", PASSWORD).await.refused(401, "ERR-AUTH-401", "invalid_credentials");
    acme.app.settled().await;
    for (token, tenant) in [(&owner, acme.tenant.id), (&of_zeta, zeta.id)] {
        let users = acme.app.get("/api/v1/users").by(token).send().await.is(StatusCode::OK);
        assert!(!users.text.contains(&ben.to_string()), "{tenant}: {}", users.text);
        let seen = acme.app.get(&format!("/api/v1/users/{ben}")).by(token).send().await;
        seen.refused(404, "ERR-RES-404", "not_found");
    }
    let again = acme.app.post("/api/v1/users", body).by(&owner).send().await.is(StatusCode::CREATED);
    assert_ne!(again.id(), ben, "the address is somebody's whom nobody knows");
    accept(&acme.app, acme.tenant.id, again.id()).await;
    let anew = Session::of(&acme.log_in("ben@people.example", PASSWORD).await);
    assert_eq!(acme.me(&anew.access).await.is(StatusCode::OK).body["id"], again.body["id"]);
}

#[tokio::test]
async fn the_last_owner_of_a_tenant_stays_in_all_of_them_until_there_is_another() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let zeta = Acme::tenant(&acme.app, "zeta").await;
    let of_zeta = Session::of(&acme.log_in("owner@zeta.example", PASSWORD).await).access;
    let body = json!({"email": acme.owner()});
    acme.app.post("/api/v1/users", body).by(&of_zeta).send().await.is(StatusCode::CREATED);

    let before = acme.app.events().await;
    let refused = acme.app.delete("/api/v1/users/me").by(&owner).send().await;
    refused.refused(422, "ERR-VAL-422", "last_owner");
    assert_eq!(acme.app.events().await, before, "nothing is half-done in {}", zeta.id);

    acme.member(&owner, "ben@people.example", Role::Owner).await;
    acme.app.delete("/api/v1/users/me").by(&owner).send().await.is(StatusCode::NO_CONTENT);
    let ben = Session::of(&acme.log_in("ben@people.example", PASSWORD).await).access;
    acme.app.settled().await;
    let operator = acme.app.token(Role::Operator, None);
    let tenant = format!("/api/operator/tenants/{}", acme.tenant.id);
    let tenant = acme.app.get(&tenant).by(&operator).send().await.is(StatusCode::OK).body;
    assert_eq!(tenant["owners"].as_array().map(Vec::len), Some(1), "{tenant}");
    acme.app.delete("/api/v1/users/me").by(&ben).send().await.refused(422, "ERR-VAL-422", "last_owner");
}

/// A stranger registers a tenant in somebody's name: that binds nobody, and keeps nobody from going.
#[tokio::test]
async fn what_a_stranger_registered_in_their_name_keeps_nobody_from_being_forgotten() {
    let app = TestApp::with(&["--registration", "on"]).await;
    let tenant = Acme::tenant(&app, "acme").await;
    let acme = Acme { app, tenant };
    let owner = acme.session().await.access;
    let ben = acme.member(&owner, "ben@people.example", Role::User).await;
    let wish = json!({"name": "Trap", "domain": "trap.example", "email": "ben@people.example"});
    acme.app.post("/auth/register", wish).send().await.is(StatusCode::ACCEPTED);
    let memory = &acme.app.server.state.access.memory;
    let two = async || memory.memberships(ben.into()).is_some_and(|all| all.len() == 2);
    eventually("they are the registered tenant's owner", two).await;
    acme.app.settled().await;

    let bens = Session::of(&acme.log_in("ben@people.example", PASSWORD).await).access;
    let stale = acme.app.delete("/api/v1/users/me").by(&bens).header("if-match", "\"1\"").send().await;
    stale.refused(412, "ERR-VAL-409", "precondition_failed");
    acme.me(&bens).await.is(StatusCode::OK);
    acme.app.delete("/api/v1/users/me").by(&bens).send().await.is(StatusCode::NO_CONTENT);
    assert_eq!(memory.memberships(ben.into()).map(|all| all.len()), Some(0), "they left both");
}
