//! The walk over fields: each answer to each kind of caller holds exactly what the kept document says that they see
//! (REQUIREMENTS §1 rule 6). A type that is answered to a kind that the walk has not seen is found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway::endpoint::Endpoint;
use gateway::url_map::url_map;
use gateway::view::audience::{
    ADMINISTRATOR, APPLICATION, AUDITOR, Audience, DEVELOPER, EVERYONE, OPERATOR, OWNER, SERVICE, STRANGER,
    THEMSELF, USER,
};
use gateway::view::declared::declared;
use reqwest::{Method, StatusCode};
use schemas::values::Role;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestTenant};
use crate::authenticator::Device;
use crate::feeds::eventually;
use crate::http_sign_in::PASSWORD;
use crate::internal_service::{KnownServices, Service};
use crate::openid_provider::Provider;

/// What not everybody sees who could be let in, and who does. Whoever widens one of these changes it here too.
const RESTRICTED: &str = include_str!("http_fields/restricted.txt");

/// CON-SEC-007
#[test]
fn nobody_sees_more_than_was_decided() {
    let mut lines = Vec::new();
    for declared in declared() {
        for field in declared.fields.iter().filter(|field| field.audience != EVERYONE) {
            let words = field.audience.words().collect::<Vec<_>>().join(" ");
            let some = if field.always { "" } else { ", of some" };
            lines.push(format!("{}.{}: {words}{some}\n", declared.schema, field.name));
        }
    }
    lines.sort();
    assert_eq!(lines.concat(), RESTRICTED);
}

/// A caller of some kind.
struct Caller {
    kind: Audience,
    token: Option<String>,
}

struct Walk {
    app: TestApp,
    /// `schemas/openapi.json` as it is kept, which nobody changes by the way.
    document: Value,
    endpoints: Vec<Arc<Endpoint>>,
    /// Fields that depend on the value, by schema.
    of_some: BTreeMap<String, BTreeSet<&'static str>>,
    callers: Vec<Caller>,
    /// Schemas, and kinds that were answered with them.
    seen: BTreeSet<(String, String)>,
    tenant: TestTenant,
    ids: BTreeMap<&'static str, Uuid>,
    /// What each of them asked for.
    jobs: Vec<(Audience, Uuid)>,
}

fn word(kind: Audience) -> String {
    kind.words().collect::<Vec<_>>().join("+")
}

/// Where people sign in.
const PAGES: &str = "https://app.example";

impl Walk {
    async fn begin() -> Self {
        let billing = Service::new("billing");
        let known = KnownServices::of(&[(&billing, &["access:read"])]);
        // A host that browsers have passkeys for.
        let services = known.file();
        let flags = ["--public-url", PAGES, "--service-keys", &services, "--sso-private-networks", "on"];
        let app = TestApp::with(&flags).await;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
        let document = std::fs::read_to_string(path).expect("it is kept");
        let portal = json!({"application": {"name": "Portal", "environment": "production"}});
        let tenant = app.provision_only("acme", portal).await;
        let of_some = declared().into_iter().map(|declared| {
            let fields = declared.fields.iter().filter(|field| !field.always);
            (declared.schema, fields.map(|field| field.name).collect())
        });
        let mut walk = Self {
            document: serde_json::from_str(&document).expect("it is JSON"),
            endpoints: url_map().endpoints().cloned().collect(),
            of_some: of_some.collect(),
            callers: Vec::new(),
            seen: BTreeSet::new(),
            ids: BTreeMap::new(),
            jobs: Vec::new(),
            tenant,
            app,
        };
        let token = Some(billing.token(&walk.app));
        walk.callers.push(Caller { kind: SERVICE, token });
        walk.people().await;
        walk.things().await;
        walk.app.settled().await;
        walk
    }

    /// Callers of every kind, who came by them as people do.
    async fn people(&mut self) {
        let (tenant, owner) = (self.tenant.id, self.tenant.owner);
        self.callers.push(Caller { kind: STRANGER, token: None });
        for (role, kind) in
            [(Role::Operator, OPERATOR), (Role::Auditor, AUDITOR), (Role::Developer, DEVELOPER)]
        {
            let token = Some(self.app.token(role, None));
            self.callers.push(Caller { kind, token });
        }
        self.sign_in(OWNER, "owner@acme.example", tenant, owner).await;
        for (email, kind, role) in [
            ("ada@acme.example", ADMINISTRATOR, "administrator"),
            ("ulf@acme.example", USER, "user"),
            ("dora@acme.example", THEMSELF, "user"),
        ] {
            let body = json!({"email": email, "role": role});
            let person = self.send("users:invite", OWNER, body).await.id();
            if kind == USER {
                self.ids.insert("user", aggregates::membership::id_of(tenant.into(), person.into()).0);
            }
            if kind == THEMSELF {
                // Of two tenants, and acts in none until one is picked.
                let other = self.app.provision("other").await;
                let by = self.app.token(Role::Owner, Some(other.id));
                let body = json!({"email": email, "role": "user"});
                let again = self.app.post("/api/v1/users", body).by(&by).send().await.is(StatusCode::CREATED);
                assert_eq!(again.id(), person);
                self.app.accept(other.id, person).await;
            }
            self.sign_in(kind, email, tenant, person).await;
        }
        // Whatever administrators may, a user can be given: no permission shows more of a field.
        let membership = self.ids["user"];
        let given = self.endpoints.iter().filter(|endpoint| endpoint.can_be_given());
        let permissions: Vec<&str> = given.map(|endpoint| endpoint.action).collect();
        for permission in permissions {
            let path = format!("/api/v1/memberships/{membership}/permissions/{permission}");
            self.app.put(&path, json!({})).by(self.token(OWNER)).send().await.is(StatusCode::OK);
        }
    }

    async fn sign_in(&mut self, kind: Audience, email: &str, tenant: Uuid, person: Uuid) {
        let token = self.app.invitation(tenant, person).await;
        let body = json!({"token": token, "password": PASSWORD, "first_name": "Ann"});
        self.send("invitations:accept", STRANGER, body).await;
        let body = json!({"email": email, "password": PASSWORD});
        let answer = self.send("sign_in:log_in", STRANGER, body).await;
        let token = answer.body["access_token"].as_str().map(str::to_owned);
        self.callers.push(Caller { kind, token });
    }

    /// Something of everything, by whoever makes it.
    async fn things(&mut self) {
        let application = self.tenant.application.expect("it was asked for");
        self.ids.insert("application", application);
        self.ids.insert("policy", Uuid::from_u128(7));
        let key = self.send("keys:issue", DEVELOPER, json!({"scopes": ["flag:read", "access:read"]})).await;
        self.ids.insert("key", key.id());
        let token = key.body["key"].as_str().map(str::to_owned);
        self.callers.push(Caller { kind: APPLICATION, token });
        self.send("keys:rotate", DEVELOPER, json!({})).await;
        self.send("applications:update", DEVELOPER, json!({"name": "Gate"})).await;
        let beta =
            json!({"name": "Beta", "domain": "beta.example", "plan": "pro", "owner_email": "o@beta.example"});
        self.send("tenants:provision", OPERATOR, beta).await;
        self.send("platform:rotate_keys", OPERATOR, json!({})).await;
        let text = "forbid (principal is Person, action in Action::\"tenant:people\", resource) \
                    when { principal.kind == Kind::\"client\" };";
        self.send("policies:publish", OPERATOR, json!({"text": text})).await;
        for (kind, name) in [(OWNER, "one"), (ADMINISTRATOR, "two"), (USER, "three")] {
            let body = json!({"email": format!("{name}@acme.example"), "role": "user"});
            self.send("users:invite", kind, body).await;
            let body = json!({"name": name});
            let role = self.send("roles:create", kind, body).await;
            self.ids.insert("role", role.id());
        }
        for kind in [OWNER, ADMINISTRATOR, USER, THEMSELF] {
            self.send("profile:update", kind, json!({"last_name": "Sato"})).await;
        }
        let provider = Provider::open().await;
        let configured = self.send("sso:configure", OWNER, provider.wish()).await;
        self.ids.insert("provider", configured.id());
        self.send("sso:verify", OWNER, json!({})).await;
        self.send("sign_in:ask_passkey", STRANGER, json!({})).await;
        for kind in [OWNER, ADMINISTRATOR, USER] {
            let body = json!({"name": "Export", "permissions": ["users:read"]});
            self.send("my_tokens:issue", kind, body).await;
        }
        for kind in [OWNER, ADMINISTRATOR, USER, THEMSELF] {
            let job = self.send("profile:export", kind, json!({})).await.id();
            self.jobs.push((kind, job));
            let path = format!("/api/v1/jobs/{job}/status");
            let status = || self.app.get(&path).by(self.token(kind)).send();
            eventually("it is made", async || status().await.body["status"] == "succeeded").await;
        }
        for kind in [OPERATOR, AUDITOR, APPLICATION, SERVICE] {
            // One that is let in, and one that is refused.
            for action in ["users:invite", "tenants:suspend"] {
                let subject = json!({"type": "user", "id": self.tenant.owner});
                let body = json!({"subject": subject, "action": action});
                self.send("access:explain", kind, body).await;
            }
        }
        for action in ["flags:evaluate", "flags:evaluate_all"] {
            self.send(action, APPLICATION, json!({})).await;
        }
    }

    fn token(&self, kind: Audience) -> &str {
        let caller = self.callers.iter().find(|caller| caller.kind == kind);
        caller.and_then(|caller| caller.token.as_deref()).expect("they have one")
    }

    /// What they are at an endpoint. `None`: it does not let them in.
    fn at(endpoint: &Endpoint, kind: Audience) -> Option<Audience> {
        let themself = Some(kind.or(THEMSELF));
        let all = Audience::all_of(endpoint);
        all.into_iter().find(|let_in| *let_in == kind || Some(*let_in) == themself)
    }

    /// Calls an endpoint, which must answer, and looks at the answer.
    async fn send(&mut self, action: &str, kind: Audience, body: Value) -> Answer {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.action == action);
        let endpoint = endpoint.cloned().unwrap_or_else(|| panic!("there is no {action}"));
        let kind = Self::at(&endpoint, kind).unwrap_or_else(|| panic!("{action} lets in no {}", word(kind)));
        let answer = self.call(&endpoint, kind, Some(body)).await;
        assert!(answer.status.is_success(), "{action} as {}: {}", word(kind), answer.text);
        self.look(&endpoint, kind, &answer);
        answer
    }

    async fn call(&self, endpoint: &Endpoint, kind: Audience, body: Option<Value>) -> Answer {
        let id = |name: &str| self.ids.get(name).copied().unwrap_or_default();
        let named = match endpoint.path {
            path if path.starts_with("/api/developer") => id("application"),
            path if path.starts_with("/api/operator/policies") => id("policy"),
            path if path.starts_with("/api/v1/roles") => id("role"),
            path if path.starts_with("/api/v1/users") => self.tenant.owner,
            path if path.starts_with("/api/v1/tenants/me/sso") => id("provider"),
            path if path.starts_with("/auth/sso") => id("provider"),
            _ => self.tenant.id,
        };
        // Who asked for none looks at anybody's.
        let own = |of: Audience| of == kind || of.or(THEMSELF) == kind || kind == OPERATOR;
        let job = self.jobs.iter().find(|(of, _)| own(*of)).map(|(_, job)| *job).unwrap_or_default();
        let path = endpoint
            .path
            .replace("{job_id}", &job.to_string())
            .replace("{id}", &named.to_string())
            .replace("{kid}", &id("key").to_string());
        let mut path = path.replace("{key}", "plan.webhooks");
        assert!(!path.contains('{'), "{} has a parameter that the walk does not know", endpoint.path);
        if endpoint.tenant == gateway::endpoint::TenantRule::Connected {
            path.push_str(&format!("?tenant={}", self.tenant.id));
        }
        if endpoint.action == "sign_in:sso_discover" {
            path.push_str("?email=ann@acme.example");
        }
        let mut call = self.app.call(endpoint.method.clone(), &path);
        // Of whoever is let in as themself, the role says who it is.
        let caller =
            self.callers.iter().find(|caller| caller.kind == kind || caller.kind.or(THEMSELF) == kind);
        let caller = caller.unwrap_or_else(|| panic!("nobody walks as {}: see `people`", word(kind)));
        if let Some(token) = &caller.token {
            call = call.by(token);
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        call.send().await
    }

    /// Exactly what they see is in it.
    fn look(&mut self, endpoint: &Endpoint, kind: Audience, answer: &Answer) {
        let method = endpoint.method.as_str().to_lowercase();
        let responses = &self.document["paths"][endpoint.path][method.as_str()]["responses"];
        let schema = responses[answer.status.as_str()]["content"]["application/json"]["schema"].clone();
        let wrong = self.compare(&schema, &answer.body, kind);
        assert!(
            wrong.is_empty(),
            "{method} {} as {}: {wrong:#?}\n{}",
            endpoint.path,
            word(kind),
            answer.text
        );
    }

    fn compare(&mut self, schema: &Value, value: &Value, kind: Audience) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(name) = schema["$ref"].as_str().and_then(|at| at.rsplit('/').next()) {
            let schema = self.document["components"]["schemas"][name].clone();
            if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
                self.seen.insert((name.to_owned(), word(kind)));
                let of_some = self.of_some.get(name).cloned().unwrap_or_default();
                let of_some = |field: &str| name.starts_with("PageBody_") || of_some.contains(field);
                for (field, property) in properties {
                    let seen = sees(property, kind);
                    match fields.get(field) {
                        Some(_) if !seen => wrong.push(format!("{name}.{field} is not for them")),
                        None if seen && !of_some(field) => wrong.push(format!("{name}.{field} is missing")),
                        _ => {}
                    }
                }
                let unknown = fields.keys().filter(|field| !properties.contains_key(*field));
                wrong.extend(unknown.map(|field| format!("{name}.{field} is not declared")));
            }
            wrong.extend(self.compare(&schema, value, kind));
            return wrong;
        }
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            wrong.extend(
                value.get(field).map(|value| self.compare(property, value, kind)).unwrap_or_default(),
            );
        }
        for item in value.as_array().into_iter().flatten() {
            wrong.extend(self.compare(&schema["items"], item, kind));
        }
        if schema["additionalProperties"].is_object() {
            for value in value.as_object().into_iter().flat_map(|all| all.values()) {
                wrong.extend(self.compare(&schema["additionalProperties"], value, kind));
            }
        }
        for either in schema["oneOf"].as_array().into_iter().flatten().filter(|_| !value.is_null()) {
            wrong.extend(self.compare(either, value, kind));
        }
        wrong
    }

    /// Enrols a second factor, which ends the other sessions, and adds a passkey in a session that showed it: last of all.
    async fn enrol(&mut self, kind: Audience, email: &str) {
        let offered = self.send("mfa:offer", kind, json!({})).await.body;
        let secret = Secret::try_from_base32(offered["secret"].as_str().expect("a secret")).expect("base 32");
        let totp = Builder::new().with_secret(secret).build().expect("a secret of 160 bits");
        let now = u64::try_from(self.app.server.state.clock.now().timestamp()).expect("after 1970");
        let body = json!({"enrolment": offered["enrolment"], "code": totp.generate(now).to_string()});
        let codes = self.send("mfa:enrol", kind, body).await.body;

        let body = json!({"email": email, "password": PASSWORD});
        let asked =
            self.app.post("/auth/login", body).send().await.refused(401, "ERR-AUTH-461", "mfa_required");
        let shown =
            json!({"challenge": asked.body["challenge"], "recovery_code": codes["recovery_codes"][0]});
        let answer = self.send("sign_in:second_factor", STRANGER, shown).await;
        let token = answer.body["access_token"].as_str().map(str::to_owned);
        let caller = self.callers.iter_mut().find(|caller| caller.kind == kind);
        caller.expect("they walk").token = token;
        let offered = self.send("passkeys:offer", kind, json!({})).await.body;
        let credential = Device::default().create(PAGES, &offered["options"]).await;
        let body = json!({"ticket": offered["ticket"], "name": "A phone", "credential": credential});
        self.send("passkeys:add", kind, body).await;
        let list = self.endpoints.iter().find(|endpoint| endpoint.action == "passkeys:list").cloned();
        let list = list.expect("they are listed");
        let answer = self.call(&list, Self::at(&list, kind).expect("theirs"), None).await;
        self.look(&list, Self::at(&list, kind).expect("theirs"), &answer.is(StatusCode::OK));
    }

    /// What is answered to whom, by schema, and was never looked at.
    fn unseen(&self) -> BTreeSet<(String, String)> {
        let mut all = BTreeSet::new();
        for endpoint in &self.endpoints {
            let method = endpoint.method.as_str().to_lowercase();
            let operation = &self.document["paths"][endpoint.path][method.as_str()];
            for schema in gateway::openapi::visible::answered(&self.document, operation) {
                if !self.document["components"]["schemas"][&schema]["properties"].is_object() {
                    continue;
                }
                let kinds = Audience::all_of(endpoint).into_iter();
                all.extend(kinds.map(|kind| (schema.clone(), word(kind))));
            }
        }
        all.difference(&self.seen).cloned().collect()
    }
}

fn sees(property: &Value, kind: Audience) -> bool {
    let Some(words) = property["x-visible-to"].as_array() else { return true };
    kind.words().any(|word| words.contains(&json!(word)))
}

/// CON-SEC-007, NFR-SEC-005, CON-SEC-002
#[tokio::test]
async fn each_answer_to_each_role_holds_exactly_the_fields_that_are_declared_for_it() {
    let mut walk = Walk::begin().await;
    let reads = walk.endpoints.clone().into_iter().filter(|endpoint| {
        endpoint.method == Method::GET && endpoint.listener != gateway::endpoint::Listener::Admin
    });
    for endpoint in reads {
        for kind in Audience::all_of(&endpoint) {
            let answer = walk.call(&endpoint, kind, None).await;
            // Who has picked no tenant may do nothing in particular.
            let nowhere = kind == THEMSELF && endpoint.action == "me:access";
            // Where browsers are sent to, and come back from: what is answered then is what a login is.
            let elsewhere = ["sign_in:sso_start", "sign_in:sso"].contains(&endpoint.action);
            let nowhere = nowhere || elsewhere;
            assert!(
                answer.status == StatusCode::OK || nowhere,
                "{} as {}: {}",
                endpoint.path,
                word(kind),
                answer.text
            );
            if answer.status == StatusCode::OK {
                walk.look(&endpoint, kind, &answer);
            }
        }
    }
    for (kind, name) in [(OWNER, "owner"), (ADMINISTRATOR, "ada"), (USER, "ulf"), (THEMSELF, "dora")] {
        walk.enrol(kind, &format!("{name}@acme.example")).await;
    }
    let nowhere = BTreeSet::from([
        ("MyAccess".to_owned(), "self".to_owned()),
        // Without a tenant they are nobody's member, and have no tokens for one.
        ("User".to_owned(), "self".to_owned()),
        ("UserMembership".to_owned(), "self".to_owned()),
        ("IssuedPersonalToken".to_owned(), "self".to_owned()),
        ("PersonalToken".to_owned(), "self".to_owned()),
        // Not for them, as a whole.
        ("GrantsView".to_owned(), "user".to_owned()),
    ]);
    let unseen = walk.unseen();
    let unseen: Vec<_> = unseen.difference(&nowhere).collect();
    assert!(
        unseen.is_empty(),
        "nobody looked at these answers: call their endpoint in `things`: {unseen:#?}"
    );
}

/// CC-DAT-001: what is stored of an outcome is no body, so that a retry is filtered as the first time.
#[tokio::test]
async fn a_retry_gets_the_same_fields_as_the_first_answer() {
    let walk = Walk::begin().await;
    let issue = |by: &str, key: &str| {
        let path = format!("/api/developer/applications/{}/keys", walk.ids["application"]);
        walk.app
            .post(&path, json!({"scopes": ["flag:read", "access:read"]}))
            .by(by)
            .idempotency_key(key)
            .send()
    };
    let developer = walk.token(DEVELOPER);
    let (first, again) = (issue(developer, "one").await, issue(developer, "one").await);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    assert!(first.body["key"].is_string(), "{}", first.text);
}

/// What is not shown is not told by filters either.
#[tokio::test]
async fn nobody_selects_by_a_field_that_they_do_not_see() {
    let walk = Walk::begin().await;
    let get = |path: &str, kind| walk.app.get(path).by(walk.token(kind)).send();
    let lapses = "/api/v1/invitations?filter[expires_at][gt]=2020-01-01T00:00:00Z";
    get(lapses, OWNER).await.is(StatusCode::OK);
    get(lapses, USER).await.names(&["expires_at"]);
    let came_from = "audit-logs?filter[address][eq]=127.0.0.1";
    get(&format!("/api/auditor/{came_from}"), AUDITOR).await.is(StatusCode::OK);
    for kind in [OWNER, USER] {
        get(&format!("/api/v1/tenants/me/{came_from}"), kind).await.names(&["address"]);
    }
}
