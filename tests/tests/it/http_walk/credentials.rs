//! The walk with credentials that are no good: never were, or are no longer. Whatever the route, they are refused alike, before
//! anybody looks at what is asked, and nothing happens. Routes that are open don't look at credentials at all.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use gateway::token::{Grant, TTL_MAX};
use kernel::TenantId;
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::forger::Forger;
use super::{Operation, Walk, by_operator};
use crate::app::TestApp;
use crate::http_sign_in::PASSWORD;
use crate::internal_service::Service;

const NEVER: (&str, &str) = ("ERR-AUTH-401", "invalid_token");
const NO_LONGER: (&str, &str) = ("ERR-AUTH-440", "session_expired");

/// Credentials, and how they are refused.
struct NoGood {
    what: &'static str,
    credentials: String,
    told: (&'static str, &'static str),
    /// It is still known whose they are, so that each call has its entry in the audit trail. Others' are counted.
    known: bool,
}

/// CC-AUTH-002, CC-AUTH-003, CC-LOG-003, NFR-SEC-005, ERR-AUTH-401, ERR-AUTH-440
#[tokio::test]
async fn every_route_refuses_credentials_that_are_no_good_and_nothing_is_written() {
    let mut walk = Walk::begin().await;
    let all = no_good(&walk).await;
    walk.app.settled().await;
    let before = walk.app.events().await;
    let guarded = walk.guarded();
    let mut counted: BTreeMap<(String, String), i64> = BTreeMap::new();
    for operation in &guarded {
        for NoGood { what, credentials, told: (code, detail), known } in &all {
            if *known {
                walk.refused(what, operation, (credentials, None), (401, code, detail)).await;
                continue;
            }
            let answer = walk.send(operation, Some(credentials), None).await;
            let found =
                (answer.status.as_u16(), answer.body["code"].as_str(), answer.body["detail"].as_str());
            assert_eq!(found, (401, Some(*code), Some(*detail)), "{} with a token {what}", operation.name());
            *counted.entry((operation.action().to_owned(), (*code).to_owned())).or_default() += 1;
            walk.saw(what, operation);
        }
    }
    assert_eq!(walk.app.events().await, before, "nothing was written to the journal");
    walk.look_at_entries().await;
    walk.app.server.state.audit.flush().await;
    walk.app.settled().await;
    let client = walk.app.db.server.get().await.unwrap();
    let sql = "SELECT action, code, sum(count)::bigint FROM read_model.audit_trail_v4 \
               WHERE actor_kind = 'anonymous' AND code = ANY (ARRAY['ERR-AUTH-401', 'ERR-AUTH-440']) GROUP BY action, code";
    let rows = client.query(sql, &[]).await.unwrap();
    let found: BTreeMap<(String, String), i64> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    assert_eq!(found, counted);
    let names = guarded.iter().map(Operation::name).collect();
    for NoGood { what, .. } in &all {
        assert_eq!(walk.seen.get(what), Some(&names), "not walked over with a token {what}");
    }

    let open: Vec<Operation> = walk.operations.iter().filter(|it| it.is_open()).cloned().collect();
    assert_eq!(open.len() + guarded.len(), walk.operations.len());
    for operation in &open {
        open_alike(&walk, operation, &all).await;
    }
}

/// An open route answers whoever asks as it answers a stranger: credentials open nothing there, and stand in nobody's way.
async fn open_alike(walk: &Walk, operation: &Operation, all: &[NoGood]) {
    let without = walk.send(operation, None, None).await;
    for told in [NEVER, NO_LONGER] {
        let one = all.iter().find(|one| one.told == told).expect("there is one of each");
        let with = walk.send(operation, Some(&one.credentials), None).await;
        let of = |answer: &crate::app::Answer| {
            (answer.status, answer.body["code"].clone(), answer.body["detail"].clone())
        };
        assert_eq!(of(&with), of(&without), "{} with a token {}", operation.name(), one.what);
    }
}

async fn no_good(walk: &Walk) -> Vec<NoGood> {
    let (app, acme) = (&walk.app, walk.acme.tenant.id);
    let mut all = Vec::new();
    let mut never = |what, credentials| all.push(NoGood { what, credentials, told: NEVER, known: false });

    let good = app.token(Role::Owner, Some(acme));
    let forger = Forger::of(app, &good).await;
    app.get("/api/v1/users").by(&forger.good()).send().await.is(StatusCode::OK);
    for (what, credentials) in forger.all() {
        never(what, credentials);
    }
    never("that has expired", expired(app, acme));
    for (what, credentials) in keys(walk).await {
        never(what, credentials);
    }
    for (what, credentials) in services(walk) {
        never(what, credentials);
    }

    let since_suspended = app.token(Role::Owner, Some(acme));
    by_operator(walk, ("suspend", json!({"reason": "the walk"}))).await;
    by_operator(walk, ("reactivate", json!({}))).await;
    let mut no_longer =
        |what, credentials, known| all.push(NoGood { what, credentials, told: NO_LONGER, known });
    no_longer("from before the tenant was suspended", since_suspended, true);

    let disabled = Member::of(app, acme, "disabled").await;
    app.disable(disabled.person).await;
    no_longer(
        "of a disabled person as an operator",
        app.token_of(disabled.person, Role::Operator, None),
        false,
    );
    no_longer("of a disabled person", disabled.token, false);
    let out = Member::of(app, acme, "out").await;
    app.post("/auth/logout", json!({})).by(&out.token).send().await.is(StatusCode::NO_CONTENT);
    no_longer("of a session that was signed out", out.token, false);
    let revoked = Member::of(app, acme, "revoked").await;
    let owner = app.token(Role::Owner, Some(acme));
    let path = format!("/api/v1/users/{}", revoked.person);
    let answer = app.delete(&format!("{path}/sessions")).by(&owner).send().await;
    assert!(answer.status.is_success(), "{}", answer.text);
    no_longer("of a session that was revoked", revoked.token, false);
    for (what, name, change) in [
        ("of a member who was removed", "removed", None),
        ("of a member who was disabled", "shut", Some(("status", json!({"status": "disabled"})))),
        ("of a member in a former role", "former", Some(("role", json!({"role": "administrator"})))),
    ] {
        let member = Member::of(app, acme, name).await;
        let path = format!("/api/v1/users/{}", member.person);
        let call = match change {
            None => app.delete(&path),
            Some((what, body)) => app.put(&format!("{path}/{what}"), body),
        };
        let answer = call.by(&owner).send().await;
        assert!(answer.status.is_success(), "{}", answer.text);
        no_longer(what, member.token, true);
    }
    all
}

/// Signed by us, 15 minutes and a second ago.
fn expired(app: &TestApp, tenant: Uuid) -> String {
    let state = &app.server.state;
    let then = state.clock.now() - TimeDelta::from_std(TTL_MAX).expect("minutes") - TimeDelta::seconds(1);
    let grant = Grant {
        subject: "local:1000".to_owned(),
        session: state.ids.fresh(),
        token_id: state.ids.fresh(),
        tenant: Some(TenantId(tenant)),
        role: Some(Role::Owner),
        scopes: Vec::new(),
        began_at: state.access.position(),
        authenticated_at: then,
        methods: vec!["mfa".to_owned()],
        ttl: TTL_MAX,
    };
    state.keys.tokens.sign(grant, then).expect("there is a signing key").0
}

/// Applications' keys: revoked, of another secret, nobody's, and of a disabled application.
async fn keys(walk: &Walk) -> Vec<(&'static str, String)> {
    let app = &walk.app;
    let developer = app.token(Role::Developer, None);
    let (revoked, id) = app.issue_key(walk.acme.application, &["flag:read"]).await;
    let path = format!("/api/developer/applications/{}/keys/{id}", walk.acme.application);
    let answer = app.delete(&path).by(&developer).send().await;
    assert!(answer.status.is_success(), "{}", answer.text);
    let (head, secret) = walk.acme.secret[3..].split_once('_').expect("a key has a secret");
    let other = "A".repeat(secret.len());
    let body = json!({"name": "closed", "environment": "production"});
    let closed = app.post("/api/developer/applications", body).by(&developer).send().await;
    let closed = closed.is(StatusCode::CREATED).id();
    let (of_closed, _) = app.issue_key(closed, &["flag:read"]).await;
    let path = format!("/api/developer/applications/{closed}/status");
    let answer = app.put(&path, json!({"status": "disabled"})).by(&developer).send().await;
    assert!(answer.status.is_success(), "{}", answer.text);
    vec![
        ("(a key) that was revoked", revoked),
        ("(a key) of another secret", format!("tk_{head}_{other}")),
        ("(a key) that nobody has", format!("tk_{}_{secret}", Uuid::from_u128(1).simple())),
        ("(a key) of a disabled application", of_closed),
    ]
}

/// Services' tokens: of another key under a known one's name, for somebody else, of another service, and too old.
fn services(walk: &Walk) -> Vec<(&'static str, String)> {
    let claims = walk.billing.claims(&walk.app);
    let with = |changes: Value| {
        let mut claims = claims.clone();
        let changes = changes.as_object().expect("it is an object").clone();
        claims.as_object_mut().expect("it is an object").extend(changes);
        walk.billing.sign(&claims)
    };
    let now = walk.app.server.state.clock.now().timestamp();
    vec![
        ("(a service's) of another key", Service::new("billing").sign(&claims)),
        ("(a service's) for somebody else", with(json!({"aud": "https://else.example"}))),
        ("(a service's) of another service", with(json!({"iss": "idle", "sub": "idle"}))),
        ("(a service's) that has expired", with(json!({"iat": now - 60, "nbf": now - 60, "exp": now - 1}))),
    ]
}

/// A member who accepted and signed in.
struct Member {
    person: Uuid,
    token: String,
}

impl Member {
    async fn of(app: &TestApp, tenant: Uuid, name: &str) -> Self {
        let owner = app.token(Role::Owner, Some(tenant));
        let email = format!("{name}@acme.example");
        let body = json!({"email": email, "role": "user"});
        let person = app.post("/api/v1/users", body).by(&owner).send().await.is(StatusCode::CREATED).id();
        let token = app.invitation(tenant, person).await;
        let body = json!({"token": token, "password": PASSWORD});
        app.post("/auth/invitations/accept", body).send().await.is(StatusCode::OK);
        let body: Value = json!({"email": email, "password": PASSWORD});
        let session = app.post("/auth/login", body).send().await.is(StatusCode::OK).body;
        let token = session["access_token"].as_str().expect("a token").to_owned();
        app.get("/auth/me").by(&token).send().await.is(StatusCode::OK);
        Self { person, token }
    }
}
