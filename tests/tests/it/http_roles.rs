//! Roles of a tenant's own, grants, delegation, and what somebody may do all told (REQUIREMENTS §4).

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestTenant};

struct Acme {
    app: TestApp,
    tenant: TestTenant,
    owner: String,
}

/// A member, with a token.
struct Member {
    person: Uuid,
    id: Uuid,
    token: String,
}

impl Acme {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let tenant = app.provision("acme").await;
        let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
        Self { app, tenant, owner }
    }

    async fn member(&self, name: &str, role: Role) -> Member {
        let body = json!({"email": format!("{name}@acme.example"), "role": role.as_str()});
        let invited = self.app.post("/api/v1/users", body).by(&self.owner).send().await;
        let person = invited.is(StatusCode::CREATED).id();
        self.app.accept(self.tenant.id, person).await;
        let id = aggregates::membership::id_of(self.tenant.id.into(), person.into()).0;
        Member { person, id, token: self.app.token_of(person, role, Some(self.tenant.id)) }
    }

    async fn role(&self, by: &str, name: &str, permissions: &[&str]) -> Answer {
        let body = json!({"name": name, "permissions": permissions});
        self.app.post("/api/v1/roles", body).by(by).send().await
    }

    async fn made(&self, name: &str, permissions: &[&str]) -> Uuid {
        self.role(&self.owner, name, permissions).await.is(StatusCode::CREATED).id()
    }

    async fn set_permissions(&self, by: &str, role: Uuid, permissions: &[&str]) -> Answer {
        let body = json!({"permissions": permissions});
        self.app.put(&format!("/api/v1/roles/{role}/permissions"), body).by(by).send().await
    }

    async fn assign(&self, by: &str, to: &Member, role: Option<Uuid>) -> Answer {
        let path = format!("/api/v1/memberships/{}", to.id);
        self.app.patch(&path, json!({"custom_role": role})).by(by).send().await
    }

    async fn grant(&self, by: &str, to: &Member, permission: &str) -> Answer {
        let path = format!("/api/v1/memberships/{}/permissions/{permission}", to.id);
        self.app.put(&path, json!({})).by(by).send().await
    }

    async fn revoke(&self, by: &str, from: &Member, permission: &str) -> Answer {
        let path = format!("/api/v1/memberships/{}/permissions/{permission}", from.id);
        self.app.delete(&path).by(by).send().await
    }

    async fn delegate(&self, by: &str, to: &Member, may_grant: &[&str]) -> Answer {
        let path = format!("/api/v1/memberships/{}/delegation", to.id);
        self.app.put(&path, json!({"may_grant": may_grant})).by(by).send().await
    }

    async fn access(&self, token: &str) -> Value {
        self.app.get("/auth/me/access").by(token).send().await.is(StatusCode::OK).body
    }
}

#[track_caller]
fn not_held(answer: Answer) {
    answer.refused(403, "ERR-AUTH-403", "not_held");
}

#[track_caller]
fn forbidden(answer: Answer) {
    answer.refused(403, "ERR-AUTH-403", "forbidden");
}

#[tokio::test]
async fn a_role_is_made_listed_shown_changed_and_deleted() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let body =
        json!({"name": "Bookkeepers", "description": "Books", "permissions": ["finance.*", "users:read"]});
    let call = || app.post("/api/v1/roles", body.clone()).by(&acme.owner).idempotency_key("books");
    let made = call().send().await.is(StatusCode::CREATED);
    assert_eq!(call().send().await.is(StatusCode::CREATED).body, made.body, "a retry is the same role");
    let path = format!("/api/v1/roles/{}", made.id());
    assert_eq!(made.header("location"), path);
    let shown = app.get(&path).by(&acme.owner).after(&made).send().await.is(StatusCode::OK);
    assert_eq!(
        (&shown.body["name"], &shown.body["permissions"]),
        (&json!("Bookkeepers"), &json!(["finance.*:*", "users:read"]))
    );
    let again = app.get(&path).by(&acme.owner).header("if-none-match", shown.header("etag")).send().await;
    again.is(StatusCode::NOT_MODIFIED);

    acme.role(&acme.owner, "BOOKKEEPERS", &[]).await.refused(409, "ERR-VAL-409", "name_taken");
    let other = acme.made("Sales", &[]).await;
    let rename = app.patch(&format!("/api/v1/roles/{other}"), json!({"name": "bookkeepers"})).by(&acme.owner);
    rename.send().await.refused(409, "ERR-VAL-409", "name_taken");
    let rename = app.patch(&path, json!({"name": "Accountants"})).by(&acme.owner);
    let renamed = rename.header("if-match", made.header("etag")).send().await.is(StatusCode::OK);
    let stale = app.put(&format!("{path}/permissions"), json!({"permissions": []})).by(&acme.owner);
    let stale = stale.header("if-match", made.header("etag")).send().await;
    stale.refused(412, "ERR-VAL-409", "precondition_failed");
    let list = app.get("/api/v1/roles?sort=name").by(&acme.owner).after(&renamed).send().await;
    let list = list.is(StatusCode::OK).body;
    let names: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|role| &role["name"]).collect();
    assert_eq!(names, ["Accountants", "Sales"]);
    let like = app.get("/api/v1/roles?filter[name][like]=acc%25").by(&acme.owner).send().await;
    assert_eq!(like.is(StatusCode::OK).body["items"].as_array().unwrap().len(), 1);

    let deleted = app.delete(&path).by(&acme.owner).send().await.is(StatusCode::OK);
    let gone = app.get(&path).by(&acme.owner).after(&deleted).send().await;
    gone.refused(404, "ERR-RES-404", "not_found");
    app.delete(&path).by(&acme.owner).send().await.refused(404, "ERR-RES-404", "not_found");
    acme.made("accountants", &[]).await;
}

#[tokio::test]
async fn what_is_no_permission_is_refused_with_its_place() {
    let acme = Acme::new().await;
    let ben = acme.member("ben", Role::User).await;
    acme.role(&acme.owner, "A", &["users"]).await.names(&["/permissions/0"]);
    acme.grant(&acme.owner, &ben, "users").await.names(&["permission"]);
    let path = format!("/api/v1/memberships/{}/modules/a..b", ben.id);
    acme.app.put(&path, json!({})).by(&acme.owner).send().await.names(&["module"]);
    let many: Vec<String> = (0..201).map(|n| format!("things:do-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    acme.role(&acme.owner, "A", &many).await.refused(422, "ERR-VAL-422", "too_many_permissions");
}

/// REQUIREMENTS §12, ruling 12: another tenant's role is not there, whatever is asked of it.
#[tokio::test]
async fn another_tenants_role_is_not_there() {
    let acme = Acme::new().await;
    let (app, ben) = (&acme.app, acme.member("ben", Role::User).await);
    let other = app.provision("other").await;
    let their_owner = app.token_of(other.owner, Role::Owner, Some(other.id));
    let theirs = acme.role(&their_owner, "Readers", &["*:read"]).await.is(StatusCode::CREATED).id();
    acme.made("Readers", &[]).await;
    app.settled().await;
    let before = app.events().await;
    let path = format!("/api/v1/roles/{theirs}");
    let by = &acme.owner;
    for answer in [
        app.get(&path).by(by).send().await,
        app.patch(&path, json!({"name": "Mine"})).by(by).send().await,
        app.delete(&path).by(by).send().await,
        acme.set_permissions(by, theirs, &["users:read"]).await,
        acme.assign(by, &ben, Some(theirs)).await,
        acme.assign(by, &ben, Some(Uuid::nil())).await,
    ] {
        answer.refused(404, "ERR-RES-404", "not_found");
    }
    assert_eq!(app.events().await, before, "nothing was written");
    let list = app.get("/api/v1/roles").by(by).send().await.is(StatusCode::OK).body;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

/// CON-SEC-007, NFR-SEC-005
#[tokio::test]
async fn an_administrator_grants_all_but_what_is_the_owners() {
    let acme = Acme::new().await;
    let ada = acme.member("ada", Role::Administrator).await;
    let ben = acme.member("ben", Role::User).await;
    let contract = acme.made("Contract", &["own_tenant:change_plan"]).await;
    let books = acme.made("Books", &["finance.*"]).await;
    let before = acme.app.events().await;
    for permission in ["own_tenant:change_plan", "*", "*:change_plan", "own_tenant:*", "sso:configure"] {
        not_held(acme.grant(&ada.token, &ben, permission).await);
        not_held(acme.delegate(&ada.token, &ben, &[permission]).await);
        not_held(acme.role(&ada.token, "Mine", &["users:read", permission]).await);
        not_held(acme.set_permissions(&ada.token, books, &[permission]).await);
    }
    not_held(acme.assign(&ada.token, &ben, Some(contract)).await);
    not_held(acme.set_permissions(&ada.token, contract, &[]).await);
    let delete = acme.app.delete(&format!("/api/v1/roles/{contract}")).by(&ada.token).send().await;
    not_held(delete);
    let owner = aggregates::membership::id_of(acme.tenant.id.into(), acme.tenant.owner.into()).0;
    let owner = Member { person: acme.tenant.owner, id: owner, token: acme.owner.clone() };
    forbidden(acme.grant(&ada.token, &owner, "users:read").await);
    forbidden(acme.assign(&ada.token, &owner, Some(books)).await);
    assert_eq!(acme.app.events().await, before, "nothing was written");

    acme.grant(&ada.token, &ben, "users:read").await.is(StatusCode::OK);
    acme.assign(&ada.token, &ben, Some(books)).await.is(StatusCode::OK);
    acme.delegate(&ada.token, &ben, &["finance.*"]).await.is(StatusCode::OK);
    acme.grant(&acme.owner, &ben, "own_tenant:change_plan").await.is(StatusCode::OK);
    // What an owner gave, an administrator doesn't take either, and it opens no contract.
    not_held(acme.revoke(&ada.token, &ben, "own_tenant:change_plan").await);
    let plan = acme.app.put("/api/v1/tenants/me/plan", json!({"plan": "enterprise"})).by(&ben.token);
    forbidden(plan.send().await);
}

#[tokio::test]
async fn a_member_passes_on_what_they_hold_and_their_delegation_names() {
    let acme = Acme::new().await;
    let (ben, cem) = (acme.member("ben", Role::User).await, acme.member("cem", Role::User).await);
    forbidden(acme.grant(&ben.token, &cem, "finance.books:read").await);
    let clerk = acme.made("Clerk", &["memberships:*", "roles:*", "finance.*", "users:set_role"]).await;
    acme.assign(&acme.owner, &ben, Some(clerk)).await.is(StatusCode::OK);
    // They hold it, and may not pass it on yet.
    not_held(acme.grant(&ben.token, &cem, "finance.books:read").await);
    acme.delegate(&acme.owner, &ben, &["finance.books:*", "users:*"]).await.is(StatusCode::OK);
    acme.grant(&ben.token, &cem, "finance.books:read").await.is(StatusCode::OK);
    let before = acme.app.events().await;
    // Held and not delegated; delegated and not held; neither; all of it.
    for permission in ["finance.cash:read", "users:invite", "own_tenant:update", "*"] {
        not_held(acme.grant(&ben.token, &cem, permission).await);
        not_held(acme.role(&ben.token, "Mine", &[permission]).await);
        not_held(acme.delegate(&ben.token, &cem, &[permission]).await);
    }
    // Nor to themself, nor by a role that they may change, nor by one that they may assign.
    not_held(acme.grant(&ben.token, &ben, "users:invite").await);
    not_held(acme.set_permissions(&ben.token, clerk, &["*"]).await);
    let wide = acme.made("Wide", &["users:*"]).await;
    not_held(acme.assign(&ben.token, &ben, Some(wide)).await);
    assert_eq!(acme.app.events().await, before + 1, "only the owner's role was made");
    acme.role(&ben.token, "Readers", &["finance.books:read"]).await.is(StatusCode::CREATED);
    acme.revoke(&ben.token, &cem, "finance.books:read").await.is(StatusCode::OK);
    // Modules are the managers' to give.
    let path = format!("/api/v1/memberships/{}/modules/webhooks", cem.id);
    not_held(acme.app.put(&path, json!({})).by(&ben.token).send().await);
}

/// Whoever was merely given permissions changes nothing about those who gave them, and makes nobody their equal.
#[tokio::test]
async fn a_permission_makes_nobody_an_administrator() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let (ada, ben) = (acme.member("ada", Role::Administrator).await, acme.member("ben", Role::User).await);
    let cem = acme.member("cem", Role::User).await;
    acme.grant(&acme.owner, &ben, "users:*").await.is(StatusCode::OK);
    acme.grant(&acme.owner, &ben, "memberships:*").await.is(StatusCode::OK);
    acme.grant(&acme.owner, &ben, "sessions:*").await.is(StatusCode::OK);
    let before = app.events().await;
    for role in ["administrator", "owner"] {
        let body = json!({"role": role});
        for person in [ben.person, cem.person] {
            let path = format!("/api/v1/users/{person}/role");
            forbidden(app.put(&path, body.clone()).by(&ben.token).send().await);
        }
        forbidden(app.patch(&format!("/api/v1/memberships/{}", ben.id), body).by(&ben.token).send().await);
        let invite = json!({"email": "x@acme.example", "role": role});
        forbidden(app.post("/api/v1/users", invite).by(&ben.token).send().await);
    }
    for person in [ada.person, acme.tenant.owner] {
        let path = format!("/api/v1/users/{person}");
        forbidden(app.delete(&path).by(&ben.token).send().await);
        forbidden(app.put(&format!("{path}/role"), json!({"role": "user"})).by(&ben.token).send().await);
        let status = app.put(&format!("{path}/status"), json!({"status": "disabled"}));
        forbidden(status.by(&ben.token).send().await);
        forbidden(app.patch(&path, json!({"first_name": "X"})).by(&ben.token).send().await);
        forbidden(app.delete(&format!("{path}/sessions")).by(&ben.token).send().await);
    }
    forbidden(
        app.patch(&format!("/api/v1/memberships/{}", ada.id), json!({"kind": "client"}))
            .by(&ben.token)
            .send()
            .await,
    );
    assert_eq!(app.events().await, before, "nothing was written");
    let status = app.put(&format!("/api/v1/users/{}/status", cem.person), json!({"status": "disabled"}));
    status.by(&ben.token).send().await.is(StatusCode::OK);
}

#[tokio::test]
async fn a_permission_opens_its_endpoint_until_it_is_taken() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let ben = acme.member("ben", Role::User).await;
    let path = format!("/api/v1/users/{}", acme.tenant.owner);
    let look = || app.get(&path).by(&ben.token).send();
    forbidden(look().await);
    let readers = acme.made("Readers", &["users:read"]).await;
    acme.assign(&acme.owner, &ben, Some(readers)).await.is(StatusCode::OK);
    look().await.is(StatusCode::OK);
    forbidden(app.get("/api/v1/users").by(&ben.token).send().await);
    let invite = json!({"email": "x@acme.example"});
    forbidden(app.post("/api/v1/users", invite).by(&ben.token).send().await);
    // What the role gives changes for whoever has it.
    acme.set_permissions(&acme.owner, readers, &["users:list"]).await.is(StatusCode::OK);
    forbidden(look().await);
    app.get("/api/v1/users").by(&ben.token).send().await.is(StatusCode::OK);
    acme.grant(&acme.owner, &ben, "users:*").await.is(StatusCode::OK);
    look().await.is(StatusCode::OK);
    // The guards stand, whatever was given.
    let operator = app.token(Role::Operator, None);
    let mode = format!("/api/operator/tenants/{}/access-mode", acme.tenant.id);
    app.put(&mode, json!({"mode": "read_only"})).by(&operator).send().await.is(StatusCode::OK);
    let update = app.patch(&format!("/api/v1/users/{}", ben.person), json!({"first_name": "Ben"}));
    update.by(&ben.token).send().await.refused(403, "ERR-AUTH-403", "read_only");
    app.put(&mode, json!({"mode": "active"})).by(&operator).send().await.is(StatusCode::OK);
    acme.revoke(&acme.owner, &ben, "users:*").await.is(StatusCode::OK);
    acme.assign(&acme.owner, &ben, None).await.is(StatusCode::OK);
    forbidden(look().await);
    forbidden(app.get("/api/v1/users").by(&ben.token).send().await);
}

#[tokio::test]
async fn a_role_that_is_deleted_is_taken_from_its_members() {
    let acme = Acme::new().await;
    let ben = acme.member("ben", Role::User).await;
    let readers = acme.made("Readers", &["users:list"]).await;
    acme.assign(&acme.owner, &ben, Some(readers)).await.is(StatusCode::OK);
    let before = acme.access(&ben.token).await;
    assert_eq!((&before["custom_role"], &before["permissions"]), (&json!(readers), &json!(["users:list"])));
    let list = acme.app.get("/api/v1/users").by(&ben.token).send().await;
    list.is(StatusCode::OK);
    let path = format!("/api/v1/roles/{readers}");
    acme.app.delete(&path).by(&acme.owner).send().await.is(StatusCode::OK);
    let after = acme.access(&ben.token).await;
    assert_eq!((&after["custom_role"], &after["permissions"]), (&json!(null), &json!([])));
    assert!(after["version"].as_u64() > before["version"].as_u64());
    forbidden(acme.app.get("/api/v1/users").by(&ben.token).send().await);
    acme.assign(&acme.owner, &ben, Some(readers)).await.refused(404, "ERR-RES-404", "not_found");
}

#[tokio::test]
async fn everybody_may_know_what_they_may_do_and_hears_of_each_change() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let ben = acme.member("ben", Role::User).await;
    let first = app.get("/auth/me/access").by(&ben.token).send().await.is(StatusCode::OK);
    let nothing = json!([]);
    assert_eq!(first.body["membership"], json!(ben.id));
    assert_eq!((&first.body["role"], &first.body["mode"]), (&json!("user"), &json!("active")));
    assert_eq!(
        [&first.body["permissions"], &first.body["modules"], &first.body["delegation"]],
        [&nothing; 3]
    );
    let version = first.body["version"].as_u64().unwrap();
    let tag = format!("\"access:{}:{}:{version}\"", acme.tenant.id, ben.id);
    assert_eq!(first.header("etag"), tag);

    let readers = acme.made("Readers", &["*:read"]).await;
    let operator = app.token(Role::Operator, None);
    let tenant = format!("/api/operator/tenants/{}", acme.tenant.id);
    let membership = format!("/api/v1/memberships/{}", ben.id);
    let mut last = app.get("/auth/me/access").by(&ben.token).send().await.is(StatusCode::OK);
    let changes: [(&str, String, Value, &str); 8] = [
        ("PATCH", membership.clone(), json!({"custom_role": readers}), &acme.owner),
        ("PUT", format!("/api/v1/roles/{readers}/permissions"), json!({"permissions": ["a:b"]}), &acme.owner),
        ("PUT", format!("{membership}/permissions/webhooks:*"), json!({}), &acme.owner),
        ("PUT", format!("{membership}/modules/webhooks"), json!({}), &acme.owner),
        ("PUT", format!("{membership}/delegation"), json!({"may_grant": ["a:*"]}), &acme.owner),
        ("PATCH", membership.clone(), json!({"kind": "client"}), &acme.owner),
        ("PUT", format!("{tenant}/access-mode"), json!({"mode": "read_only"}), &operator),
        ("PUT", format!("{tenant}/plan"), json!({"plan": "free"}), &operator),
    ];
    for (method, path, body, by) in changes {
        let same = app.get("/auth/me/access").by(&ben.token).header("if-none-match", last.header("etag"));
        same.send().await.is(StatusCode::NOT_MODIFIED);
        let call = app.call(method.parse().unwrap(), &path).json(body.clone()).by(by);
        call.send().await.is(StatusCode::OK);
        let next = app.get("/auth/me/access").by(&ben.token).header("if-none-match", last.header("etag"));
        let next = next.send().await.is(StatusCode::OK);
        assert!(next.body["version"].as_u64() > last.body["version"].as_u64(), "{method} {path} {body}");
        if path.ends_with("/delegation") {
            assert_eq!(next.body["permissions"], json!(["a:b", "webhooks:*"]));
            assert_eq!(next.body["modules"], json!(["webhooks"]));
            assert_eq!(next.body["delegation"], json!(["a:*"]));
        }
        last = next;
    }
    // On the smaller plan nobody holds what it has not.
    assert_eq!(last.body["mode"], "read_only");
    assert_eq!((&last.body["permissions"], &last.body["modules"]), (&json!(["a:b"]), &nothing));

    let owner = acme.access(&acme.owner).await;
    assert_eq!((&owner["permissions"], &owner["modules"]), (&json!(["*:*"]), &json!(["api-access"])));
    let except = owner["except"].as_array().unwrap();
    assert!(except.contains(&json!("sso:*")) && !except.contains(&json!("own_tenant:change_plan")));
    // Of no member, and in no tenant, there is nothing to be known.
    forbidden(app.get("/auth/me/access").by(&app.token(Role::User, Some(acme.tenant.id))).send().await);
}

#[tokio::test]
async fn a_module_is_given_only_if_the_tenant_is_entitled_to_it() {
    let acme = Acme::new().await;
    let ben = acme.member("ben", Role::User).await;
    let path = |module: &str| format!("/api/v1/memberships/{}/modules/{module}", ben.id);
    let put = |module: &str| acme.app.put(&path(module), json!({})).by(&acme.owner).send();
    put("sso").await.refused(403, "ERR-AUTH-403", "module_disabled");
    put("unheard-of").await.refused(403, "ERR-AUTH-403", "module_disabled");
    put("webhooks").await.is(StatusCode::OK);
    assert_eq!(acme.access(&ben.token).await["modules"], json!(["webhooks"]));
    let list = acme.app.get("/api/v1/memberships").by(&acme.owner).send().await.is(StatusCode::OK).body;
    let shown = list["items"].as_array().unwrap().iter().find(|it| it["id"] == json!(ben.id)).unwrap();
    let grants = json!({"custom_role": null, "permissions": [], "modules": ["webhooks"], "delegation": []});
    assert_eq!(shown["grants"], grants);
    // Asked twice, said once.
    let before = acme.app.events().await;
    put("webhooks").await.is(StatusCode::OK);
    assert_eq!(acme.app.events().await, before);
    acme.app.delete(&path("webhooks")).by(&acme.owner).send().await.is(StatusCode::OK);
    assert_eq!(acme.access(&ben.token).await["modules"], json!([]));
}

#[tokio::test]
async fn consoles_learn_which_permissions_there_are() {
    let acme = Acme::new().await;
    let list = acme.app.get("/api/v1/permissions").by(&acme.owner).send().await.is(StatusCode::OK).body;
    let known: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
    assert!(known.contains(&&json!({"permission": "users:invite", "changes": true})));
    assert!(known.contains(&&json!({"permission": "users:read", "changes": false})));
    assert!(known.iter().all(|one| one["permission"] != "own_tenant:change_plan"), "it can't be given");
}
