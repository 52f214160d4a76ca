//! Tenants, people, memberships, applications and keys as events, for tests of read models.

use std::sync::Arc;

use engine::audit::{AuditEvent, AuditFact, AuditOutcome};
use engine::feed::{Feed, FeedName};
use engine::projection::{Feeds, Projector};
use kernel::{
    ApplicationId, Confidential, Envelope, Event, KeyId, MembershipId, PersonId, Personal, RoleId, TenantId,
};
use schemas::events::{
    ApplicationEvent, MembershipEvent, RoleEvent, TenantEvent, TenantProvisioned, UserEvent,
};
use schemas::values::{Environment, FlagValue, MembershipKind, Plan, Region, Role, Scope, UserStatus};
use uuid::Uuid;

use crate::db::TestDb;
use crate::feeds::{PATIENCE, TestFeed, at, envelope, fast};

/// As its fixture tells it.
pub fn sso_linked() -> MembershipEvent {
    let name = MembershipEvent::NAMES.iter().find(|name| name.variant == "SsoLinked").expect("there is one");
    serde_json::from_str(name.fixture).expect("it is kept")
}

/// A tenant's event, as its fixture tells it.
pub fn from_fixture(variant: &str) -> TenantEvent {
    let name = TenantEvent::NAMES.iter().find(|name| name.variant == variant).expect("there is one");
    serde_json::from_str(name.fixture).expect("it is kept")
}

pub fn tenant(n: u128) -> TenantId {
    TenantId(Uuid::from_u128(0x1000_0000 + n))
}

pub fn person(n: u128) -> PersonId {
    PersonId(Uuid::from_u128(0x2000_0000 + n))
}

pub fn membership(n: u128) -> MembershipId {
    MembershipId(Uuid::from_u128(0x3000_0000 + n))
}

pub fn application(n: u128) -> ApplicationId {
    ApplicationId(Uuid::from_u128(0x4000_0000 + n))
}

pub fn key(n: u128) -> KeyId {
    KeyId(Uuid::from_u128(0x5000_0000 + n))
}

pub fn role(n: u128) -> RoleId {
    RoleId(Uuid::from_u128(0x7000_0000 + n))
}

fn of(aggregate_type: &'static str, id: Uuid, event: &impl Event) -> Envelope {
    envelope(aggregate_type, id, event.event_type(), serde_json::to_value(event).unwrap())
}

/// What happens to tenant `n`.
pub fn to_tenant(n: u128, event: TenantEvent) -> Envelope {
    let mut envelope = of("tenant", tenant(n).0, &event);
    Arc::make_mut(&mut envelope.metadata).tenant = Some(tenant(n));
    envelope
}

pub fn to_user(n: u128, event: UserEvent) -> Envelope {
    of("user", person(n).0, &event)
}

/// What happens to membership `n`, in tenant `t`.
pub fn to_membership(n: u128, t: u128, event: MembershipEvent) -> Envelope {
    let mut envelope = of("membership", membership(n).0, &event);
    Arc::make_mut(&mut envelope.metadata).tenant = Some(tenant(t));
    envelope
}

pub fn to_application(n: u128, event: ApplicationEvent) -> Envelope {
    of("application", application(n).0, &event)
}

/// What happens to role `n` of tenant `t`.
pub fn to_role(n: u128, t: u128, event: RoleEvent) -> Envelope {
    let mut envelope = of("role", role(n).0, &event);
    Arc::make_mut(&mut envelope.metadata).tenant = Some(tenant(t));
    envelope
}

/// Role `n` of tenant `t`.
pub fn role_created(n: u128, t: u128, name: &str, permissions: &[&str]) -> Envelope {
    let event = RoleEvent::Created {
        role: role(n),
        tenant: tenant(t),
        name: Confidential::new(tenant(t), name.parse().unwrap()),
        description: None,
        permissions: permissions.iter().map(|text| text.parse().unwrap()).collect(),
    };
    to_role(n, t, event)
}

pub fn provisioned(n: u128, name: &str, domain: &str, plan: Plan) -> Envelope {
    let id = tenant(n);
    to_tenant(
        n,
        TenantEvent::Provisioned(Box::new(TenantProvisioned {
            tenant: id,
            name: Confidential::new(id, name.parse().unwrap()),
            slug: Confidential::new(id, format!("slug-{n}").parse().unwrap()),
            domain: Confidential::new(id, domain.parse().unwrap()),
            plan,
            region: Region::Eu,
            trial_ends_at: (plan == Plan::Free).then(|| at(10_000_000)),
            owner: person(n),
            owner_email: Personal::new(person(n), "owner@acme.example".parse().unwrap()),
            application: None,
        })),
    )
}

pub fn suspended(n: u128, reason: &str) -> Envelope {
    to_tenant(n, TenantEvent::Suspended { reason: Confidential::new(tenant(n), reason.parse().unwrap()) })
}

pub fn flag_set(n: u128, key: &str, value: FlagValue) -> Envelope {
    let value = Confidential::new(tenant(n), value);
    to_tenant(n, TenantEvent::FlagSet { key: key.parse().unwrap(), value })
}

pub fn registered(n: u128, email: &str, last_name: &str) -> Envelope {
    to_user(
        n,
        UserEvent::Registered {
            person: person(n),
            email: Personal::new(person(n), email.parse().unwrap()),
            first_name: Some(Personal::new(person(n), "Ann".parse().unwrap())),
            last_name: Some(Personal::new(person(n), last_name.parse().unwrap())),
            status: UserStatus::Invited,
        },
    )
}

/// Membership `n`: person `p` in tenant `t`.
pub fn invited(n: u128, t: u128, p: u128, role: Role) -> Envelope {
    let event = MembershipEvent::Invited {
        tenant: tenant(t),
        person: person(p),
        role,
        kind: MembershipKind::Staff,
        expires_at: at(9_000_000),
        token_hash: None,
    };
    to_membership(n, t, event)
}

pub fn app_registered(n: u128, name: &str) -> Envelope {
    to_application(
        n,
        ApplicationEvent::Registered {
            application: application(n),
            name: name.parse().unwrap(),
            owner: "team:portal".parse().unwrap(),
            environment: Environment::Production,
            redirect_uris: ["https://app.example/back".parse().unwrap()].into(),
        },
    )
}

/// Key `k` of application `n`.
pub fn key_issued(n: u128, k: u128) -> Envelope {
    to_application(
        n,
        ApplicationEvent::KeyIssued {
            key: key(k),
            hash: "ab".repeat(32).parse().unwrap(),
            prefix: "tnk_live".parse().unwrap(),
            scopes: [Scope::FlagRead].into(),
            expires_at: None,
        },
    )
}

/// An entry of the audit ledger.
pub fn refused(n: u128, t: Option<u128>, action: &str) -> Envelope {
    let fact = AuditFact {
        outcome: AuditOutcome::Denied,
        status: 403,
        code: Some("ERR-AUTH-403".to_owned()),
        detail: Some("forbidden".to_owned()),
        resource_type: Some("tenant".to_owned()),
        resource_id: t.map(|t| tenant(t).to_string()),
        count: 1,
    };
    let mut envelope = of("audit", Uuid::from_u128(0x6000_0000 + n), &AuditEvent::Recorded(fact));
    let metadata = Arc::make_mut(&mut envelope.metadata);
    (metadata.tenant, metadata.action) = (t.map(tenant), action.to_owned());
    envelope
}

/// A database with every read model, fed from two feeds.
pub struct World {
    pub db: TestDb,
    pub journal: Arc<TestFeed>,
    pub audit: Arc<TestFeed>,
    pub feeds: Feeds,
    pub projector: Projector,
}

impl World {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let (journal, audit) = (TestFeed::journal(), TestFeed::new(FeedName::Audit));
        let feeds =
            Feeds::new(vec![Arc::clone(&journal) as Arc<dyn Feed>, Arc::clone(&audit) as Arc<dyn Feed>]);
        let projector = Projector::start(projections::all(), &feeds, &db.server, fast()).await.unwrap();
        Self { db, journal, audit, feeds, projector }
    }

    /// Appends to the journal and waits until every read model has it.
    pub async fn happens(&self, events: impl IntoIterator<Item = Envelope>) {
        let token = self.journal.append(events);
        for projection in projections::all() {
            self.projector.wait_for(projection.name(), token, PATIENCE).await.unwrap();
        }
    }

    /// Appends to the audit ledger and waits until the trail has it.
    pub async fn is_refused(&self, entries: impl IntoIterator<Item = Envelope>) {
        let token = self.audit.append(entries);
        self.projector.wait_for_feed("audit_trail", FeedName::Audit, token, PATIENCE).await.unwrap();
    }

    /// What the server's role reads with.
    pub async fn client(&self) -> deadpool_postgres::Object {
        self.db.server.get().await.unwrap()
    }
}
