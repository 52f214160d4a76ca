//! The walk: every endpoint of the URL map as a stranger, in every wrong role, of another tenant, of a suspended and
//! of a read-only tenant, and as who may. Each call has one entry in the audit trail, refusals included.
//!
//! What is expected follows from the rules that `/openapi.json` tells of each; a new endpoint is walked over without anybody
//! thinking of it, or the test says that it can't be.

mod credentials;
mod forger;
mod operation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway::endpoint::Endpoint;
use reqwest::Method;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestTenant};
use crate::internal_service::{KnownServices, Service};
use operation::Operation;

/// A tenant with something of everything.
struct Furnished {
    tenant: TestTenant,
    application: Uuid,
    role: Uuid,
    provider: Uuid,
    key: Uuid,
    secret: String,
    wrong_secret: String,
}

struct Walk {
    app: TestApp,
    operations: Vec<Operation>,
    acme: Furnished,
    other: Furnished,
    /// An internal service that may do all that services may, and one that may do nothing.
    billing: Service,
    idle: Service,
    /// Which operations were seen in which case.
    seen: BTreeMap<&'static str, BTreeSet<String>>,
    /// What strangers were refused, by action: these are counted, not written one by one.
    counted: BTreeMap<String, i64>,
    /// Calls whose audit entry is still to be looked at.
    called: Vec<Called>,
}

/// A call, and how the audit trail is to tell of it.
struct Called {
    what: String,
    action: String,
    trace: Uuid,
    outcome: &'static str,
    /// `None`: it may have made an event, which has none.
    status: Option<i32>,
}

impl Walk {
    async fn begin() -> Self {
        let (billing, idle) = (Service::new("billing"), Service::new("idle"));
        let map = gateway::url_map::url_map();
        let scopes: BTreeSet<_> = map.endpoints().filter_map(|endpoint| endpoint.service).collect();
        let scopes: Vec<_> = scopes.into_iter().collect();
        let known = KnownServices::of(&[(&billing, &scopes), (&idle, &[])]);
        let app = TestApp::with(&["--service-keys", &known.file()]).await;
        let document = app.get("/openapi.json").send().await.body;
        let operation = |endpoint: &Arc<Endpoint>| {
            let method = endpoint.method.as_str();
            let rules = document["paths"][endpoint.path][method.to_lowercase()].clone();
            assert!(rules.is_object(), "the document does not tell of {method} {}", endpoint.path);
            Operation { method: endpoint.method.clone(), path: endpoint.path.to_owned(), rules }
        };
        let operations = map.endpoints().map(operation).collect();
        let (acme, other) = (furnish(&app, "acme").await, furnish(&app, "other").await);
        Self {
            app,
            operations,
            acme,
            other,
            billing,
            idle,
            seen: BTreeMap::new(),
            counted: BTreeMap::new(),
            called: Vec::new(),
        }
    }

    /// Sends an operation as its document's example says, about the first tenant's things.
    async fn send(&self, operation: &Operation, credentials: Option<&str>, org: Option<Uuid>) -> Answer {
        let acme = &self.acme;
        let user = if operation.is_about_a_membership() {
            aggregates::membership::id_of(acme.tenant.id.into(), acme.tenant.owner.into()).0
        } else if operation.path.starts_with("/api/v1/users") {
            acme.tenant.owner
        } else if operation.path.starts_with("/api/operator/users") {
            self.other.tenant.owner
        } else if operation.path.starts_with("/api/developer") {
            acme.application
        } else if operation.path.starts_with("/api/v1/tenants/me/sso") {
            acme.provider
        } else if operation.path.starts_with("/api/v1/roles") {
            acme.role
        } else {
            acme.tenant.id
        };
        let mut path = operation
            .path
            .replace("{id}", &user.to_string())
            .replace("{kid}", &acme.key.to_string())
            .replace("{job_id}", &acme.tenant.id.to_string())
            .replace("{key}", "plan.webhooks")
            .replace("{permission}", "users:read")
            .replace("{module}", "webhooks");
        assert!(!path.contains('{'), "{} has a parameter that the walk does not know", operation.name());
        if operation.rules["x-tenant"] == "connected" {
            path.push_str(&format!("?tenant={}", acme.tenant.id));
        }
        let mut call = match operation.rules["x-listener"].as_str() {
            Some("admin") => self.app.call_admin(operation.method.clone(), &path),
            _ => self.app.call(operation.method.clone(), &path),
        };
        if let Some(credentials) = credentials {
            call = call.by(credentials);
        }
        if let Some(org) = org {
            call = call.header("x-org", &org.to_string());
        }
        let example = &operation.rules["requestBody"]["content"]["application/json"]["example"];
        if !example.is_null() {
            let mut body = example.clone();
            if operation.action() == "access:explain" {
                body["subject"]["id"] = json!(acme.tenant.owner);
            }
            call = call.json(body);
        }
        call.send().await
    }

    /// The operations that somebody in particular may call.
    fn guarded(&self) -> Vec<Operation> {
        self.operations.iter().filter(|operation| !operation.is_open()).cloned().collect()
    }

    fn saw(&mut self, case: &'static str, operation: &Operation) {
        self.seen.entry(case).or_default().insert(operation.name());
    }

    /// Refused with status, code and detail; one entry says so.
    async fn refused(
        &mut self,
        case: &'static str,
        operation: &Operation,
        (credentials, org): (&str, Option<Uuid>),
        (status, code, detail): (u16, &str, &str),
    ) {
        let answer = self.send(operation, Some(credentials), org).await;
        let found = (answer.status.as_u16(), answer.body["code"].as_str(), answer.body["detail"].as_str());
        assert_eq!(found, (status, Some(code), Some(detail)), "{case}: {}", operation.name());
        self.called(case, operation, &answer, "denied", Some(i32::from(status)));
        self.saw(case, operation);
    }

    fn called(
        &mut self,
        case: &str,
        operation: &Operation,
        answer: &Answer,
        outcome: &'static str,
        status: Option<i32>,
    ) {
        let what = format!("{case}: {}", operation.name());
        let (action, trace) = (operation.action().to_owned(), answer.trace);
        self.called.push(Called { what, action, trace, outcome, status });
    }

    /// Every call since the last look has exactly one entry under its endpoint's action.
    async fn look_at_entries(&mut self) {
        let called = std::mem::take(&mut self.called);
        let traces: Vec<Uuid> = called.iter().map(|call| call.trace).collect();
        let wanted: BTreeSet<(Uuid, &str)> =
            called.iter().map(|call| (call.trace, call.action.as_str())).collect();
        // What is polled is queued: it may take a moment.
        let complete = async {
            loop {
                let entries = self.app.entries(&traces).await;
                let there = entries.iter().map(|entry| (entry.trace, entry.action.as_str()));
                if wanted.is_subset(&there.collect()) {
                    return entries;
                }
            }
        };
        let entries = tokio::time::timeout(crate::app::PATIENCE, complete).await;
        let entries = entries.unwrap_or_else(|_| panic!("a call has no audit entry"));
        for Called { what, action, trace, outcome, status } in called {
            let own = entries.iter().filter(|entry| entry.trace == trace && entry.action == action);
            let own: Vec<_> = own.collect();
            assert_eq!(own.len(), 1, "{what} has {own:?}");
            assert_eq!(own[0].outcome, outcome, "{what}");
            assert!(status.is_none() || own[0].status == status, "{what} has {own:?}");
        }
    }
}

async fn furnish(app: &TestApp, name: &str) -> Furnished {
    let application = json!({"application": {"name": name, "environment": "production"}});
    let tenant = app.provision_with(name, application).await;
    let application = tenant.application.expect("it was asked for");
    let (secret, key) = app.issue_key(application, &["flag:read", "access:read"]).await;
    let (wrong_secret, _) = app.issue_key(application, &["log:write"]).await;
    let owner = app.token(Role::Owner, Some(tenant.id));
    let role = app.post("/api/v1/roles", json!({"name": "Readers", "permissions": ["*:read"]}));
    let role = role.by(&owner).send().await.is(reqwest::StatusCode::CREATED).id();
    let provider = crate::http_sso::configured(app, tenant.id, "https://id.example").await;
    app.settled().await;
    Furnished { tenant, application, role, provider, key, secret, wrong_secret }
}

fn tenant_roles() -> impl Iterator<Item = Role> {
    Role::ALL.iter().copied().filter(|role| role.is_tenant())
}

fn platform_roles() -> impl Iterator<Item = Role> {
    Role::ALL.iter().copied().filter(|role| role.is_platform())
}

/// CC-AUTH-003, CC-SEC-001, CC-LOG-003, CON-SEC-007, NFR-SEC-005, FR-LOG-003, ERR-AUTH-401, ERR-AUTH-403, ERR-RES-404
#[tokio::test]
async fn every_route_lets_in_whom_it_names_and_nobody_else() {
    let mut walk = Walk::begin().await;
    let guarded = walk.guarded();
    assert!(guarded.len() >= 40, "the document holds only {}", guarded.len());
    assert!(guarded.iter().all(Operation::is_audited), "whoever has credentials is audited");

    strangers(&mut walk, &guarded).await;
    for operation in &guarded {
        wrong_roles(&mut walk, operation).await;
        wrong_tenants(&mut walk, operation).await;
    }
    walk.look_at_entries().await;
    restricted(&mut walk, &guarded, "read-only").await;
    restricted(&mut walk, &guarded, "suspended").await;
    // Last, because it changes things: first what only reads, then what a tenant may do, then what stops tenants and keys.
    let mut ordered: Vec<&Operation> = guarded.iter().collect();
    ordered.sort_by_key(|operation| (operation.mutates(), operation.tenant() != "own"));
    for operation in ordered {
        allowed(&mut walk, operation).await;
    }

    walk.look_at_entries().await;

    // Nothing was left out.
    let all: BTreeSet<String> = guarded.iter().map(Operation::name).collect();
    let of = |condition: fn(&Operation) -> bool| -> BTreeSet<String> {
        guarded.iter().filter(|operation| condition(operation)).map(Operation::name).collect()
    };
    let in_a_tenant = |operation: &Operation| matches!(operation.tenant(), "own" | "connected");
    let mutating_in_a_tenant = |operation: &Operation| operation.tenant() == "own" && operation.mutates();
    for (case, expected) in [
        ("stranger", all.clone()),
        ("wrong role", all.clone()),
        ("wrong service", all.clone()),
        ("wrong tenant", all.clone()),
        ("suspended", of(in_a_tenant)),
        ("read-only", of(mutating_in_a_tenant)),
        ("allowed", all),
    ] {
        let seen = walk.seen.remove(case).unwrap_or_default();
        let uncovered: Vec<_> = expected.difference(&seen).collect();
        assert!(uncovered.is_empty(), "not walked over as {case}: {uncovered:?}");
    }
}

/// Without credentials, and with credentials that are none of ours.
async fn strangers(walk: &mut Walk, guarded: &[Operation]) {
    let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.";
    for operation in guarded {
        for (credentials, detail) in [
            (None, "missing_token"),
            (Some(forged), "invalid_token"),
            (Some("tk_0_0"), "invalid_token"),
            (Some("tp_0_0"), "invalid_token"),
        ] {
            let answer = walk.send(operation, credentials, None).await;
            let answer = answer.refused(401, "ERR-AUTH-401", detail);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{}", operation.name());
            *walk.counted.entry(operation.action().to_owned()).or_default() += 1;
        }
        walk.saw("stranger", operation);
    }
    // They are counted, so that a stranger can't fill the disk; the sum is right.
    walk.app.server.state.audit.flush().await;
    walk.app.settled().await;
    let client = walk.app.db.server.get().await.unwrap();
    let sql = "SELECT action, sum(count)::bigint, count(*) FROM read_model.audit_trail_v4 \
               WHERE actor_kind = 'anonymous' AND code = 'ERR-AUTH-401' GROUP BY action";
    let rows = client.query(sql, &[]).await.unwrap();
    let found: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, walk.counted);
    assert!(rows.iter().all(|row| row.get::<_, i64>(2) <= 2), "one entry for each kind of refusal");
}

async fn wrong_roles(walk: &mut Walk, operation: &Operation) {
    let forbidden = (403, "ERR-AUTH-403", "forbidden");
    let (acme, roles) = (walk.acme.tenant.id, operation.roles());
    for role in platform_roles().filter(|role| !roles.contains(role)) {
        let token = walk.app.token(role, None);
        walk.refused("wrong role", operation, (&token, None), forbidden).await;
    }
    for role in tenant_roles().filter(|role| !roles.contains(role)) {
        let token = walk.app.token(role, Some(acme));
        walk.refused("wrong role", operation, (&token, None), forbidden).await;
    }
    let key = match operation.scope() {
        Some(_) => walk.acme.wrong_secret.clone(),
        None => walk.acme.secret.clone(),
    };
    walk.refused("wrong role", operation, (&key, Some(acme)), forbidden).await;
    let mut services = vec![walk.idle.token(&walk.app)];
    if operation.service_scope().is_none() {
        services.push(walk.billing.token(&walk.app));
    }
    for token in services {
        walk.refused("wrong service", operation, (&token, None), forbidden).await;
    }
}

/// Another tenant's is not there; what is nobody's in particular is not for credentials of one tenant.
async fn wrong_tenants(walk: &mut Walk, operation: &Operation) {
    let (acme, other) = (walk.acme.tenant.id, walk.other.tenant.id);
    let absent = (404, "ERR-RES-404", "not_found");
    let wrong_org = (403, "ERR-AUTH-403", "wrong_org");
    let case = "wrong tenant";
    if operation.tenant() == "connected" {
        let key = walk.other.secret.clone();
        walk.refused(case, operation, (&key, None), absent).await;
        walk.refused(case, operation, (&key, Some(other)), wrong_org).await;
        return;
    }
    let role = *operation.roles().first().expect("somebody may call it");
    let token = walk.app.token(role, Some(other));
    match operation.tenant() {
        "platform" => walk.refused(case, operation, (&token, None), wrong_org).await,
        "caller" => walk.refused(case, operation, (&token, Some(acme)), wrong_org).await,
        "own" => {
            walk.refused(case, operation, (&token, Some(acme)), wrong_org).await;
            if operation.names_a_tenants_thing() {
                let answer = walk.send(operation, Some(&token), None).await;
                let answer = answer.refused(404, "ERR-RES-404", "not_found");
                // A membership's or a role's id may be another tenant's; a person is just not among the tenant's people.
                let hidden = operation.is_about_a_membership() || operation.path.starts_with("/api/v1/roles");
                let outcome = if hidden { "denied" } else { "failure" };
                walk.called(case, operation, &answer, outcome, Some(404));
            }
        }
        path => {
            assert!(path.starts_with("path:"), "{} has an unknown rule {path}", operation.name());
            walk.refused(case, operation, (&token, None), absent).await;
        }
    }
}

/// A tenant that is suspended, or read-only: its members and applications are refused, operators are not.
async fn restricted(walk: &mut Walk, guarded: &[Operation], case: &'static str) {
    let (begin, end, detail) = match case {
        "suspended" => (("suspend", json!({"reason": "the walk"})), ("reactivate", json!({})), "blocked"),
        _ => (
            ("access-mode", json!({"mode": "read_only"})),
            ("access-mode", json!({"mode": "active"})),
            "read_only",
        ),
    };
    by_operator(walk, begin).await;
    for operation in guarded.iter().filter(|operation| matches!(operation.tenant(), "own" | "connected")) {
        // What roles of the platform may too, applications are refused.
        let credentials = match operation.roles().first() {
            Some(role) if operation.scope().is_none() => walk.app.token(*role, Some(walk.acme.tenant.id)),
            _ => walk.acme.secret.clone(),
        };
        // Why somebody is refused is told of blocked tenants most of all.
        let stays_open = operation.rules["x-when-blocked"] == true;
        if !stays_open && (case == "suspended" || operation.mutates()) {
            let expected = (403, "ERR-AUTH-403", detail);
            walk.refused(case, operation, (&credentials, None), expected).await;
        } else {
            let answer = walk.send(operation, Some(&credentials), None).await;
            assert!(answer.status.is_success(), "{}: {}", operation.name(), answer.text);
            walk.called(case, operation, &answer, "success", None);
            walk.saw(case, operation);
        }
    }
    by_operator(walk, end).await;
}

async fn by_operator(walk: &Walk, (what, body): (&str, Value)) {
    let operator = walk.app.token(Role::Operator, None);
    let path = format!("/api/operator/tenants/{}/{what}", walk.acme.tenant.id);
    let method = if what == "access-mode" { Method::PUT } else { Method::POST };
    let answer = walk.app.call(method, &path).json(body).by(&operator).send().await;
    assert!(answer.status.is_success(), "{}", answer.text);
}

/// Whoever is named gets past the gate, and that is audited once too, whatever comes of it.
async fn allowed(walk: &mut Walk, operation: &Operation) {
    let mut credentials: Vec<(Option<Role>, String)> = Vec::new();
    for role in operation.roles() {
        let tenant = role.is_tenant().then_some(walk.acme.tenant.id);
        let token = match (operation.tenant(), role) {
            // What concerns the caller wants a person: the one there is.
            ("caller", Role::Owner) => walk.app.token_of(walk.acme.tenant.owner, role, tenant),
            // Or of who looks at others'.
            ("caller", role) if role.is_tenant() => continue,
            _ => walk.app.token(role, tenant),
        };
        credentials.push((Some(role), token));
    }
    if operation.scope().is_some() {
        credentials.push((None, walk.acme.secret.clone()));
    }
    if operation.service_scope().is_some() {
        credentials.push((None, walk.billing.token(&walk.app)));
    }
    for (role, credentials) in credentials {
        let answer = walk.send(operation, Some(&credentials), None).await;
        let status = answer.status.as_u16();
        // An administrator gets in but makes and unmakes no owners.
        let passed = matches!(status, 200..300 | 400 | 404 | 409 | 422)
            || (status == 403 && role == Some(Role::Administrator));
        assert!(passed, "{}: {}", operation.name(), answer.text);
        let (outcome, told) = match status {
            200..300 => ("success", None),
            403 => ("denied", Some(403)),
            other => ("failure", Some(i32::from(other))),
        };
        walk.called("allowed", operation, &answer, outcome, told);
    }
    walk.saw("allowed", operation);
}

/// The document tells of every endpoint of the table, with the table's rules.
#[tokio::test]
async fn the_document_holds_every_endpoint_of_the_url_map() {
    let document = gateway::openapi::document();
    let map = gateway::url_map::url_map();
    for endpoint in map.endpoints() {
        let operation = &document["paths"][endpoint.path][endpoint.method.as_str().to_lowercase()];
        assert_eq!(operation["x-action"], endpoint.action, "{} {}", endpoint.method, endpoint.path);
        let roles: Vec<_> = endpoint.roles.iter().map(|role| role.as_str()).collect();
        let told = operation.get("x-roles").cloned().unwrap_or(json!([]));
        assert_eq!(told, json!(roles), "{} {}", endpoint.method, endpoint.path);
    }
    let items = document["paths"].as_object().unwrap().values();
    let told: usize = items.map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(told, map.endpoints().count(), "and of no others");
}
