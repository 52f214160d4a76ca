//! What a tenant's owners ask of how people sign in: their passwords, and a second factor.

use chrono::TimeDelta;
use gateway::token::{Grant, TTL_MAX};
use kernel::TenantId;
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};
use uuid::Uuid;

use crate::app::{Answer, Call, TestApp};
use crate::http_sign_in::{Acme, OTHER_PASSWORD, PASSWORD, Session};

const POLICY: &str = "/api/v1/tenants/me/password-policy";
const SECURITY: &str = "/api/v1/tenants/me/security";
/// 38 characters.
const LONG_PASSWORD: &str = "correct horse battery staple drumbeat!";

/// The rules that a password broke.
fn broken(answer: &Answer) -> Vec<String> {
    let refused = answer.clone().refused(422, "ERR-VAL-422", "weak_password");
    let errors = refused.body["errors"].as_array().expect("errors").clone();
    let detail = |error: &Value| error["detail"].as_str().expect("words").to_owned();
    errors.iter().map(|error| detail(error).split(':').next().expect("a word").to_owned()).collect()
}

/// Lets a person enrol a second factor. The code of the next step is still to be used.
pub async fn enrol(app: &TestApp, by: &str) -> (Totp, u64) {
    let offered =
        app.post("/api/v1/users/me/mfa/totp", json!({})).by(by).send().await.is(StatusCode::OK).body;
    let secret = Secret::try_from_base32(offered["secret"].as_str().expect("a secret")).expect("base 32");
    let totp = Builder::new().with_secret(secret).build().expect("a secret of 160 bits");
    let now = u64::try_from(app.server.state.clock.now().timestamp()).expect("after 1970");
    let body = json!({"enrolment": offered["enrolment"], "code": totp.generate(now).to_string()});
    let confirmed = app.post("/api/v1/users/me/mfa/totp/confirm", body).by(by).send().await;
    confirmed.is(StatusCode::OK);
    (totp, now)
}

async fn log_in_with_second_factor(acme: &Acme, email: &str, (totp, then): (Totp, u64)) -> Session {
    let asked = acme.log_in(email, PASSWORD).await.refused(401, "ERR-AUTH-461", "mfa_required");
    let code = totp.generate(then + 30).to_string();
    let body = json!({"challenge": asked.body["challenge"], "code": code});
    Session::of(&acme.app.post("/auth/login/mfa", body).send().await.is(StatusCode::OK))
}

/// FR-AUTH-006, CON-SEC-001
#[tokio::test]
async fn owners_say_what_their_tenant_asks_of_passwords() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let get = || acme.app.get(POLICY).by(&owner);
    let put = |body: Value| acme.app.put(POLICY, body).by(&owner);
    let by_default = json!({
        "length_min": 12, "require_upper": false, "require_lower": false, "require_digit": false,
        "require_symbol": false, "strength_min": 3,
    });
    let shown = get().send().await.is(StatusCode::OK);
    assert_eq!(shown.body, by_default);
    let before = shown.header("etag").to_owned();
    put(json!({"length_min": 30, "require_symbol": true})).send().await.is(StatusCode::OK);
    let shown = get().send().await.is(StatusCode::OK);
    assert_eq!(
        (&shown.body["length_min"], &shown.body["require_symbol"], &shown.body["strength_min"]),
        (&json!(30), &json!(true), &json!(3))
    );
    let stale = put(json!({})).header("if-match", &before).send().await;
    stale.refused(412, "ERR-VAL-409", "precondition_failed");
    put(json!({"length_min": 7})).send().await.names(&["/length_min"]);
    put(json!({"strength_min": 5})).send().await.names(&["/strength_min"]);
    put(json!({"require_emoji": true})).send().await.refused(400, "ERR-VAL-400", "invalid_fields");
    put(json!({})).send().await.is(StatusCode::OK);
    assert_eq!(get().send().await.body, by_default);

    acme.member(&owner, "ben@acme.example", Role::Administrator).await;
    let ben = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK)).access;
    for path in [POLICY, SECURITY] {
        acme.app.get(path).by(&ben).send().await.refused(403, "ERR-AUTH-403", "forbidden");
    }
    let body = json!({"mfa_required": true});
    acme.app.put(SECURITY, body).by(&ben).send().await.refused(403, "ERR-AUTH-403", "forbidden");
}

/// FR-AUTH-006: wherever a password is chosen, and by whomever.
#[tokio::test]
async fn a_new_password_satisfies_every_tenant_that_its_person_belongs_to() {
    let acme = Acme::new().await;
    let other = Acme::tenant(&acme.app, "other").await;
    let owner = acme.session().await.access;
    let theirs = Session::of(&acme.log_in("owner@other.example", PASSWORD).await.is(StatusCode::OK)).access;
    let ask = async |by: &str, body: Value| {
        acme.app.put(POLICY, body).by(by).send().await.is(StatusCode::OK);
    };
    ask(&owner, json!({"length_min": 30})).await;

    // Whoever accepts an invitation.
    let invite = json!({"email": "ben@acme.example", "role": "user"});
    let ben = acme.app.post("/api/v1/users", invite.clone()).by(&owner).send().await.id();
    let token = acme.app.invitation(acme.tenant.id, ben).await;
    let accept = |token: &str, password: Option<&str>| {
        let body = json!({"token": token, "password": password});
        acme.app.post("/auth/invitations/accept", body).send()
    };
    assert_eq!(broken(&accept(&token, Some(PASSWORD)).await), ["too_short"]);
    accept(&token, Some(LONG_PASSWORD)).await.is(StatusCode::OK);

    // Whoever changes theirs, and belongs to another tenant meanwhile, which asks for something else.
    ask(&theirs, json!({"require_digit": true})).await;
    let change = async |next: &str| {
        let session = Session::of(&acme.log_in("ben@acme.example", LONG_PASSWORD).await.is(StatusCode::OK));
        let body = json!({"current_password": LONG_PASSWORD, "password": next});
        acme.app.put("/api/v1/users/me/password", body).by(&session.access).send().await
    };
    assert_eq!(broken(&change(OTHER_PASSWORD).await), ["too_short"]);
    acme.app.post("/api/v1/users", invite).by(&theirs).send().await.is(StatusCode::CREATED);
    let token = acme.app.invitation(other.id, ben).await;
    assert_eq!(broken(&change(OTHER_PASSWORD).await), ["too_short"], "an open invitation asks for nothing");
    accept(&token, None).await.is(StatusCode::OK);
    assert_eq!(broken(&change(OTHER_PASSWORD).await), ["too_short", "needs_digit"]);

    // Whoever resets theirs; and a tenant that they left has no say.
    acme.app.post("/auth/password/forgot", json!({"email": "ben@acme.example"})).send().await;
    let token = acme.app.reset_link(ben).await;
    let reset = |password: &str| {
        acme.app.post("/auth/password/reset", json!({"token": token, "password": password})).send()
    };
    assert_eq!(broken(&reset(OTHER_PASSWORD).await), ["too_short", "needs_digit"]);
    acme.app.delete(&format!("/api/v1/users/{ben}")).by(&owner).send().await.is(StatusCode::OK);
    assert_eq!(broken(&reset(OTHER_PASSWORD).await), ["needs_digit"]);
    reset("quiet otters juggle 7 lanterns").await.is(StatusCode::NO_CONTENT);
}

/// RFC 9470
#[tokio::test]
async fn what_owners_ask_for_is_changed_by_whoever_signed_in_just_now() {
    let acme = Acme::new().await;
    let state = &acme.app.server.state;
    let now = state.clock.now();
    let grant = Grant {
        subject: acme.tenant.owner.to_string(),
        session: state.ids.fresh(),
        token_id: state.ids.fresh(),
        tenant: Some(TenantId(acme.tenant.id)),
        role: Some(Role::Owner),
        scopes: Vec::new(),
        began_at: state.access.position(),
        authenticated_at: now - TimeDelta::minutes(11),
        methods: Vec::new(),
        ttl: TTL_MAX,
    };
    let (owner, _) = state.keys.tokens.sign(grant, now).expect("there is a signing key");
    for (path, body) in [(POLICY, json!({"length_min": 30})), (SECURITY, json!({"mfa_required": true}))] {
        let refused = acme.app.put(path, body).by(&owner).send().await;
        refused.refused(401, "ERR-AUTH-401", "fresh_authentication_required");
        acme.app.get(path).by(&owner).send().await.is(StatusCode::OK);
    }
}

fn lacks_a_second_factor(answer: Answer, method: &str) {
    let refused = answer.refused(401, "ERR-AUTH-461", "mfa_required");
    assert_eq!(refused.body["methods"], json!([method]));
}

/// NFR-SEC-003, CON-SEC-005, ERR-AUTH-461
#[tokio::test]
async fn where_a_second_factor_is_asked_for_nobody_acts_without_one_and_everybody_can_enrol() {
    let acme = Acme::new().await;
    let before = acme.session().await;
    acme.member(&before.access, "ben@acme.example", Role::Administrator).await;
    let ben = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK));
    let own = |token: &str| acme.app.get("/api/v1/tenants/me").by(token).send();
    own(&ben.access).await.is(StatusCode::OK);
    let asks = |by: &str, mfa_required: bool| {
        acme.app.put(SECURITY, json!({"mfa_required": mfa_required})).by(by).send()
    };
    asks(&before.access, true).await.is(StatusCode::OK);

    // On the next request: whoever is signed in, who asked for it, and whoever signs in now.
    lacks_a_second_factor(own(&ben.access).await, "enrol");
    lacks_a_second_factor(own(&before.access).await, "enrol");
    lacks_a_second_factor(asks(&before.access, false).await, "enrol");
    let since = acme.session().await;
    lacks_a_second_factor(own(&since.access).await, "enrol");
    let next = Session::of(&acme.refresh(&since.refresh).await.is(StatusCode::OK));
    lacks_a_second_factor(own(&next.access).await, "enrol");
    let local = acme.app.token_without_second_factor(Role::Owner, Some(acme.tenant.id));
    lacks_a_second_factor(own(&local).await, "enrol");
    // Who runs the platform is not among its people.
    let operator = acme.app.token(Role::Operator, None);
    let seen = acme.app.get(&format!("/api/operator/tenants/{}", acme.tenant.id)).by(&operator);
    seen.send().await.is(StatusCode::OK);

    // They look after themselves, enrol, sign in again, and are in.
    acme.me(&next.access).await.is(StatusCode::OK);
    acme.app.get("/api/v1/users/me/sessions").by(&next.access).send().await.is(StatusCode::OK);
    let factor = enrol(&acme.app, &next.access).await;
    lacks_a_second_factor(own(&next.access).await, "log_in");
    let inside = log_in_with_second_factor(&acme, acme.owner(), factor).await;
    let shown = acme.app.get(SECURITY).by(&inside.access).send().await.is(StatusCode::OK);
    assert_eq!(shown.body, json!({"mfa_required": true}));
    let inside = Session::of(&acme.refresh(&inside.refresh).await.is(StatusCode::OK));
    own(&inside.access).await.is(StatusCode::OK);
    lacks_a_second_factor(own(&ben.access).await, "enrol");

    asks(&inside.access, false).await.is(StatusCode::OK);
    own(&ben.access).await.is(StatusCode::OK);
}

/// NFR-SEC-003: it is that tenant's affair alone, and its applications have keys.
#[tokio::test]
async fn a_second_factor_is_asked_for_in_the_tenant_that_asks_and_of_people_only() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let more = json!({"application": {"name": "shop", "environment": "production"}});
    let other = acme.app.provision_with("other", more).await;
    let theirs = acme.app.token_of(other.owner, Role::Owner, Some(other.id));
    let invite = json!({"email": acme.owner(), "role": "administrator"});
    acme.app.post("/api/v1/users", invite).by(&theirs).send().await.is(StatusCode::CREATED);
    acme.app.accept(other.id, acme.tenant.owner).await;
    let both = acme.session().await.access;
    let own = |org| acme.app.get("/api/v1/tenants/me").by(&both).header("x-org", org);
    let (here, there) = (acme.tenant.id.to_string(), other.id.to_string());
    own(&there).send().await.is(StatusCode::OK);
    let asked: Call<'_> = acme.app.put(SECURITY, json!({"mfa_required": true})).by(&theirs);
    asked.send().await.is(StatusCode::OK);
    lacks_a_second_factor(own(&there).send().await, "enrol");
    own(&here).send().await.is(StatusCode::OK);
    acme.app.get("/api/v1/tenants/me").by(&owner).send().await.is(StatusCode::OK);
    let (key, _) = acme.app.issue_key(other.application.expect("it was asked for"), &["flag:read"]).await;
    acme.app.get(&format!("/api/v1/flags?tenant={there}")).by(&key).send().await.is(StatusCode::OK);
}

/// NFR-SEC-003, CON-SEC-005, ERR-AUTH-461
#[tokio::test]
async fn a_second_factor_is_asked_of_one_member_from_the_next_request_on_and_of_nobody_else() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let ben = acme.member(&owner, "ben@acme.example", Role::Administrator).await;
    acme.member(&owner, "cat@acme.example", Role::Administrator).await;
    let bens = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK));
    let cats = Session::of(&acme.log_in("cat@acme.example", PASSWORD).await.is(StatusCode::OK)).access;
    let id = |person: Uuid| aggregates::membership::id_of(acme.tenant.id.into(), person.into());
    let asks = |by: &str, person: Uuid, mfa_required: bool| {
        let path = format!("/api/v1/memberships/{}", id(person));
        acme.app.patch(&path, json!({"mfa_required": mfa_required})).by(by).send()
    };
    let own = |token: &str| acme.app.get("/api/v1/tenants/me").by(token).send();
    own(&bens.access).await.is(StatusCode::OK);
    asks(&cats, ben, true).await.is(StatusCode::OK);
    lacks_a_second_factor(own(&bens.access).await, "enrol");
    own(&owner).await.is(StatusCode::OK);
    own(&cats).await.is(StatusCode::OK);
    acme.app.settled().await;
    let listed = acme.app.get("/api/v1/memberships").by(&owner).send().await.is(StatusCode::OK);
    for item in listed.body["items"].as_array().expect("items") {
        assert_eq!(item["mfa_required"], json!(item["person"] == json!(ben)), "{item}");
    }
    // What is asked of owners is the owners' to say.
    asks(&cats, acme.tenant.owner, true).await.refused(403, "ERR-AUTH-403", "forbidden");
    // With a second factor they are in, until it is asked no more.
    let factor = enrol(&acme.app, &bens.access).await;
    lacks_a_second_factor(own(&bens.access).await, "log_in");
    let inside = log_in_with_second_factor(&acme, "ben@acme.example", factor).await;
    own(&inside.access).await.is(StatusCode::OK);
    asks(&owner, ben, false).await.is(StatusCode::OK);
    own(&bens.access).await.is(StatusCode::OK);
}

/// Who may change memberships because they were given that may not free themselves of what is asked of them.
#[tokio::test]
async fn a_second_factor_is_asked_of_members_by_owners_and_administrators_only() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let ben = acme.member(&owner, "ben@acme.example", Role::User).await;
    let path =
        format!("/api/v1/memberships/{}", aggregates::membership::id_of(acme.tenant.id.into(), ben.into()));
    let grant =
        acme.app.put(&format!("{path}/permissions/memberships:update"), json!({})).by(&owner).send().await;
    assert!(grant.status.is_success(), "{}", grant.text);
    let bens = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK)).access;
    let change = |body: Value| acme.app.patch(&path, body).by(&bens).send();
    change(json!({"kind": "client"})).await.is(StatusCode::OK);
    change(json!({"mfa_required": false})).await.refused(403, "ERR-AUTH-403", "forbidden");
}
