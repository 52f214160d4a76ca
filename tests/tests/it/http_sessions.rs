//! Which sessions are listed.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;

use crate::http_sign_in::{Acme, PASSWORD, Session};

/// FR-AUTH-005, FR-TENANT-004: what a change of a membership or a suspension ended is listed no more.
#[tokio::test]
async fn sessions_that_a_new_role_or_a_suspension_ended_are_not_listed() {
    let acme = Acme::new().await;
    let owner = acme.session().await;
    let ben = acme.member(&owner.access, "ben@acme.example", Role::User).await;
    let log_in =
        async |email: &str| Session::of(&acme.log_in(email, PASSWORD).await.is(StatusCode::OK)).access;
    let listed = async |by: &str, path: &str| {
        let list = acme.app.get(path).by(by).send().await.is(StatusCode::OK);
        list.body["items"].as_array().expect("items").len()
    };
    let mine = "/api/v1/users/me/sessions";
    let (of_ben, of_owner) =
        (format!("/api/v1/users/{ben}/sessions"), format!("/api/v1/users/{}/sessions", acme.tenant.owner));
    let bens = log_in("ben@acme.example").await;
    assert_eq!((listed(&bens, mine).await, listed(&owner.access, &of_ben).await), (1, 1));
    let role = acme.app.put(&format!("/api/v1/users/{ben}/role"), json!({"role": "administrator"}));
    role.by(&owner.access).send().await.is(StatusCode::OK);
    assert_eq!(listed(&owner.access, &of_ben).await, 0);
    let bens = log_in("ben@acme.example").await;
    assert_eq!((listed(&bens, mine).await, listed(&owner.access, &of_ben).await), (1, 1));

    let operator = acme.app.token(Role::Operator, None);
    for what in ["suspend", "reactivate"] {
        let path = format!("/api/operator/tenants/{}/{what}", acme.tenant.id);
        acme.app.post(&path, json!({"reason": "a test"})).by(&operator).send().await.is(StatusCode::OK);
    }
    let owner = log_in(acme.owner()).await;
    assert_eq!(
        (listed(&owner, &of_ben).await, listed(&owner, &of_owner).await, listed(&owner, mine).await),
        (0, 1, 1)
    );
}
