//! A gateway in memory, for the gateway's own tests: no database, a clock that stands still, an audit trail to look at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aggregates::tenant::{Provision, Trial};
use aggregates::{Tenant, TenantCommand};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use engine::audit::AuditEntry;
use engine::clock::SystemIds;
use engine::codec::Codec;
use engine::command::CommandContext;
use engine::feed::{Feed, FeedError, FeedName, Interest, Live, Read, Told};
use engine::jobs::{JobResults, JobRunner, JobSettings, Jobs};
use engine::journal::{Journal, MemoryJournal};
use engine::ledger::LedgerError;
use engine::process::Processes;
use engine::projection::{Feeds, FollowSettings, Memories, MemoryProjection, Projector};
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{
    Actor, ActorKind, ApplicationId, Clock, CorrelationId, Envelope, Event, EventId, KeyId, Metadata, Origin,
    PersonId, Position, ShardId, StreamId, TenantId,
};
use projections::{AccessMemory, FlagMemory};
use schemas::events::{ApplicationEvent, MembershipEvent, TenantEvent, UserEvent};
use schemas::values::{MembershipKind, Plan, Region, Role, Scope, UserStatus};
use serde_json::Value;
use tokio::sync::broadcast;
use tower::ServiceExt;
use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::audit::{Audit, AuditSink};
use crate::endpoint::Listener;
use crate::keys::{KeyStore, Keys, new_rsa_key};
use crate::passwords::{HashParameters, HasherSettings};
use crate::policy::{Authorizer, PolicyMemory, Source, Sources};
use crate::readiness::Readiness;
use crate::services::Services;
use crate::sign_in::SignInParts;
use crate::state::{Access, AppState, FlagSource, Limits, Parts, PolicySource};
use crate::token::{Grant, TokenKey, Tokens};
use crate::url_map::UrlMap;

pub const TENANT: TenantId = TenantId(Uuid::from_u128(0xa1));
pub const OTHER: TenantId = TenantId(Uuid::from_u128(0xa2));
pub const PERSON: PersonId = PersonId(Uuid::from_u128(0xb1));
pub const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(0xc1));
pub const KEY: KeyId = KeyId(Uuid::from_u128(0xd1));
const MEMBERSHIP: Uuid = Uuid::from_u128(0xe1);

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct StoppedClock(Mutex<DateTime<Utc>>);

impl StoppedClock {
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An audit ledger to look at, and to break.
#[derive(Debug, Default)]
pub struct Recorded {
    entries: Mutex<Vec<AuditEntry>>,
    pub broken: Mutex<bool>,
}

impl Recorded {
    fn put(&self, entry: AuditEntry, error: LedgerError) -> Result<(), LedgerError> {
        if *self.broken.lock().unwrap() {
            return Err(error);
        }
        self.entries.lock().unwrap().push(entry);
        Ok(())
    }

    /// What was recorded since the last time.
    pub fn take(&self) -> Vec<AuditEntry> {
        std::mem::take(&mut *self.entries.lock().unwrap())
    }
}

#[async_trait]
impl AuditSink for Recorded {
    async fn record(&self, entry: AuditEntry) -> Result<(), LedgerError> {
        self.put(entry, LedgerError::Unavailable)
    }
    fn enqueue(&self, entry: AuditEntry) -> Result<(), LedgerError> {
        self.put(entry, LedgerError::Full)
    }
}

/// A journal that can't be read: whoever follows it knows nothing.
struct Silent;

#[async_trait]
impl Feed for Silent {
    fn name(&self) -> FeedName {
        FeedName::Journal
    }
    fn shard(&self) -> ShardId {
        ShardId(0)
    }
    async fn read(&self, _: Position, _: usize, _: Interest) -> Result<Read, FeedError> {
        std::future::pending().await
    }
    async fn head(&self) -> Result<Position, FeedError> {
        std::future::pending().await
    }
    fn live(&self) -> broadcast::Receiver<Told> {
        Live::default().listen()
    }
}

/// Making an RSA key takes long: one serves all tests of a process.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| new_rsa_key().unwrap().to_vec());

/// The actions of endpoints that tests make up.
const MADE_UP_ACTIONS: &str = r#"
    action "own:look", "own:change", "own:farewell", "own:sensitive"
      appliesTo { principal: [Person], resource: [Tenant], context: Call };
    action "tenants:look" appliesTo { principal: [Operator, Person], resource: [Tenant], context: Call };
    action "everything:look", "everything:crash", "everything:wait", "everything:never"
      in ["platform:operations"] appliesTo { principal: [Operator], resource: [Platform], context: Call };
    action "probe:ping" in ["open"] appliesTo { principal: [Anonymous], resource: [Platform], context: Call };
    action "nobody:look"
      appliesTo { principal: [Operator, Application], resource: [Platform], context: Call };
    action "services:look" appliesTo { principal: [Service], resource: [Platform], context: Call };
"#;

/// Who may call them.
const MADE_UP_POLICIES: &str = r#"
    @id("owners-in-tests")
    permit (
      principal is Person,
      action in [
        Action::"own:look", Action::"own:change", Action::"own:farewell", Action::"own:sensitive",
        Action::"tenants:look"
      ],
      resource
    ) when { principal.role == Role::"owner" };
    @id("operators-in-tests")
    permit (principal is Operator, action == Action::"tenants:look", resource)
    when { principal.role == Role::"operator" };
    @id("services-in-tests")
    permit (principal is Service, action == Action::"services:look", resource)
    when { principal.scopes.contains("access:read") };
"#;

/// The policies that come with the binary, and those for endpoints that tests make up.
pub fn sources() -> Sources {
    let mut sources = Sources::builtin();
    sources.schema.text += MADE_UP_ACTIONS;
    sources.policies.push(Source::new("tests.cedar", MADE_UP_POLICIES));
    sources
}

/// A gateway in memory.
pub struct House {
    pub app: AppState,
    pub clock: Arc<StoppedClock>,
    pub audit: Arc<Recorded>,
    pub journal: Arc<MemoryJournal>,
    access: Arc<AccessMemory>,
    flags: Arc<FlagMemory>,
    /// How many events memory was told of.
    happened: AtomicU64,
    policies: Arc<PolicyMemory>,
}

impl House {
    pub async fn new() -> Self {
        Self::with(Limits::default(), Feeds::default()).await
    }

    /// One that knows services.
    pub async fn with_services(services: Services) -> Self {
        Self::with_all(Limits::default(), Feeds::default(), services).await
    }

    pub async fn with_limits(limits: Limits) -> Self {
        Self::with(limits, Feeds::default()).await
    }

    /// One that can't know who may still do anything.
    pub async fn without_access() -> Self {
        Self::with(Limits::default(), Feeds::new(vec![Arc::new(Silent)])).await
    }

    async fn with(limits: Limits, feeds: Feeds) -> Self {
        Self::with_all(limits, feeds, Services::default()).await
    }

    async fn with_all(limits: Limits, feeds: Feeds, services: Services) -> Self {
        let clock = Arc::new(StoppedClock(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())));
        let ids = Arc::new(SystemIds);
        let journal = Arc::new(MemoryJournal::default());
        let config = EngineConfig::new(WriterConfig::new(ShardId(0), Uuid::from_u128(1)));
        let engine = Engine::start(config, journal.clone(), Live::default(), clock.clone(), ids.clone())
            .await
            .unwrap();
        engine.owned().await;
        let pool = engine::database::pool(&tokio_postgres::Config::new(), 1).unwrap();
        let settings = FollowSettings::default();
        let projector = Arc::new(Projector::start(vec![], &Feeds::default(), &pool, settings).await.unwrap());
        let (access, flags) = (Arc::new(AccessMemory::new()), Arc::new(FlagMemory::new()));
        let authorizer = Arc::new(Authorizer::new(&sources()).unwrap());
        let policies = Arc::new(PolicyMemory::new(authorizer.clone()));
        let memory: Vec<Arc<dyn MemoryProjection>> = vec![access.clone(), flags.clone(), policies.clone()];
        // Followers of no feed are always current: what is known is what the test tells.
        let memories = Arc::new(Memories::start(memory, &feeds, settings).await.unwrap());
        let handle = |name| memories.handle(name).unwrap();
        let processes = Arc::new(Processes::start(vec![], &Feeds::default(), &pool, settings).await.unwrap());
        let jobs = Jobs::new(pool.clone(), clock.clone());
        let runner = Arc::new(JobRunner::start(&jobs, vec![], JobSettings::default()).await.unwrap());
        let results = JobResults::new(pool.clone(), Codec::plain(vec![], &[3; 32]), clock.clone());
        let audit = Arc::new(Recorded::default());
        let tokens = Tokens::new("http://127.0.0.1:8080");
        let key = TokenKey { kid: "k".into(), private_pkcs8: RSA.clone().into(), verifies_until: None };
        tokens.replace(&[key]).unwrap();
        let master: engine::keyring::MasterSource =
            Arc::new(|| crate::keys::MasterKey::parse(&"1".repeat(64), "a test"));
        let keys = Keys::new(Arc::new(tokens), &[1; 32], &[2; 32]);
        let cheap = HashParameters { memory_kib: 8, passes: 1, lanes: 1 };
        let hasher = HasherSettings { parameters: cheap, ..HasherSettings::with_threads(1) };
        let sign_in = SignInParts::start(&keys, &hasher).unwrap();
        let app = AppState::new(Parts {
            clock: clock.clone(),
            ids: ids.clone(),
            engine: engine.clone(),
            audit: Arc::new(Audit::new(audit.clone(), clock.clone(), ids)),
            access: Access { memory: access.clone(), handle: handle("access") },
            authorizer,
            policies: PolicySource { memory: policies.clone(), handle: handle("policies") },
            flags: FlagSource { memory: flags.clone(), handle: handle("flag_memory") },
            keys,
            key_store: Arc::new(KeyStore::new(pool.clone(), master, clock.clone(), Arc::new(SystemIds))),
            pool,
            projector: projector.clone(),
            jobs,
            results,
            limits,
            readiness: Readiness::new(engine, memories, projector, processes, policies.clone(), runner),
            sign_in,
            services,
            registration: Default::default(),
        });
        Self { app, clock, audit, journal, access, flags, happened: AtomicU64::new(0), policies }
    }

    pub fn router(&self, map: UrlMap) -> Router {
        map.router(&self.app, Listener::Public)
    }

    /// Tells memory of an event, as the journal would.
    pub fn happened(&self, kind: &'static str, id: Uuid, event: &impl Event) {
        let envelope = Envelope {
            shard: ShardId(0),
            position: Position(self.happened.fetch_add(1, Ordering::Relaxed) + 1),
            stream: StreamId::new(kind, id),
            sequence: 1,
            part: 0,
            index_in_command: 0,
            event_id: EventId(Uuid::nil()),
            event_type: event.event_type().into(),
            event_version: event.event_version().into(),
            payload: serde_json::to_value(event).unwrap().into(),
            metadata: Arc::new(metadata()),
            recorded_at: self.clock.now(),
        };
        if kind == "policy" {
            return self.policies.apply(&envelope).unwrap();
        }
        self.access.apply(&envelope).unwrap();
        if kind == "tenant" {
            self.flags.apply(&envelope).unwrap();
        }
    }

    /// Provisions a tenant: in the journal and in memory.
    pub async fn tenant(&self, tenant: TenantId) {
        let name = if tenant == TENANT { "acme" } else { "other" };
        let wish = Provision {
            tenant,
            name: name.parse().unwrap(),
            slug: name.parse().unwrap(),
            domain: format!("{name}.example").parse().unwrap(),
            plan: Plan::Free,
            region: Region::Jp,
            trial: Trial::None,
            owner: PERSON,
            owner_email: "ann@example.org".parse().unwrap(),
            application: None,
            now: self.clock.now(),
        };
        let context = CommandContext::new(metadata());
        let command = TenantCommand::Provision(Box::new(wish));
        self.app.engine.dispatch::<Tenant>(tenant.0, command, context).await.unwrap();
        let events = self.journal.read(ShardId(0), Position::ZERO, 1000).await.unwrap();
        for event in events.iter().filter(|event| event.stream.id == tenant.0) {
            self.happened("tenant", tenant.0, &event.decode::<TenantEvent>().unwrap());
        }
    }

    /// A member of [`TENANT`] with a role, and a token.
    pub fn member(&self, role: Role, kind: MembershipKind) -> String {
        let email = kernel::Personal::new(PERSON, "ann@example.org".parse().unwrap());
        let status = UserStatus::Active;
        let registered =
            UserEvent::Registered { person: PERSON, email, first_name: None, last_name: None, status };
        self.happened("user", PERSON.0, &registered);
        let expires_at = self.clock.now() + TimeDelta::days(7);
        let invited = MembershipEvent::Invited {
            tenant: TENANT,
            person: PERSON,
            role,
            kind,
            expires_at,
            token_hash: None,
        };
        self.happened("membership", MEMBERSHIP, &invited);
        self.happened("membership", MEMBERSHIP, &MembershipEvent::Accepted {});
        self.token(role, Some(TENANT), &PERSON.to_string())
    }

    pub fn membership(&self, event: &MembershipEvent) {
        self.happened("membership", MEMBERSHIP, event);
    }

    /// An application that [`TENANT`] uses, and its key.
    pub fn application(&self, scope: Scope, expires_at: Option<DateTime<Utc>>) -> ApiKey {
        let registered = ApplicationEvent::Registered {
            application: APPLICATION,
            name: "shop".parse().unwrap(),
            owner: "team:shop".parse().unwrap(),
            environment: schemas::values::Environment::Production,
            redirect_uris: [].into(),
        };
        self.happened("application", APPLICATION.0, &registered);
        let key = ApiKey::new(KEY, &[5; 32]);
        let issued = ApplicationEvent::KeyIssued {
            key: KEY,
            hash: key.hash(),
            prefix: key.prefix(),
            scopes: [scope].into(),
            expires_at,
        };
        self.happened("application", APPLICATION.0, &issued);
        let connected = TenantEvent::ApplicationConnected { application: APPLICATION };
        self.happened("tenant", TENANT.0, &connected);
        key
    }

    pub fn token(&self, role: Role, tenant: Option<TenantId>, subject: &str) -> String {
        let grant = Grant {
            subject: subject.to_owned(),
            session: Uuid::from_u128(1),
            token_id: Uuid::from_u128(2),
            tenant,
            role: Some(role),
            scopes: Vec::new(),
            began_at: Position(self.happened.load(Ordering::Relaxed)),
            authenticated_at: self.clock.now(),
            methods: Vec::new(),
            ttl: Duration::from_secs(900),
        };
        self.app.keys.tokens.sign(grant, self.clock.now()).unwrap().0
    }

    pub fn operator(&self) -> String {
        self.token(Role::Operator, None, "local:0")
    }

    /// How many events there are.
    pub async fn events(&self) -> usize {
        self.journal.read(ShardId(0), Position::ZERO, 10_000).await.unwrap().len()
    }
}

fn metadata() -> Metadata {
    Metadata {
        tenant: None,
        actor: Actor { kind: ActorKind::System, id: "test".into() },
        role: "system".into(),
        scopes: vec![],
        action: "test:set_up".into(),
        correlation_id: CorrelationId(Uuid::from_u128(9)),
        causation_id: None,
        command_id: None,
        origin: Origin::default(),
    }
}

/// A request about to be sent.
pub struct Ask {
    router: Router,
    request: axum::http::request::Builder,
    body: Body,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// Status, code and detail of a problem.
    pub fn problem(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body[name].as_str().unwrap_or_default();
        assert_eq!(self.headers["content-type"], crate::problem::PROBLEM_JSON, "{self:?}");
        assert_eq!(text("trace_id").len(), 32, "{self:?}");
        (self.status.as_u16(), text("code"), text("detail"))
    }
}

impl Ask {
    pub fn new(router: &Router, method: &str, path: &str) -> Self {
        Self {
            router: router.clone(),
            request: Request::builder().method(method).uri(path),
            body: Body::empty(),
        }
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }

    pub fn text(self, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..self.header("content-type", "application/json") }
    }

    pub async fn send(self) -> Answer {
        let request = self.request.body(self.body).unwrap();
        let response = self.router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }
}
