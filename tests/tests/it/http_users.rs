//! People and memberships over HTTP: invitations, roles, status, and the last owner.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{TestApp, TestTenant};
use crate::http_sign_in::{Acme as SignedUp, PASSWORD, Session};

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

    /// Invites somebody, who accepts; with their token.
    async fn member(&self, name: &str, role: Role) -> (Uuid, String) {
        let person = self.invite(name, role).await;
        self.app.accept(self.tenant.id, person).await;
        (person, self.app.token_of(person, role, Some(self.tenant.id)))
    }

    async fn invite(&self, name: &str, role: Role) -> Uuid {
        let body = json!({"email": format!("{name}@acme.example"), "role": role.as_str()});
        let invited = self.app.post("/api/v1/users", body).by(&self.owner).send().await;
        let invited = invited.is(StatusCode::CREATED);
        assert_eq!(invited.header("location"), format!("/api/v1/users/{}", invited.id()));
        invited.id()
    }

    async fn shown(&self, person: Uuid) -> Value {
        self.app.settled().await;
        self.app.get(&format!("/api/v1/users/{person}")).by(&self.owner).send().await.is(StatusCode::OK).body
    }
}

/// FR-TENANT-001, UC-TENANT-INVITE
#[tokio::test]
async fn a_person_is_invited_listed_and_shown() {
    let acme = Acme::new().await;
    let body = json!({"email": "Ben@Acme.example", "first_name": "Ben", "kind": "client"});
    let call = || acme.app.post("/api/v1/users", body.clone()).by(&acme.owner).idempotency_key("ben");
    let invited = call().send().await.is(StatusCode::CREATED);
    let again = call().send().await.is(StatusCode::CREATED);
    assert_eq!(invited.body, again.body, "a retry is the same invitation");
    let shown = acme.shown(invited.id()).await;
    assert_eq!((&shown["email"], &shown["first_name"]), (&json!("ben@acme.example"), &json!("Ben")));
    let membership = &shown["membership"];
    assert_eq!(
        (&membership["role"], &membership["kind"], &membership["status"]),
        (&json!("user"), &json!("client"), &json!("invited"))
    );
    let list = acme.app.get("/api/v1/users?sort=email").by(&acme.owner).send().await.is(StatusCode::OK);
    let emails: Vec<_> = list.body["items"].as_array().unwrap().iter().map(|user| &user["email"]).collect();
    assert_eq!(emails, ["ben@acme.example", "owner@acme.example"]);
    let other = json!({"email": "ben@acme.example", "role": "administrator"});
    let differently = acme.app.post("/api/v1/users", other).by(&acme.owner).send().await;
    differently.refused(409, "ERR-VAL-409", "already_exists");
    let reused = acme.app.post("/api/v1/users", json!({"email": "c@acme.example"})).by(&acme.owner);
    let before = acme.app.events().await;
    reused.idempotency_key("ben").send().await.refused(422, "ERR-VAL-422", "idempotency_key_reused");
    assert_eq!(acme.app.events().await, before, "not even the person was registered");
}

/// REQUIREMENTS §12, ruling 10: one person in many tenants; rulings 12 and CON-SEC-009: neither sees the other's.
#[tokio::test]
async fn a_person_of_two_tenants_is_one_person_and_theirs_alone() {
    let acme = Acme::new().await;
    let (ben, _) = acme.member("ben", Role::User).await;
    let other = acme.app.provision("other").await;
    let their_owner = acme.app.token_of(other.owner, Role::Owner, Some(other.id));
    let unseen = acme.app.get(&format!("/api/v1/users/{ben}")).by(&their_owner).send().await;
    unseen.refused(404, "ERR-RES-404", "not_found");
    let body = json!({"email": "ben@acme.example", "first_name": "Benjamin"});
    let invited = acme.app.post("/api/v1/users", body).by(&their_owner).send().await.is(StatusCode::CREATED);
    assert_eq!(invited.id(), ben);
    // A profile is the same everywhere, so neither tenant may change it any more.
    for owner in [&acme.owner, &their_owner] {
        let change = acme.app.patch(&format!("/api/v1/users/{ben}"), json!({"first_name": "B"}));
        change.by(owner).send().await.refused(403, "ERR-AUTH-403", "forbidden");
    }
    let removed = acme.app.delete(&format!("/api/v1/users/{ben}")).by(&their_owner).send().await;
    let removed = removed.is(StatusCode::OK);
    acme.app.settled().await;
    let gone = acme.app.get(&format!("/api/v1/users/{ben}")).by(&their_owner).after(&removed).send().await;
    gone.refused(404, "ERR-RES-404", "not_found");
    assert_eq!(acme.shown(ben).await["membership"]["status"], "active", "the other membership stands");
    let change = acme.app.patch(&format!("/api/v1/users/{ben}"), json!({"first_name": "B"})).by(&acme.owner);
    change.send().await.is(StatusCode::OK);
    assert_eq!(acme.shown(ben).await["first_name"], "B");
}

/// FR-TENANT-004, FR-TENANT-006, FR-TENANT-002: what ends a person's standing ends their tokens at once.
#[tokio::test]
async fn a_change_of_role_status_or_membership_ends_the_tokens_it_must() {
    let acme = Acme::new().await;
    let (ben, token) = acme.member("ben", Role::Administrator).await;
    let me = |token: &str| acme.app.get("/auth/me").by(token).send();
    assert_eq!(me(&token).await.is(StatusCode::OK).body["role"], "administrator");
    let put = |what: &str, body: Value| {
        acme.app.put(&format!("/api/v1/users/{ben}/{what}"), body).by(&acme.owner).send()
    };
    put("role", json!({"role": "user"})).await.is(StatusCode::OK);
    me(&token).await.refused(401, "ERR-AUTH-440", "session_expired");
    let token = acme.app.token_of(ben, Role::User, Some(acme.tenant.id));
    me(&token).await.is(StatusCode::OK);
    put("status", json!({"status": "disabled"})).await.is(StatusCode::OK);
    me(&token).await.refused(401, "ERR-AUTH-440", "session_expired");
    put("status", json!({"status": "active"})).await.is(StatusCode::OK);
    me(&token).await.refused(401, "ERR-AUTH-440", "session_expired");
    let token = acme.app.token_of(ben, Role::User, Some(acme.tenant.id));
    me(&token).await.is(StatusCode::OK);
    acme.app.delete(&format!("/api/v1/users/{ben}")).by(&acme.owner).send().await.is(StatusCode::OK);
    me(&token).await.refused(401, "ERR-AUTH-440", "session_expired");
    acme.app.delete(&format!("/api/v1/users/{ben}")).by(&acme.owner).send().await.refused(
        404,
        "ERR-RES-404",
        "not_found",
    );
}

/// The last owner can be neither removed nor downgraded nor disabled.
#[tokio::test]
async fn the_last_owner_stays() {
    let acme = Acme::new().await;
    let path = format!("/api/v1/users/{}", acme.tenant.owner);
    let before = acme.app.events().await;
    let owner = &acme.owner;
    let put = |what: &str, body: Value| acme.app.put(&format!("{path}/{what}"), body).by(owner).send();
    put("role", json!({"role": "administrator"})).await.refused(422, "ERR-VAL-422", "last_owner");
    put("status", json!({"status": "disabled"})).await.refused(422, "ERR-VAL-422", "last_owner");
    acme.app.delete(&path).by(owner).send().await.refused(422, "ERR-VAL-422", "last_owner");
    let membership = aggregates::membership::id_of(acme.tenant.id.into(), acme.tenant.owner.into());
    let membership = format!("/api/v1/memberships/{membership}");
    acme.app.delete(&membership).by(owner).send().await.refused(422, "ERR-VAL-422", "last_owner");
    let demote = acme.app.patch(&membership, json!({"role": "user"})).by(owner).send().await;
    demote.refused(422, "ERR-VAL-422", "last_owner");
    assert_eq!(acme.app.events().await, before, "nothing was written");
}

/// Two owners who demote each other at once: one of them stays.
#[tokio::test]
async fn two_requests_at_once_leave_an_owner() {
    let acme = Acme::new().await;
    let (second, their_token) = acme.member("second", Role::Owner).await;
    assert_eq!(acme.shown(second).await["membership"]["role"], "owner");
    let demote = |person: Uuid, by: &str| {
        acme.app.put(&format!("/api/v1/users/{person}/role"), json!({"role": "user"})).by(by).send()
    };
    let (one, other) = tokio::join!(demote(second, &acme.owner), demote(acme.tenant.owner, &their_token));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    // The slower one is refused: as no owner any more, or as asking for the last one.
    assert_eq!(statuses[0], 200, "{} {}", one.text, other.text);
    assert!([401, 403, 422].contains(&statuses[1]), "{} {}", one.text, other.text);
    let tenant = acme.app.provisioned(acme.tenant.id).await;
    acme.app.settled().await;
    let tenant = if tenant["owners"].as_array().unwrap().len() == 1 {
        tenant
    } else {
        acme.app.provisioned(acme.tenant.id).await
    };
    assert_eq!(tenant["owners"].as_array().unwrap().len(), 1, "{tenant}");
}

/// An administrator manages users, but makes and unmakes no owners.
#[tokio::test]
async fn an_administrator_makes_and_unmakes_no_owners() {
    let acme = Acme::new().await;
    let (_, administrator) = acme.member("ada", Role::Administrator).await;
    let (ben, _) = acme.member("ben", Role::User).await;
    let app = &acme.app;
    let before = app.events().await;
    let put = |person: Uuid, what: &str, body: Value| {
        app.put(&format!("/api/v1/users/{person}/{what}"), body).by(&administrator).send()
    };
    let owner = acme.tenant.owner;
    put(ben, "role", json!({"role": "owner"})).await.refused(403, "ERR-AUTH-403", "forbidden");
    put(owner, "role", json!({"role": "user"})).await.refused(403, "ERR-AUTH-403", "forbidden");
    put(owner, "status", json!({"status": "disabled"})).await.refused(403, "ERR-AUTH-403", "forbidden");
    let invite = json!({"email": "x@acme.example", "role": "owner"});
    app.post("/api/v1/users", invite).by(&administrator).send().await.refused(
        403,
        "ERR-AUTH-403",
        "forbidden",
    );
    let path = format!("/api/v1/users/{owner}");
    app.delete(&path).by(&administrator).send().await.refused(403, "ERR-AUTH-403", "forbidden");
    let rename = app.patch(&path, json!({"first_name": "X"})).by(&administrator).send().await;
    rename.refused(403, "ERR-AUTH-403", "forbidden");
    assert_eq!(app.events().await, before, "nothing was written");
    put(ben, "role", json!({"role": "administrator"})).await.is(StatusCode::OK);
    put(ben, "status", json!({"status": "disabled"})).await.is(StatusCode::OK);
    app.delete(&format!("/api/v1/users/{ben}")).by(&administrator).send().await.is(StatusCode::OK);
}

/// A disabled owner is none, and enabled again one again: the tenant counts along.
#[tokio::test]
async fn ownership_follows_status_and_role() {
    let acme = Acme::new().await;
    let (second, _) = acme.member("second", Role::Owner).await;
    let owners = async || {
        acme.app.settled().await;
        let mut owners: Vec<String> = acme.app.provisioned(acme.tenant.id).await["owners"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect();
        owners.sort();
        owners
    };
    let mut both = vec![acme.tenant.owner.to_string(), second.to_string()];
    both.sort();
    let put = |what: &str, body: Value| {
        acme.app.put(&format!("/api/v1/users/{second}/{what}"), body).by(&acme.owner).send()
    };
    assert_eq!(owners().await, both);
    put("status", json!({"status": "disabled"})).await.is(StatusCode::OK);
    assert_eq!(owners().await, [acme.tenant.owner.to_string()]);
    put("status", json!({"status": "active"})).await.is(StatusCode::OK);
    assert_eq!(owners().await, both);
    put("role", json!({"role": "user"})).await.is(StatusCode::OK);
    assert_eq!(owners().await, [acme.tenant.owner.to_string()]);
    put("role", json!({"role": "owner"})).await.is(StatusCode::OK);
    assert_eq!(owners().await, both);
}

/// CC-DAT-001: the request and the process manager send the same command, so that a manager that lags undoes nothing
/// that came later.
#[tokio::test]
async fn what_follows_from_a_decision_about_owners_is_done_by_whoever_is_first_and_once() {
    let acme = Acme::new().await;
    let (second, _) = acme.member("second", Role::Owner).await;
    let path = format!("/api/v1/users/{second}/role");
    let demoted = acme.app.put(&path, json!({"role": "user"})).by(&acme.owner).send().await;
    demoted.is(StatusCode::OK);
    let client = acme.app.db.server.get().await.unwrap();
    for (decided, followed, consequence) in [
        ("tenant.owner_removed", "membership.role_changed", workflows::Consequence::Follow),
        ("membership.invited", "tenant.owner_added", workflows::Consequence::AddOwner),
    ] {
        let last = "SELECT event_id, metadata ->> 'command_id' FROM events WHERE event_type = $1 \
                    ORDER BY position DESC LIMIT 1";
        let event: Uuid = client.query_one(last, &[&decided]).await.unwrap().get(0);
        let command: String = client.query_one(last, &[&followed]).await.unwrap().get(1);
        assert_eq!(command, consequence.idempotency(event.into()).id.to_string(), "{followed}");
    }
    let count = "SELECT count(*) FROM events WHERE event_type = 'membership.role_changed'";
    assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
}

/// REQUIREMENTS §5: going beyond the plan is refused.
#[tokio::test]
async fn a_plan_bounds_how_many_people_there_are() {
    let app = TestApp::new().await;
    let tenant = app.provision_with("small", json!({"plan": "free"})).await;
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    let mut last = None;
    for n in 1..5 {
        let body = json!({"email": format!("p{n}@small.example")});
        last = Some(
            app.post("/api/v1/users", body)
                .by(&owner)
                .idempotency_key(&format!("{n}"))
                .send()
                .await
                .is(StatusCode::CREATED),
        );
        app.settled().await;
    }
    let sixth = app.post("/api/v1/users", json!({"email": "p6@small.example"})).by(&owner).send().await;
    sixth.refused(422, "ERR-VAL-422", "capacity");
    // A retry of what was done is no further person.
    let again =
        app.post("/api/v1/users", json!({"email": "p4@small.example"})).by(&owner).idempotency_key("4");
    assert_eq!(again.send().await.is(StatusCode::CREATED).body, last.unwrap().body);
}

#[tokio::test]
async fn a_membership_is_changed_and_removed_by_its_own_id() {
    let acme = Acme::new().await;
    let body = json!({"email": "ben@acme.example"});
    let made =
        acme.app.post("/api/v1/memberships", body).by(&acme.owner).send().await.is(StatusCode::CREATED);
    let path = format!("/api/v1/memberships/{}", made.id());
    let both = json!({"role": "administrator", "kind": "client"});
    let changed = acme.app.patch(&path, both).by(&acme.owner).header("if-match", made.header("etag"));
    let changed = changed.send().await.is(StatusCode::OK);
    let stale = acme.app.patch(&path, json!({"kind": "staff"})).by(&acme.owner);
    stale.header("if-match", made.header("etag")).send().await.refused(
        412,
        "ERR-VAL-409",
        "precondition_failed",
    );
    let list = "/api/v1/memberships?filter[role][eq]=administrator";
    let list = acme.app.get(list).by(&acme.owner).after(&changed).send().await.is(StatusCode::OK);
    assert_eq!(list.body["items"][0]["id"], made.body["id"]);
    assert_eq!(list.body["items"][0]["kind"], "client");
    acme.app.patch(&path, json!({})).by(&acme.owner).send().await.names(&["/role"]);
    let other = acme.app.provision("other").await;
    let their_owner = acme.app.token_of(other.owner, Role::Owner, Some(other.id));
    acme.app.delete(&path).by(&their_owner).send().await.refused(404, "ERR-RES-404", "not_found");
    acme.app.delete(&path).by(&acme.owner).send().await.is(StatusCode::OK);
    acme.app.delete(&path).by(&acme.owner).send().await.refused(404, "ERR-RES-404", "not_found");
}

/// CON-COMP-001: whoever is written down wrongly puts it right, wherever they belong.
#[tokio::test]
async fn a_person_sees_and_rectifies_their_own_profile() {
    let acme = Acme::new().await;
    let (ben, token) = acme.member("ben", Role::User).await;
    let me = || acme.app.get("/api/v1/users/me").by(&token);
    let shown = me().send().await.is(StatusCode::OK);
    let nobody = json!({
        "id": ben, "email": "ben@acme.example", "first_name": null, "last_name": null, "status": "invited",
        "mfa": false, "recovery_codes_left": 0,
    });
    assert_eq!(shown.body, nobody);
    let tag = shown.header("etag").to_owned();
    me().header("if-none-match", &tag).send().await.is(StatusCode::NOT_MODIFIED);
    let patch = |body: Value| acme.app.patch("/api/v1/users/me", body).by(&token).header("if-match", &tag);
    patch(json!({"first_name": ""})).send().await.names(&["/first_name"]);
    patch(json!({"email": "x@acme.example"})).send().await.refused(400, "ERR-VAL-400", "invalid_fields");
    patch(json!({"first_name": "Ben"})).send().await.is(StatusCode::OK);
    patch(json!({"first_name": "Bo"})).send().await.refused(412, "ERR-VAL-409", "precondition_failed");
    assert_eq!(me().send().await.body["first_name"], "Ben");
    assert_eq!(acme.shown(ben).await["first_name"], "Ben");
    // Of nobody in particular there is no profile.
    let nobodys = acme.app.token(Role::User, Some(acme.tenant.id));
    let refused = acme.app.get("/api/v1/users/me").by(&nobodys).send().await;
    refused.refused(403, "ERR-AUTH-403", "forbidden");
}

/// Nobody who changes a name is refused because its bearer signed in meanwhile.
#[tokio::test]
async fn who_signs_in_leaves_the_profile_s_tag_as_it_was_and_who_changes_it_does_not() {
    let acme = SignedUp::new().await;
    let session = acme.session().await;
    let ben = acme.member(&session.access, "ben@acme.example", Role::User).await;
    let path = format!("/api/v1/users/{ben}");
    let show = async || {
        let own = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK));
        let theirs = acme.app.get("/api/v1/users/me").by(&own.access).send().await.is(StatusCode::OK);
        acme.refresh(&own.refresh).await.is(StatusCode::OK);
        acme.app.settled().await;
        let shown = acme.app.get(&path).by(&session.access).send().await.is(StatusCode::OK);
        assert_eq!(shown.header("etag"), theirs.header("etag"));
        shown.header("etag").to_owned()
    };
    let tag = show().await;
    assert_eq!(show().await, tag);
    let rename = |name: &str, tag: &str| {
        acme.app.patch(&path, json!({"first_name": name})).by(&session.access).header("if-match", tag).send()
    };
    let renamed = rename("Ben", &tag).await.is(StatusCode::OK);
    rename("Bo", &tag).await.refused(412, "ERR-VAL-409", "precondition_failed");
    assert_eq!(show().await, renamed.header("etag"));
    // What is so already tells the tag that it has.
    let same = rename("Ben", renamed.header("etag")).await.is(StatusCode::OK);
    assert_eq!(same.header("etag"), renamed.header("etag"));
}
