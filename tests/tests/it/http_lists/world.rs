//! Tenants with something of everything, and everybody who may ask about it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, StatusCode};
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp};
use crate::authenticator::Device;
use crate::http_sign_in::PASSWORD;

const HARMLESS: &str = "forbid (principal is Person, action == Action::\"users:remove\", resource) \
                        when { principal.kind == Kind::\"client\" };";
/// What those hold who were given something: each list with what shows one of its rows.
const GIVEN: [&str; 6] =
    ["users:list", "users:read", "roles:list", "roles:read", "memberships:list", "sessions:list"];

/// Where people sign in.
const PAGES: &str = "https://app.example";

/// A session, whose it is, and the tenants that it reaches.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: Uuid,
    pub person: Uuid,
    pub tenants: Vec<Uuid>,
    access: String,
}

impl Session {
    fn begun(app: &TestApp, answer: &Answer, person: Uuid) -> Self {
        let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
        // Who belongs to several tenants has a session for all of them.
        let tenants = app.server.state.access.memory.active_memberships(person.into());
        Self {
            id: text("session").parse().expect("an id"),
            person,
            tenants: tenants.iter().map(|member| member.tenant.0).collect(),
            access: text("access_token"),
        }
    }
}

/// Whoever may ask.
pub struct Asker {
    pub who: String,
    /// `None`: a stranger.
    pub credentials: Option<String>,
    /// The tenant that the credentials are for.
    pub tenant: Option<Uuid>,
}

pub struct World {
    pub app: TestApp,
    pub tenants: Vec<Uuid>,
    pub applications: Vec<Uuid>,
    pub sessions: Vec<Session>,
    pub askers: Vec<Asker>,
    /// Personal access tokens, with the sessions that they were issued in.
    pub tokens: Vec<(Session, Uuid)>,
    /// Passkeys, with the people who have them.
    pub passkeys: Vec<(Uuid, Uuid)>,
    /// OpenID providers of tenants.
    pub providers: Vec<Uuid>,
    /// What was recorded before this time is all there is: to ask is recorded too.
    pub built_at: String,
}

struct Furnished {
    tenant: Uuid,
    /// Those who can ask themselves, with their roles.
    people: Vec<(&'static str, Uuid, Role)>,
}

impl World {
    pub async fn build() -> Self {
        // A host that browsers have passkeys for.
        let app = TestApp::with(&["--public-url", PAGES]).await;
        let (mut sessions, mut applications, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["alpha", "beta", "gamma", "delta"] {
            let application = json!({"application": {"name": name, "environment": "production"}});
            let tenant = app.provision_with(name, application).await;
            applications.push(tenant.application.expect("it was asked for"));
            all.push(furnish(&app, tenant.id, tenant.owner, name, &mut sessions).await);
        }
        let mut providers = Vec::new();
        for tenant in &all {
            for _ in 0..2 {
                providers.push(crate::http_sso::configured(&app, tenant.tenant, "https://id.example").await);
            }
        }
        // Somebody in two tenants, signed in for both.
        let shared = invite(&app, all[0].tenant, "shared@else.example", "user").await;
        accept(&app, all[0].tenant, shared).await;
        invite(&app, all[1].tenant, "shared@else.example", "administrator").await;
        app.accept(all[1].tenant, shared).await;
        sessions.push(log_in(&app, "shared@else.example", shared).await);
        let (mut passkeys, mut tokens) = (Vec::new(), Vec::new());
        let of_one = sessions.iter().filter(|session| session.tenants.len() == 1);
        let people: BTreeMap<Uuid, Session> =
            of_one.map(|session| (session.person, session.clone())).collect();
        for (person, session) in people {
            let (mut device, mut other) = (Device::default(), Device::default());
            passkeys.push((person, add_passkey(&app, &session, &mut device).await));
            // The first factor ended their other sessions.
            sessions.retain(|other| other.person != person || other.id == session.id);
            // From the second on a passkey is asked for.
            let session = log_in_with(&app, &mut device, person).await;
            passkeys.push((person, add_passkey(&app, &session, &mut other).await));
            for name in ["Export", "Import"] {
                let body = json!({"name": name, "permissions": ["users:read"]});
                let issued = app.post("/api/v1/users/me/tokens", body).by(&session.access).send().await;
                tokens.push((session.clone(), issued.is(StatusCode::CREATED).id()));
            }
            sessions.push(session);
        }
        let developer = app.token(Role::Developer, None);
        for application in &applications {
            let (_, revoked) = app.issue_key(*application, &["flag:read"]).await;
            app.issue_key(*application, &["log:write"]).await;
            let path = format!("/api/developer/applications/{application}/keys/{revoked}");
            done(app.delete(&path).by(&developer).send().await);
        }
        let operator = app.token(Role::Operator, None);
        for n in 1..4_u128 {
            let path = format!("/api/operator/policies/{}", Uuid::from_u128(n));
            done(app.put(&path, json!({"text": HARMLESS})).by(&operator).send().await);
        }
        let withdrawn = format!("/api/operator/policies/{}", Uuid::from_u128(3));
        done(app.delete(&withdrawn).by(&operator).send().await);
        // One stands still, one is only looked at.
        let path = |tenant: Uuid, what| format!("/api/operator/tenants/{tenant}/{what}");
        let suspend = app.post(&path(all[2].tenant, "suspend"), json!({"reason": "a test"}));
        done(suspend.by(&operator).send().await);
        let look = app.put(&path(all[3].tenant, "access-mode"), json!({"mode": "read_only"}));
        done(look.by(&operator).send().await);
        app.settled().await;

        let askers = askers(&app, &all, &applications).await;
        app.settled().await;
        let built_at = app.server.state.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let tenants = all.iter().map(|furnished| furnished.tenant).collect();
        Self { app, tenants, applications, sessions, askers, tokens, passkeys, providers, built_at }
    }

    /// True unless the suspension of its only tenant ended it: then it is listed nowhere.
    pub fn goes_on(&self, session: &Session) -> bool {
        session.tenants != [self.tenants[2]]
    }

    /// True for those who run the platform, for applications, and for the first tenant's people.
    pub fn sees_most(&self, asker: &Asker) -> bool {
        let platform = [Role::Operator, Role::Developer, Role::Auditor].map(Role::as_str);
        platform.contains(&asker.who.as_str())
            || asker.who.starts_with("an application")
            || (asker.tenant == self.tenants.first().copied() && asker.who.starts_with("a member"))
    }

    /// Rows of a read model, whosoever they are, as texts.
    pub async fn rows(&self, columns: &str, table: &str) -> BTreeSet<Vec<Option<String>>> {
        // The newest version of the view.
        let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = 'read_model'::regnamespace \
                   AND relname ~ ('^' || $1 || '_v[0-9]+$') ORDER BY length(relname) DESC, relname DESC LIMIT 1";
        let client = self.app.db.server.get().await.expect("a connection");
        let view: String = client.query_one(sql, &[&table]).await.expect("there is one").get(0);
        drop(client);
        self.query(&format!("SELECT {columns} FROM read_model.{view}")).await
    }

    /// Every flag, by its tenant and key: none of them was cleared.
    pub async fn flags(&self) -> BTreeSet<Vec<Option<String>>> {
        let of_tenants = "SELECT aggregate_id::text, payload::jsonb #>> '{FlagSet,key}' FROM events \
                          WHERE event_type = 'tenant.flag_set'";
        self.query(of_tenants).await
    }

    async fn query(&self, sql: &str) -> BTreeSet<Vec<Option<String>>> {
        let client = self.app.db.server.get().await.expect("a connection");
        let rows = client.query(sql, &[]).await.expect("it answers");
        rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
    }
}

#[track_caller]
fn done(answer: Answer) {
    assert!(answer.status.is_success(), "{}", answer.text);
}

async fn furnish(
    app: &TestApp,
    tenant: Uuid,
    owner: Uuid,
    name: &'static str,
    sessions: &mut Vec<Session>,
) -> Furnished {
    let (by, operator) = (app.token(Role::Owner, Some(tenant)), app.token(Role::Operator, None));
    let email = |who: &str| format!("{who}@{name}.example");
    let ask = async |method: Method, path: String, body: Value| {
        done(app.call(method, &path).json(body).by(&by).send().await);
    };
    let mut people = vec![("an owner", owner, Role::Owner)];
    for (who, role) in [("ada", "administrator"), ("una", "user"), ("ugo", "user")] {
        let person = invite(app, tenant, &email(who), role).await;
        accept(app, tenant, person).await;
        people.push(("a member", person, if role == "user" { Role::User } else { Role::Administrator }));
        sessions.push(log_in(app, &email(who), person).await);
        if who == "una" {
            sessions.push(log_in(app, &email(who), person).await);
        }
    }
    for who in ["ivo", "ida", "ian"] {
        invite(app, tenant, &email(who), "user").await;
    }
    let shut = invite(app, tenant, &email("dan"), "user").await;
    app.accept(tenant, shut).await;
    ask(Method::PUT, format!("/api/v1/users/{shut}/status"), json!({"status": "disabled"})).await;
    let gone = invite(app, tenant, &email("rex"), "user").await;
    app.accept(tenant, gone).await;
    ask(Method::DELETE, format!("/api/v1/users/{gone}"), json!({})).await;

    for role in ["Readers", "Sellers", "Former"] {
        let made =
            app.post("/api/v1/roles", json!({"name": role, "permissions": GIVEN})).by(&by).send().await;
        let id = made.is(StatusCode::CREATED).id();
        match role {
            "Readers" => {
                let ugo = people[3].1;
                let member = aggregates::membership::id_of(tenant.into(), ugo.into()).0;
                let body = json!({"custom_role": id});
                ask(Method::PATCH, format!("/api/v1/memberships/{member}"), body).await;
                people[3].0 = "a member who was given something";
            }
            "Former" => ask(Method::DELETE, format!("/api/v1/roles/{id}"), json!({})).await,
            _ => {}
        }
    }
    for key in ["theme", "limit"] {
        let path = format!("/api/operator/tenants/{tenant}/flags/{key}");
        done(app.put(&path, json!({"value": name})).by(&operator).send().await);
    }
    Furnished { tenant, people }
}

async fn invite(app: &TestApp, tenant: Uuid, email: &str, role: &str) -> Uuid {
    let by = app.token(Role::Owner, Some(tenant));
    let body = json!({"email": email, "role": role});
    app.post("/api/v1/users", body).by(&by).send().await.is(StatusCode::CREATED).id()
}

async fn accept(app: &TestApp, tenant: Uuid, person: Uuid) {
    let body = json!({"token": app.invitation(tenant, person).await, "password": PASSWORD});
    app.post("/auth/invitations/accept", body).send().await.is(StatusCode::OK);
}

async fn log_in(app: &TestApp, email: &str, person: Uuid) -> Session {
    let body = json!({"email": email, "password": PASSWORD});
    Session::begun(app, &app.post("/auth/login", body).send().await.is(StatusCode::OK), person)
}

async fn add_passkey(app: &TestApp, by: &Session, device: &mut Device) -> Uuid {
    let path = "/api/v1/users/me/passkeys";
    let offered = app.post(&format!("{path}/options"), json!({})).by(&by.access).send().await;
    let offered = offered.is(StatusCode::OK).body;
    let credential = device.create(PAGES, &offered["options"]).await;
    let body = json!({"ticket": offered["ticket"], "name": "Phone", "credential": credential});
    app.post(path, body).by(&by.access).send().await.is(StatusCode::CREATED).id()
}

async fn log_in_with(app: &TestApp, device: &mut Device, person: Uuid) -> Session {
    let asked = app.post("/auth/passkeys/options", json!({})).send().await.is(StatusCode::OK).body;
    let credential = device.get(PAGES, &asked["options"]).await;
    let body = json!({"ticket": asked["ticket"], "credential": credential});
    let answer = app.post("/auth/passkeys/login", body).send().await.is(StatusCode::OK);
    Session::begun(app, &answer, person)
}

/// Every role of the platform, and in each tenant every role that is nobody's in particular, and its people.
async fn askers(app: &TestApp, all: &[Furnished], applications: &[Uuid]) -> Vec<Asker> {
    let asker =
        |who: String, credentials: String, tenant| Asker { who, credentials: Some(credentials), tenant };
    let mut askers = vec![Asker { who: "a stranger".to_owned(), credentials: None, tenant: None }];
    let platform = Role::ALL.iter().filter(|role| role.is_platform());
    askers.extend(platform.map(|role| asker(role.as_str().to_owned(), app.token(*role, None), None)));
    for (application, Furnished { tenant, .. }) in applications.iter().zip(all) {
        let (key, _) = app.issue_key(*application, &["flag:read"]).await;
        askers.push(asker(format!("an application of {tenant}"), key, None));
    }
    for Furnished { tenant, people } in all {
        let roles = Role::ALL.iter().filter(|role| role.is_tenant());
        let token = |role: &Role| app.token(*role, Some(*tenant));
        askers.extend(
            roles.map(|role| asker(format!("{} of {tenant}", role.as_str()), token(role), Some(*tenant))),
        );
        askers.extend(people.iter().map(|(who, person, role)| {
            let token = app.token_of(*person, *role, Some(*tenant));
            asker(format!("{who} of {tenant}, {}", role.as_str()), token, Some(*tenant))
        }));
    }
    askers
}
