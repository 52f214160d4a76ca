//! Personal access tokens over HTTP, and the tokens that internal services sign.

use base64::Engine as _;
use gateway::serve::Server;
use gateway::settings::Settings;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp};
use crate::http_sign_in::{Acme, OTHER_PASSWORD, PASSWORD, Session};
use crate::internal_service::{KnownServices, Service};

const TOKENS: &str = "/api/v1/users/me/tokens";

/// A token that was issued.
struct Issued {
    id: Uuid,
    token: String,
}

impl Issued {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.header("cache-control"), "no-store");
        let token = answer.body["token"].as_str().expect("it is shown").to_owned();
        assert!(token.starts_with("tp_"));
        Self { id: answer.id(), token }
    }
}

async fn ask(acme: &Acme, by: &str, permissions: &[&str]) -> Answer {
    let body = json!({"name": "Zanzibar", "permissions": permissions});
    acme.app.post(TOKENS, body).by(by).send().await
}

async fn issue(acme: &Acme, by: &str, permissions: &[&str]) -> Issued {
    Issued::of(&ask(acme, by, permissions).await.is(StatusCode::CREATED))
}

async fn list(acme: &Acme, by: &str) -> Vec<Value> {
    let list = acme.app.get(TOKENS).by(by).send().await.is(StatusCode::OK);
    list.body["items"].as_array().expect("a list").clone()
}

fn ended(answer: Answer) {
    answer.refused(401, "ERR-AUTH-440", "session_expired");
}

fn invalid(answer: Answer) {
    answer.refused(401, "ERR-AUTH-401", "invalid_token");
}

fn forbidden(answer: Answer) {
    answer.refused(403, "ERR-AUTH-403", "forbidden");
}

#[tokio::test]
async fn a_token_is_issued_listed_used_and_revoked() {
    let acme = Acme::new().await;
    let session = acme.session().await.access;
    let answer = ask(&acme, &session, &["users:*", "own_tenant:read"]).await.is(StatusCode::CREATED);
    let issued = Issued::of(&answer);
    assert_eq!(answer.header("location"), format!("{TOKENS}/{}", issued.id));
    let listed = list(&acme, &session).await;
    assert_eq!(listed.len(), 1);
    let shown = &listed[0];
    assert_eq!(
        (&shown["id"], &shown["name"], &shown["tenant"], &shown["permissions"], &shown["second_factor"]),
        (
            &json!(issued.id),
            &json!("Zanzibar"),
            &json!(acme.tenant.id),
            &json!(["own_tenant:read", "users:*"]),
            &json!(false)
        )
    );
    assert!(shown.get("token").is_none() && shown.get("hash").is_none());
    let at = |name: &str| shown[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!((at("expires_at") - at("issued_at")).num_days(), 90);

    let app = &acme.app;
    app.get("/api/v1/users").by(&issued.token).send().await.is(StatusCode::OK);
    app.get("/api/v1/tenants/me").by(&issued.token).send().await.is(StatusCode::OK);
    let invite = json!({"email": "ben@acme.example"});
    app.post("/api/v1/users", invite).by(&issued.token).send().await.is(StatusCode::CREATED);
    let me = acme.me(&issued.token).await.is(StatusCode::OK).body;
    assert_eq!(
        (&me["id"], &me["role"], &me["tenant"], &me["session"], &me["token"]),
        (&json!(acme.tenant.owner), &json!("owner"), &json!(acme.tenant.id), &Value::Null, &json!(issued.id))
    );

    let path = format!("{TOKENS}/{}", issued.id);
    app.delete(&path).by(&session).send().await.is(StatusCode::NO_CONTENT);
    invalid(app.get("/api/v1/users").by(&issued.token).send().await);
    app.delete(&path).by(&session).send().await.refused(404, "ERR-RES-404", "not_found");
    assert_eq!(list(&acme, &session).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_no_token_to_be_had_is_refused_with_the_reason() {
    let acme = Acme::new().await;
    let session = acme.session().await.access;
    let before = acme.app.events().await;
    let post = |body: Value| acme.app.post(TOKENS, body).by(&session).send();
    let rule = |answer: Answer, detail: &str| answer.refused(422, "ERR-VAL-422", detail);
    rule(post(json!({"name": "x", "permissions": []})).await, "permission_required");
    let all = ["users:read"];
    let until = |end: &str| json!({"name": "x", "permissions": all, "expires_at": end});
    rule(post(until("2020-01-01T00:00:00Z")).await, "expiry_in_the_past");
    rule(post(until("2999-01-01T00:00:00Z")).await, "expiry_too_late");
    let many: Vec<String> = (0..51).map(|n| format!("things:do-{n}")).collect();
    rule(post(json!({"name": "x", "permissions": many})).await, "too_many_permissions");
    post(json!({"name": "", "permissions": all})).await.names(&["/name"]);
    post(json!({"name": "x", "permissions": ["users"]})).await.names(&["/permissions/0"]);
    assert_eq!(acme.app.events().await, before, "nothing was written");
    // Whoever is in no tenant picks one.
    let other = Acme::tenant(&acme.app, "other").await;
    let theirs = acme.app.token_of(other.owner, Role::Owner, Some(other.id));
    let invite = json!({"email": acme.owner(), "role": "user"});
    acme.app.post("/api/v1/users", invite).by(&theirs).send().await.is(StatusCode::CREATED);
    acme.app.accept(other.id, acme.tenant.owner).await;
    let both = acme.session().await.access;
    ask(&acme, &both, &all).await.refused(403, "ERR-AUTH-403", "wrong_org");
    let body = json!({"name": "x", "permissions": all});
    let there = acme.app.post(TOKENS, body).by(&both).header("x-org", &other.id.to_string()).send().await;
    assert_eq!(there.is(StatusCode::CREATED).body["tenant"], json!(other.id));
}

/// CON-SEC-007: a token does what its permissions stand for, and opens nothing else by any way.
#[tokio::test]
async fn a_token_does_not_widen_itself() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let session = acme.session().await.access;
    let ben = acme.member(&session, "ben@acme.example", Role::User).await;
    let issued = issue(&acme, &session, &["users:*", "memberships:*", "roles:*", "own_tenant:*"]).await;
    let by = &issued.token;
    app.get("/api/v1/users").by(by).send().await.is(StatusCode::OK);
    app.settled().await;
    let before = app.events().await;
    // Beyond its permissions.
    forbidden(app.get("/api/v1/invitations").by(by).send().await);
    forbidden(app.get("/api/v1/permissions").by(by).send().await);
    // The account is its person's, signed in.
    forbidden(ask(&acme, by, &["*"]).await);
    forbidden(app.get(TOKENS).by(by).send().await);
    forbidden(app.delete(&format!("{TOKENS}/{}", issued.id)).by(by).send().await);
    let change = json!({"current_password": PASSWORD, "password": OTHER_PASSWORD});
    forbidden(app.put("/api/v1/users/me/password", change).by(by).send().await);
    forbidden(app.get("/api/v1/users/me").by(by).send().await);
    forbidden(app.get("/api/v1/users/me/sessions").by(by).send().await);
    forbidden(app.delete("/api/v1/users/me/sessions").by(by).send().await);
    forbidden(app.post("/api/v1/users/me/mfa/totp", json!({})).by(by).send().await);
    forbidden(app.post("/auth/logout-all", json!({})).by(by).send().await);
    // What wants a fresh authentication, although it is covered and the person is the owner.
    let plan = app.put("/api/v1/tenants/me/plan", json!({"plan": "enterprise"})).by(by).send().await;
    plan.refused(401, "ERR-AUTH-401", "fresh_authentication_required");
    // Nobody gives what they don't hold: neither a role of the platform's nor a permission.
    let promote = app.put(&format!("/api/v1/users/{ben}/role"), json!({"role": "owner"})).by(by);
    forbidden(promote.send().await);
    let invite = json!({"email": "cem@acme.example", "role": "administrator"});
    forbidden(app.post("/api/v1/users", invite).by(by).send().await);
    let membership = aggregates::membership::id_of(acme.tenant.id.into(), ben.into());
    let grant = |permission: &str| {
        app.put(&format!("/api/v1/memberships/{membership}/permissions/{permission}"), json!({}))
            .by(by)
            .send()
    };
    grant("finance.books:read").await.refused(403, "ERR-AUTH-403", "not_held");
    grant("*").await.refused(403, "ERR-AUTH-403", "not_held");
    assert_eq!(app.events().await, before, "nothing was written");
    grant("users:read").await.is(StatusCode::OK);
    // And what applications are told of it is no more than that.
    let access = app.get("/auth/me/access").by(by).send().await.is(StatusCode::OK);
    assert_eq!(access.body["permissions"], json!(["memberships:*", "own_tenant:*", "roles:*", "users:*"]));
    assert_eq!(access.body["modules"], json!([]));
    let whole = app.get("/auth/me/access").by(&session).send().await.is(StatusCode::OK);
    assert_eq!(whole.body["permissions"], json!(["*:*"]));
    assert_ne!(whole.header("etag"), access.header("etag"));
}

/// CON-SEC-007: what the person may no longer do, the token may not either, whatever its permissions stand for.
#[tokio::test]
async fn a_token_does_no_more_than_its_person_may() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let owner = acme.session().await.access;
    let ben = acme.member(&owner, "ben@acme.example", Role::User).await;
    let log_in =
        async || Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK)).access;
    let issued = issue(&acme, &log_in().await, &["*"]).await;
    forbidden(app.get("/api/v1/users").by(&issued.token).send().await);
    // What the person is given, the token may, and no longer than that.
    let membership = aggregates::membership::id_of(acme.tenant.id.into(), ben.into());
    let path = format!("/api/v1/memberships/{membership}/permissions/users:list");
    app.put(&path, json!({})).by(&owner).send().await.is(StatusCode::OK);
    app.get("/api/v1/users").by(&issued.token).send().await.is(StatusCode::OK);
    app.delete(&path).by(&owner).send().await.is(StatusCode::OK);
    forbidden(app.get("/api/v1/users").by(&issued.token).send().await);
    let promote =
        |role: &str| app.put(&format!("/api/v1/users/{ben}/role"), json!({"role": role})).by(&owner).send();
    promote("administrator").await.is(StatusCode::OK);
    ended(app.get("/api/v1/users").by(&issued.token).send().await);
    let issued = issue(&acme, &log_in().await, &["*"]).await;
    app.get("/api/v1/users").by(&issued.token).send().await.is(StatusCode::OK);
    promote("user").await.is(StatusCode::OK);
    ended(app.get("/api/v1/users").by(&issued.token).send().await);
}

/// CON-SEC-007
#[tokio::test]
async fn a_token_is_for_its_tenant_alone() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let other = Acme::tenant(app, "other").await;
    let theirs = app.token_of(other.owner, Role::Owner, Some(other.id));
    let invite = json!({"email": acme.owner(), "role": "administrator"});
    app.post("/api/v1/users", invite).by(&theirs).send().await.is(StatusCode::CREATED);
    app.accept(other.id, acme.tenant.owner).await;
    let both = acme.session().await.access;
    let body = json!({"name": "script", "permissions": ["*"]});
    let here = acme.tenant.id.to_string();
    let issued = app.post(TOKENS, body).by(&both).header("x-org", &here).send().await;
    let issued = Issued::of(&issued.is(StatusCode::CREATED));
    let users = |org: &str| app.get("/api/v1/users").by(&issued.token).header("x-org", org).send();
    users(&here).await.is(StatusCode::OK);
    users(&other.id.to_string()).await.refused(403, "ERR-AUTH-403", "wrong_org");
    let me = acme.me(&issued.token).await.is(StatusCode::OK).body;
    assert_eq!(me["memberships"], json!([{"tenant": acme.tenant.id, "role": "owner", "kind": "staff"}]));
    let path = format!("/api/v1/users/{}", other.owner);
    app.get(&path).by(&issued.token).send().await.refused(404, "ERR-RES-404", "not_found");
    forbidden(app.get("/api/operator/tenants").by(&issued.token).send().await);
}

/// FR-AUTH-004, FR-AUTH-005, FR-OPS-001, FR-TENANT-002, FR-TENANT-006, UC-TENANT-SESSION-REVOKE
#[tokio::test]
async fn a_token_ends_for_good_with_whatever_ends_a_standing() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let owner = acme.session().await.access;
    let ben = acme.member(&owner, "ben@acme.example", Role::Administrator).await;
    let fresh = async |password: &str| {
        let session = Session::of(&acme.log_in("ben@acme.example", password).await.is(StatusCode::OK)).access;
        let issued = issue(&acme, &session, &["users:*"]).await;
        (session, issued.token)
    };
    let users = |token: &str| app.get("/api/v1/users").by(token).send();

    let (session, token) = fresh(PASSWORD).await;
    users(&token).await.is(StatusCode::OK);
    app.post("/auth/logout", json!({})).by(&session).send().await.is(StatusCode::NO_CONTENT);
    users(&token).await.is(StatusCode::OK);
    let (session, other) = fresh(PASSWORD).await;
    app.post("/auth/logout-all", json!({})).by(&session).send().await.is(StatusCode::NO_CONTENT);
    ended(users(&token).await);
    ended(users(&other).await);

    let (session, token) = fresh(PASSWORD).await;
    assert_eq!(list(&acme, &session).await.len(), 1, "what ended is listed no more");
    let change = json!({"current_password": PASSWORD, "password": OTHER_PASSWORD});
    let changed = app.put("/api/v1/users/me/password", change).by(&session).send().await;
    assert!(changed.status.is_success(), "{}", changed.text);
    ended(users(&token).await);

    // An administrator throws out whoever is signed in to the tenant, scripts included.
    let (_, token) = fresh(OTHER_PASSWORD).await;
    let sessions = format!("/api/v1/users/{ben}/sessions");
    let thrown_out = app.delete(&sessions).by(&owner).send().await;
    assert!(thrown_out.status.is_success(), "{}", thrown_out.text);
    invalid(users(&token).await);

    let (session, token) = fresh(OTHER_PASSWORD).await;
    let status = |status: &str| {
        app.put(&format!("/api/v1/users/{ben}/status"), json!({"status": status})).by(&owner).send()
    };
    status("disabled").await.is(StatusCode::OK);
    ended(users(&token).await);
    status("active").await.is(StatusCode::OK);
    ended(users(&token).await);
    ended(app.get(TOKENS).by(&session).send().await);

    let (_, token) = fresh(OTHER_PASSWORD).await;
    let operator = app.token(Role::Operator, None);
    let by_operator = |what: &str| {
        let path = format!("/api/operator/tenants/{}/{what}", acme.tenant.id);
        app.post(&path, json!({"reason": "a test"})).by(&operator).send()
    };
    by_operator("suspend").await.is(StatusCode::OK);
    ended(users(&token).await);
    by_operator("reactivate").await.is(StatusCode::OK);
    ended(users(&token).await);

    let (session, token) = fresh(OTHER_PASSWORD).await;
    assert_eq!(list(&acme, &session).await.len(), 1, "those that the tenant ended are not listed either");
    app.disable(ben).await;
    ended(users(&token).await);
}

/// CC-DAT-001
#[tokio::test]
async fn a_retry_shows_the_same_secret_and_issues_no_second_token() {
    let acme = Acme::new().await;
    let session = acme.session().await.access;
    let body = json!({"name": "script", "permissions": ["users:read"]});
    let call = |body: &Value| acme.app.post(TOKENS, body.clone()).by(&session).idempotency_key("once").send();
    let first = call(&body).await.is(StatusCode::CREATED);
    let again = call(&body).await.is(StatusCode::CREATED);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, "true"));
    assert_eq!(list(&acme, &session).await.len(), 1);
    let other = json!({"name": "script", "permissions": ["*"]});
    call(&other).await.refused(422, "ERR-VAL-422", "idempotency_key_reused");
    let path = format!("{TOKENS}/{}", first.id());
    acme.app.delete(&path).by(&session).send().await.is(StatusCode::NO_CONTENT);
    call(&body).await.refused(409, "ERR-VAL-409", "token_ended");
}

/// RFC 9470
#[tokio::test]
async fn a_token_is_issued_to_whoever_has_just_signed_in() {
    let acme = Acme::new().await;
    let state = &acme.app.server.state;
    let grant = gateway::token::Grant {
        subject: acme.tenant.owner.to_string(),
        session: state.ids.fresh(),
        token_id: state.ids.fresh(),
        tenant: Some(acme.tenant.id.into()),
        role: Some(Role::Owner),
        scopes: Vec::new(),
        began_at: state.access.position(),
        authenticated_at: state.clock.now() - chrono::TimeDelta::minutes(10),
        methods: Vec::new(),
        ttl: gateway::token::TTL_MAX,
    };
    let (old, _) = state.keys.tokens.sign(grant, state.clock.now()).expect("there is a key");
    let refused = ask(&acme, &old, &["users:read"]).await;
    refused.refused(401, "ERR-AUTH-401", "fresh_authentication_required");
    // A token of the local socket is nobody's in particular, and so are its scripts.
    forbidden(ask(&acme, &acme.app.token(Role::Owner, Some(acme.tenant.id)), &["users:read"]).await);
}

/// Rule 8
#[tokio::test]
async fn no_secret_of_a_token_is_written_down() {
    let acme = Acme::new().await;
    let session = acme.session().await.access;
    let issued = issue(&acme, &session, &["users:*"]).await;
    acme.app.get("/api/v1/users").by(&issued.token).send().await.is(StatusCode::OK);
    invalid(acme.app.get("/api/v1/users").by(&format!("{}x", issued.token)).send().await);
    let wrong = format!("{}{}", &issued.token[..issued.token.len() - 1], "_");
    invalid(acme.app.get("/api/v1/users").by(&wrong).send().await);
    acme.app.server.state.audit.flush().await;
    acme.app.settled().await;
    let dump = acme.app.everything_written().await;
    assert!(dump.contains(&issued.id.to_string()), "the search finds what is there");
    // With what it begins, and without. Its name is the person's, and so it is sealed.
    for secret in [&issued.token[..36], &issued.token[36..], "Zanzibar"] {
        assert!(!dump.contains(secret), "{secret} was written down");
    }
}

#[tokio::test]
async fn a_service_is_known_by_its_own_key_and_everything_else_is_refused_alike() {
    let billing = Service::new("billing");
    let known = KnownServices::of(&[(&billing, &["access:read"])]);
    let app = TestApp::with(&["--service-keys", &known.file()]).await;
    let acme = app.provision("acme").await;
    let asked = async |token: String| app.get("/api/v1/permissions").by(&token).send().await;
    let claims = || billing.claims(&app);
    // It is known, and nothing here is for services.
    let known = asked(billing.sign(&claims())).await;
    forbidden(known.clone());
    let entries = app.entries(&[known.trace]).await;
    assert_eq!(
        entries.iter().map(|entry| (entry.actor.as_str(), entry.status)).collect::<Vec<_>>(),
        [("service:billing", Some(403))]
    );

    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        billing.sign(&claims)
    };
    let now = app.server.state.clock.now().timestamp();
    let stranger = Service::new("billing");
    let unsigned = {
        let token = billing.sign(&claims());
        let (_, rest) = token.split_once('.').expect("three parts");
        let (body, _) = rest.split_once('.').expect("three parts");
        let none = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .encode(json!({"alg": "none", "typ": "JWT", "kid": "billing-1"}).to_string());
        format!("{none}.{body}.")
    };
    let shared = {
        let header = Header { kid: Some("billing-1".to_owned()), ..Header::new(Algorithm::HS256) };
        let secret = EncodingKey::from_secret(billing.public.to_string().as_bytes());
        jsonwebtoken::encode(&header, &claims(), &secret).expect("it is signed")
    };
    let as_access = {
        let header = Header {
            kid: Some("billing-1".to_owned()),
            typ: Some("at+jwt".to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, &claims(), &billing.key).expect("it is signed")
    };
    let mut answers = Vec::new();
    for token in [
        stranger.sign(&claims()),
        with("aud", json!("tenantry")),
        with("iss", json!("shipping")),
        with("exp", json!(now - 1)),
        with("exp", json!(now + 3600)),
        with("iat", json!(now + 60)),
        with("nbf", json!(now + 60)),
        unsigned,
        shared,
        as_access,
    ] {
        answers.push(asked(token).await);
    }
    for answer in answers {
        let told = (answer.status.as_u16(), answer.body["detail"].clone(), answer.body["code"].clone());
        assert_eq!(told, (401, json!("invalid_token"), json!("ERR-AUTH-401")));
    }
    // An access token goes on being one.
    app.get("/api/v1/permissions").by(&app.token(Role::Owner, Some(acme.id))).send().await.is(StatusCode::OK);
}

/// CC-SEC-003
#[tokio::test]
async fn a_server_that_is_given_a_private_key_does_not_start() {
    let mut billing = Service::new("billing");
    billing.public["d"] = json!("c2VjcmV0");
    let known = KnownServices::of(&[(&billing, &["access:read"])]);
    let settings = Settings::from_flags(["--service-keys", &known.file()]).expect("the settings are right");
    let error = format!("{:#}", Server::start(settings).await.err().expect("it does not start"));
    assert!(error.contains("key 1 of the service billing") && error.contains("private"), "{error}");
    assert!(!error.contains("c2VjcmV0"), "{error}");
}
