//! A server of a test's own, on a database of its own, and requests that read like a script.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use aggregates::membership::{Membership, MembershipCommand};
use aggregates::user::{User, UserCommand};
use engine::feed::FeedName;
use gateway::serve::Server;
use gateway::settings::Settings;
use gateway::token::{Grant, TTL_MAX};
use kernel::{PersonId, Position, PositionToken, ShardId, TenantId};
use reqwest::{Method, StatusCode, header::HeaderMap};
use schemas::values::Role;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::db::TestDb;
use crate::engine_postgres::context;

/// How long anything may take that happens by itself.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// No rate limits: a test that is about one says so after these.
const UNLIMITED: [&str; 12] = [
    "--rate-sign-in",
    "0",
    "--rate-read",
    "0",
    "--rate-write",
    "0",
    "--rate-poll",
    "0",
    "--rate-tenant",
    "0",
    "--rate-address",
    "0",
];

/// A running server.
pub struct TestApp {
    pub db: TestDb,
    pub server: Server,
    pub http: reqwest::Client,
    data_dir: TempDir,
}

/// A tenant that was provisioned, with its first owner as a member.
#[derive(Clone, Debug)]
pub struct TestTenant {
    pub id: Uuid,
    pub owner: Uuid,
    pub application: Option<Uuid>,
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With further flags of `tenantry serve`.
    pub async fn with(flags: &[&str]) -> Self {
        let db = TestDb::new().await;
        let data_dir = tempfile::tempdir().expect("a directory is made");
        let directory = data_dir.path().join("data");
        let (server_url, owner_url) = (db.server_info.url(), db.owner_info.url());
        let mut all = vec![
            "--data-dir",
            directory.to_str().expect("the path is text"),
            "--database-url",
            &server_url,
            "--owner-database-url",
            &owner_url,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--database-connections",
            "10",
            // Passwords are hashed as cheaply as can be: how dearly is the hasher's own tests' business.
            "--password-memory-kib",
            "8",
            "--password-passes",
            "1",
        ];
        // A test asks more than people do.
        all.extend(UNLIMITED);
        all.extend(flags);
        let settings = Settings::from_flags(all).expect("the settings are right");
        let server = Server::start(settings).await.expect("the server starts");
        // Where a browser is sent to is the test's business.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Self { db, server, http: http.expect("a client needs nothing"), data_dir }
    }

    /// Where the server keeps its keys.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.path().join("data")
    }

    /// A token for a role of the platform, or of a tenant, that is nobody's in particular.
    pub fn token(&self, role: Role, tenant: Option<Uuid>) -> String {
        self.sign("local:1000".to_owned(), role, tenant)
    }

    /// A person's token.
    pub fn token_of(&self, person: Uuid, role: Role, tenant: Option<Uuid>) -> String {
        self.sign(person.to_string(), role, tenant)
    }

    /// The same as [`TestApp::token`], of whoever showed no second factor, as those of the local socket.
    pub fn token_without_second_factor(&self, role: Role, tenant: Option<Uuid>) -> String {
        self.sign_with("local:1000".to_owned(), role, tenant, &[])
    }

    /// With a second factor: what asks for it is not what most tests are about.
    fn sign(&self, subject: String, role: Role, tenant: Option<Uuid>) -> String {
        self.sign_with(subject, role, tenant, &["mfa"])
    }

    fn sign_with(&self, subject: String, role: Role, tenant: Option<Uuid>, methods: &[&str]) -> String {
        let state = &self.server.state;
        let grant = Grant {
            subject,
            session: state.ids.fresh(),
            token_id: state.ids.fresh(),
            tenant: tenant.map(TenantId),
            role: Some(role),
            scopes: Vec::new(),
            began_at: state.access.position(),
            authenticated_at: state.clock.now(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            ttl: TTL_MAX,
        };
        state.keys.tokens.sign(grant, state.clock.now()).expect("there is a signing key").0
    }

    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        self.call_by(&self.http, method, path)
    }

    /// The same, on the port for operators' machines.
    pub fn call_admin(&self, method: Method, path: &str) -> Call<'_> {
        self.call_at(self.server.admin, &self.http, method, path)
    }

    fn call_by(&self, client: &reqwest::Client, method: Method, path: &str) -> Call<'_> {
        self.call_at(self.server.public, client, method, path)
    }

    fn call_at(&self, at: SocketAddr, client: &reqwest::Client, method: Method, path: &str) -> Call<'_> {
        let url = format!("http://{at}{path}");
        let trace = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.server.state.ids.fresh().as_bytes());
        let parent = format!("00-{}-00f067aa0ba902b7-00", trace.simple());
        let request = client.request(method, url).header("traceparent", parent);
        Call { app: self, request, trace }
    }

    /// A client that comes from an address of this machine, such as 127.0.0.2.
    pub fn client_at(address: Ipv4Addr) -> reqwest::Client {
        let client = reqwest::Client::builder().local_address(IpAddr::V4(address)).build();
        client.expect("a client needs nothing")
    }

    /// A POST by another client than the test's own.
    pub fn post_by(&self, client: &reqwest::Client, path: &str, body: Value) -> Call<'_> {
        self.call_by(client, Method::POST, path).json(body)
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::POST, path).json(body)
    }

    pub fn put(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::PUT, path).json(body)
    }

    pub fn patch(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::PATCH, path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    /// Provisions a tenant `{name}.example` and lets its owner accept.
    pub async fn provision(&self, name: &str) -> TestTenant {
        self.provision_with(name, json!({})).await
    }

    /// The same; `more` is put into the body.
    pub async fn provision_with(&self, name: &str, more: Value) -> TestTenant {
        let tenant = self.provision_only(name, more).await;
        self.accept(tenant.id, tenant.owner).await;
        tenant
    }

    /// The same, with an owner who has not accepted yet.
    pub async fn provision_only(&self, name: &str, more: Value) -> TestTenant {
        let mut body = json!({
            "name": name, "domain": format!("{name}.example"), "plan": "pro",
            "owner_email": format!("owner@{name}.example"),
        });
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let operator = self.token(Role::Operator, None);
        let made =
            self.post("/api/operator/tenants", body).by(&operator).send().await.is(StatusCode::CREATED);
        let id = made.id();
        let tenant = self.provisioned(id).await;
        assert_eq!(tenant["provisioning_status"], "completed", "{tenant}");
        let owner = tenant["owners"][0].as_str().expect("an owner").parse().expect("an id");
        let application = made.body["application"].as_str().map(|id| id.parse().expect("an id"));
        TestTenant { id, owner, application }
    }

    /// The tenant as the operator sees it, once its provisioning has ended.
    pub async fn provisioned(&self, tenant: Uuid) -> Value {
        let operator = self.token(Role::Operator, None);
        let ended = async {
            loop {
                let answer = self.get(&format!("/api/operator/tenants/{tenant}")).by(&operator).send().await;
                if answer.status == StatusCode::OK && answer.body["provisioning_status"] != "pending" {
                    return answer.body;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("provisioning ends")
    }

    /// The token of the last invitation's link, as it is mailed.
    pub async fn invitation(&self, tenant: Uuid, person: Uuid) -> String {
        let state = &self.server.state;
        let id = aggregates::membership::id_of(tenant.into(), person.into());
        let (membership, _) = state.engine.look::<Membership>(id.0).await.expect("it can be read");
        let expires_at = membership.existing().expect("there is an invitation").invitation.expires_at;
        state.sign_in.links.invitation(id, expires_at).reveal().to_owned()
    }

    /// Accepts an invitation without choosing a password, which no endpoint does.
    pub async fn accept(&self, tenant: Uuid, person: Uuid) {
        let state = &self.server.state;
        let (tenant, person) = (TenantId(tenant), PersonId(person));
        let id = aggregates::membership::id_of(tenant, person);
        let (membership, _) = state.engine.look::<Membership>(id.0).await.expect("it can be read");
        let token_hash = membership.existing().and_then(|known| known.invitation.token_hash.clone());
        let command = MembershipCommand::Accept { token_hash, now: state.clock.now() };
        let receipt =
            state.engine.dispatch::<Membership>(id.0, command, context(None)).await.expect("accepted");
        if let Some(position) = receipt.position {
            state.access.handle.wait_for(position, PATIENCE).await.expect("memory follows");
        }
        self.settled().await;
    }

    /// Disables a person everywhere, which no endpoint does yet.
    pub async fn disable(&self, person: Uuid) {
        let state = &self.server.state;
        let command = UserCommand::Disable { reason: None };
        let receipt = state.engine.dispatch::<User>(person, command, context(None)).await.expect("disabled");
        if let Some(position) = receipt.position {
            state.access.handle.wait_for(position, PATIENCE).await.expect("memory follows");
        }
    }

    /// The token of the last link to reset a password, as it is mailed, once it was asked for.
    pub async fn reset_link(&self, person: Uuid) -> String {
        let state = &self.server.state;
        let asked = async {
            loop {
                let client = self.db.server.get().await.expect("a connection");
                let sql = "SELECT payload -> 'PasswordResetRequested' ->> 'expires_at' FROM events \
                           WHERE event_type = 'user.password_reset_requested' AND aggregate_id = $1 \
                           ORDER BY sequence DESC LIMIT 1";
                let row = client.query_opt(sql, &[&person.to_string()]).await.expect("it answers");
                if let Some(row) = row {
                    return row.get::<_, String>(0).parse().expect("a time");
                }
            }
        };
        let expires_at = tokio::time::timeout(PATIENCE, asked).await.expect("the link is made");
        state.sign_in.links.password_reset(person.into(), expires_at).reveal().to_owned()
    }

    /// Every row of every table, as text.
    pub async fn everything_written(&self) -> String {
        let client = self.db.owner.get().await.expect("a connection");
        let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
                      WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        let mut text = String::new();
        for table in client.query(tables, &[]).await.expect("it answers") {
            let sql = format!("SELECT t::text FROM {} AS t", table.get::<_, String>(0));
            for row in client.query(&sql, &[]).await.expect("it answers") {
                text.push_str(row.get(0));
                text.push('\n');
            }
        }
        text
    }

    /// A key of an application, as its holder has it, with its id.
    pub async fn issue_key(&self, application: Uuid, scopes: &[&str]) -> (String, Uuid) {
        let developer = self.token(Role::Developer, None);
        let path = format!("/api/developer/applications/{application}/keys");
        let issued = self.post(&path, json!({"scopes": scopes})).by(&developer).send().await;
        let issued = issued.is(StatusCode::CREATED);
        (issued.body["key"].as_str().expect("the key is shown").to_owned(), issued.id())
    }

    /// Waits until every read model holds what is committed by now.
    pub async fn settled(&self) {
        let client = self.db.server.get().await.expect("a connection");
        let of = async |sql: &str| -> PositionToken {
            let row = client.query_one(sql, &[]).await.expect("it answers");
            let position = Position(row.get::<_, i64>(0).unsigned_abs());
            PositionToken { shard: ShardId(0), position }
        };
        let journal = of("SELECT last_position FROM journal_shard WHERE shard = 0").await;
        let audit = of("SELECT last_position FROM ledger_shard WHERE ledger = 'audit' AND shard = 0").await;
        let projector = &self.server.state.projector;
        for projection in projector.projections() {
            for feed in projection.feeds() {
                let wanted = if *feed == FeedName::Journal { journal } else { audit };
                let reached = projector.wait_for_feed(projection.name(), *feed, wanted, PATIENCE).await;
                reached.expect("the read models follow");
            }
        }
    }

    /// One value of `/metrics`, by its name and labels as they are written there. Absent counts as 0.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.server.admin);
        let text = self.http.get(url).send().await.expect("it answers").text().await.expect("to its end");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// How many events there are.
    pub async fn events(&self) -> i64 {
        let client = self.db.server.get().await.expect("a connection");
        client.query_one("SELECT count(*) FROM events", &[]).await.expect("it answers").get(0)
    }

    /// The audit entries of some traces.
    pub async fn entries(&self, traces: &[Uuid]) -> Vec<Entry> {
        self.settled().await;
        let client = self.db.server.get().await.expect("a connection");
        let sql = "SELECT correlation_id, action, outcome, status, code, tenant, actor \
                   FROM read_model.audit_trail_v4 WHERE correlation_id = ANY ($1) ORDER BY recorded_at";
        let rows = client.query(sql, &[&traces]).await.expect("it answers");
        let entry = |row: &tokio_postgres::Row| Entry {
            trace: row.get(0),
            action: row.get(1),
            outcome: row.get(2),
            status: row.get(3),
            code: row.get(4),
            tenant: row.get(5),
            actor: row.get(6),
        };
        rows.iter().map(entry).collect()
    }
}

/// An entry of the audit trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub trace: Uuid,
    pub action: String,
    pub outcome: String,
    pub status: Option<i32>,
    pub code: Option<String>,
    pub tenant: Option<Uuid>,
    pub actor: String,
}

/// A request being made.
pub struct Call<'a> {
    app: &'a TestApp,
    request: reqwest::RequestBuilder,
    trace: Uuid,
}

impl Call<'_> {
    /// With these credentials.
    pub fn by(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    pub fn json(self, body: Value) -> Self {
        Self { request: self.request.json(&body), ..self }
    }

    /// A body as it is, called JSON.
    pub fn raw(self, body: impl Into<reqwest::Body>) -> Self {
        Self { request: self.request.header("content-type", "application/json").body(body), ..self }
    }

    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Once the read model holds what an earlier answer tells of.
    pub fn after(self, earlier: &Answer) -> Self {
        match earlier.headers.get("x-position").and_then(|value| value.to_str().ok()) {
            Some(position) => self.header("x-min-position", position),
            None => self,
        }
    }

    pub async fn send(self) -> Answer {
        let response = self.request.send().await.expect("the server answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("the answer comes to its end");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        // Whatever is asked: never a failure of ours, and never an inside view.
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
        let answer = Answer { status, headers, text, body, trace: self.trace };
        if status.is_client_error() || status.is_server_error() {
            answer.is_a_problem();
        }
        let _ = self.app;
        answer
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// `null` if it is no JSON.
    pub body: Value,
    pub trace: Uuid,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Refused with a status and the code and detail of REQUIREMENTS §11.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str, detail: &str) -> Self {
        let found = (self.status.as_u16(), self.body["code"].as_str(), self.body["detail"].as_str());
        assert_eq!(found, (status, Some(code), Some(detail)), "{}", self.text);
        self
    }

    /// Refused as ERR-VAL-400, naming exactly these fields or parameters.
    #[track_caller]
    pub fn names(self, fields: &[&str]) -> Self {
        let found = (self.status.as_u16(), self.body["code"].as_str());
        assert_eq!(found, (400, Some("ERR-VAL-400")), "{}", self.text);
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let place = |error: &Value| {
            error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default().to_owned()
        };
        assert_eq!(errors.iter().map(place).collect::<Vec<_>>(), fields, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn id(&self) -> Uuid {
        self.body["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .unwrap_or_else(|| panic!("no id: {}", self.text))
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", self.headers));
        value.to_str().expect("it is text")
    }

    /// CC-ERR-004, CC-ERR-003
    #[track_caller]
    fn is_a_problem(&self) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        for member in ["type", "title", "status", "code", "detail", "trace_id"] {
            assert!(!self.body[member].is_null(), "{member} is missing: {}", self.text);
        }
        assert_eq!(self.body["status"], self.status.as_u16(), "{}", self.text);
        assert_eq!(self.body["trace_id"], self.trace.simple().to_string());
    }
}
