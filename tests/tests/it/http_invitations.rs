//! Invitations over HTTP: listed while they are open, sent anew, and taken back.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, PATIENCE, TestApp, TestTenant};
use crate::http_sign_in::PASSWORD;

const ROOT: &str = "/api/v1/invitations";

struct Acme {
    app: TestApp,
    tenant: TestTenant,
    owner: String,
}

impl Acme {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let tenant = app.provision("acme").await;
        let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
        Self { app, tenant, owner }
    }

    async fn invite(&self, body: Value) -> Answer {
        let sent = self.app.post(ROOT, body).by(&self.owner).send().await.is(StatusCode::CREATED);
        self.app.settled().await;
        sent
    }

    /// Invites somebody who is not known yet, as this role; the invitation and the person.
    async fn invited(&self, name: &str, role: Role) -> (Uuid, Uuid) {
        let email = format!("{name}@acme.example");
        let id = self.invite(json!({"email": email, "role": role.as_str()})).await.id();
        let shown = self.shown().await.into_iter().find(|shown| shown["email"] == email.as_str());
        let person = shown.expect("it is listed")["user"].as_str().expect("an id").parse().expect("an id");
        (id, person)
    }

    /// The open invitations, the last first.
    async fn shown(&self) -> Vec<Value> {
        self.app.settled().await;
        let list = self.app.get(ROOT).by(&self.owner).send().await.is(StatusCode::OK);
        list.body["items"].as_array().expect("a list").clone()
    }

    async fn resend(&self, id: Uuid, by: &str) -> Answer {
        self.app.post(&format!("{ROOT}/{id}/resend"), json!({})).by(by).send().await
    }

    async fn revoke(&self, id: Uuid, by: &str) -> Answer {
        self.app.delete(&format!("{ROOT}/{id}")).by(by).send().await
    }

    async fn accept(&self, token: &str) -> Answer {
        let body = json!({"token": token, "password": PASSWORD});
        self.app.post("/auth/invitations/accept", body).send().await
    }

    /// An administrator's token.
    async fn administrator(&self) -> String {
        let (_, person) = self.invited("adm", Role::Administrator).await;
        self.app.accept(self.tenant.id, person).await;
        self.app.token_of(person, Role::Administrator, Some(self.tenant.id))
    }
}

fn field<'a>(of: &'a [Value], name: &str) -> Vec<&'a Value> {
    of.iter().map(|one| &one[name]).collect()
}

/// FR-TENANT-001, UC-TENANT-INVITE
#[tokio::test]
async fn invitations_are_listed_until_they_are_accepted() {
    let acme = Acme::new().await;
    assert!(acme.shown().await.is_empty(), "the owner has accepted");
    let (ben, person) = acme.invited("ben", Role::User).await;
    let cat =
        acme.invite(json!({"email": "cat@acme.example", "role": "administrator", "kind": "client"})).await;
    let shown = acme.shown().await;
    assert_eq!(field(&shown, "email"), ["cat@acme.example", "ben@acme.example"]);
    assert_eq!(field(&shown, "id"), [&json!(cat.id()), &json!(ben)]);
    assert_eq!(field(&shown, "status"), ["pending", "pending"]);
    assert_eq!((&shown[0]["role"], &shown[0]["kind"]), (&json!("administrator"), &json!("client")));
    assert!(shown[0].get("first_name").is_none(), "whose the address is, it does not tell");
    let filtered = format!("{ROOT}?filter[role][eq]=administrator");
    let filtered = acme.app.get(&filtered).by(&acme.owner).send().await.is(StatusCode::OK);
    assert_eq!(filtered.body["items"].as_array().map(Vec::len), Some(1));
    let page = acme.app.get(&format!("{ROOT}?limit=1")).by(&acme.owner).send().await.is(StatusCode::OK);
    assert!(page.header("link").contains("rel=\"next\""));
    // Not by name: it would tell whose an address is that another tenant knows.
    let by_name = format!("{ROOT}?filter[first_name][eq]=Ben");
    acme.app.get(&by_name).by(&acme.owner).send().await.names(&["filter[first_name][eq]"]);

    let token = acme.app.invitation(acme.tenant.id, person).await;
    acme.accept(&token).await.is(StatusCode::OK);
    assert_eq!(field(&acme.shown().await, "email"), ["cat@acme.example"]);
}

/// FR-TENANT-007, UC-TENANT-INVITE-RESEND
#[tokio::test]
async fn an_invitation_is_sent_anew_and_the_former_link_is_void() {
    let acme = Acme::new().await;
    let (ben, person) = acme.invited("ben", Role::User).await;
    let former = acme.app.invitation(acme.tenant.id, person).await;
    let resend = || {
        let path = format!("{ROOT}/{ben}/resend");
        acme.app.post(&path, json!({})).by(&acme.owner).idempotency_key("again").send()
    };
    let sent = resend().await.is(StatusCode::OK);
    assert_eq!((sent.id(), &sent.body["sequence"]), (ben, &json!(2)));
    let last = acme.app.invitation(acme.tenant.id, person).await;
    assert_ne!(former, last);
    resend().await.is(StatusCode::OK);
    assert_eq!(acme.app.invitation(acme.tenant.id, person).await, last, "a retry sends nothing");
    acme.accept(&former).await.refused(422, "ERR-VAL-422", "invitation_invalid");
    acme.accept(&last).await.is(StatusCode::OK);
    let accepted = acme.resend(ben, &acme.owner).await;
    accepted.refused(409, "ERR-VAL-409", "already_accepted");
}

/// FR-TENANT-007
#[tokio::test]
async fn an_invitation_that_has_expired_is_listed_as_such_and_can_be_sent_anew() {
    let acme = Acme::new().await;
    let soon = acme.app.server.state.clock.now() + chrono::TimeDelta::seconds(1);
    let ben = acme.invite(json!({"email": "ben@acme.example", "expires_at": soon})).await.id();
    let expired = async { while acme.shown().await[0]["status"] != "expired" {} };
    tokio::time::timeout(PATIENCE, expired).await.expect("it expires");
    let shown = acme.shown().await.remove(0);
    let person: Uuid = shown["user"].as_str().expect("an id").parse().expect("an id");
    let former = acme.app.invitation(acme.tenant.id, person).await;
    acme.accept(&former).await.refused(422, "ERR-VAL-422", "invitation_expired");
    acme.resend(ben, &acme.owner).await.is(StatusCode::OK);
    assert_eq!(field(&acme.shown().await, "status"), ["pending"]);
    let last = acme.app.invitation(acme.tenant.id, person).await;
    acme.accept(&last).await.is(StatusCode::OK);
}

/// UC-TENANT-INVITE
#[tokio::test]
async fn an_invitation_is_taken_back_until_it_is_accepted() {
    let acme = Acme::new().await;
    let (ben, person) = acme.invited("ben", Role::User).await;
    let token = acme.app.invitation(acme.tenant.id, person).await;
    acme.revoke(ben, &acme.owner).await.is(StatusCode::OK);
    assert!(acme.shown().await.is_empty());
    acme.accept(&token).await.refused(422, "ERR-VAL-422", "invitation_invalid");
    acme.revoke(ben, &acme.owner).await.refused(404, "ERR-RES-404", "not_found");
    acme.resend(ben, &acme.owner).await.refused(404, "ERR-RES-404", "not_found");
    // Invited again, it is the same membership with another link.
    assert_eq!(acme.invited("ben", Role::User).await, (ben, person));
    acme.accept(&token).await.refused(422, "ERR-VAL-422", "invitation_invalid");
    let token = acme.app.invitation(acme.tenant.id, person).await;
    acme.accept(&token).await.is(StatusCode::OK);
    let before = acme.app.events().await;
    acme.revoke(ben, &acme.owner).await.refused(409, "ERR-VAL-409", "already_accepted");
    assert_eq!(acme.app.events().await, before, "whoever accepted is removed by nothing but a removal");
}

#[tokio::test]
async fn an_administrator_sees_to_all_invitations_but_owners() {
    let acme = Acme::new().await;
    let administrator = acme.administrator().await;
    let (ben, _) = acme.invited("ben", Role::Administrator).await;
    acme.resend(ben, &administrator).await.is(StatusCode::OK);
    acme.revoke(ben, &administrator).await.is(StatusCode::OK);
    let (cat, _) = acme.invited("cat", Role::Owner).await;
    acme.resend(cat, &administrator).await.refused(403, "ERR-AUTH-403", "forbidden");
    acme.revoke(cat, &administrator).await.refused(403, "ERR-AUTH-403", "forbidden");
    let body = json!({"email": "dan@acme.example", "role": "owner"});
    acme.app.post(ROOT, body).by(&administrator).send().await.refused(403, "ERR-AUTH-403", "forbidden");
}

/// An invited owner is among the tenant's owners: it goes as ownership goes.
#[tokio::test]
async fn an_owners_invitation_is_taken_back_as_ownership_is_and_the_last_owners_stays() {
    let acme = Acme::new().await;
    let (cat, person) = acme.invited("cat", Role::Owner).await;
    let owners = async || acme.app.provisioned(acme.tenant.id).await["owners"].clone();
    acme.app.settled().await;
    assert_eq!(owners().await.as_array().map(Vec::len), Some(2));
    let token = acme.app.invitation(acme.tenant.id, person).await;
    acme.revoke(cat, &acme.owner).await.is(StatusCode::OK);
    acme.app.settled().await;
    assert_eq!(owners().await, json!([acme.tenant.owner]));
    assert!(acme.shown().await.is_empty());
    acme.accept(&token).await.refused(422, "ERR-VAL-422", "invitation_invalid");

    let bee = acme.app.provision_only("bee", json!({})).await;
    let owner = acme.app.token(Role::Owner, Some(bee.id));
    let only = aggregates::membership::id_of(bee.id.into(), bee.owner.into());
    acme.revoke(only.0, &owner).await.refused(422, "ERR-VAL-422", "last_owner");
    acme.resend(only.0, &owner).await.is(StatusCode::OK);
}
