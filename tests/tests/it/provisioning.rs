//! UC-PROV-001: one command leads to a tenant, its invited owner, the plan's flags and the application.

use std::sync::Arc;

use aggregates::application::{Application, ApplicationCommand};
use aggregates::tenant::{Provision, Tenant, TenantCommand, Trial};
use aggregates::user::{User, UserCommand};
use engine::Engine;
use engine::EngineConfig;
use engine::clock::{SystemClock, SystemIds};
use engine::command::DispatchError;
use engine::feed::Live;
use engine::journal::{Journal, MemoryJournal};
use engine::process::ProcessManager;
use engine::writer::WriterConfig;
use kernel::{ApplicationId, Clock, Envelope, PersonId, Position, ShardId, TenantId};
use schemas::events::RequestedApplication;
use schemas::values::{ApplicationName, Environment, Plan, Region};
use uuid::Uuid;
use workflows::{Ownership, Provisioning};

use crate::engine_postgres::context;

const SHARD: ShardId = ShardId(0);

struct World {
    engine: Engine,
    journal: Arc<MemoryJournal>,
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

impl World {
    async fn new() -> Self {
        let journal = Arc::new(MemoryJournal::default());
        let config = EngineConfig::new(WriterConfig::new(SHARD, id(0xA)));
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let engine = Engine::start(config, journal.clone(), Live::default(), clock, ids).await.unwrap();
        engine.owned().await;
        Self { engine, journal }
    }

    async fn events(&self) -> Vec<Envelope> {
        self.journal.read(SHARD, Position::ZERO, 10_000).await.unwrap()
    }

    /// What happened, without what came before.
    async fn types(&self) -> Vec<String> {
        self.events().await.iter().map(|event| event.event_type.to_string()).collect()
    }

    /// What a stranger registers, and the first event of it.
    async fn register(&self, tenant: u128) -> Envelope {
        let command = TenantCommand::Register(Box::new(self.wish(tenant, None)));
        self.engine.dispatch::<Tenant>(id(tenant), command, context(None)).await.unwrap();
        self.events().await.remove(0)
    }

    async fn provision(
        &self,
        tenant: u128,
        application: Option<RequestedApplication<ApplicationName>>,
    ) -> Envelope {
        let command = TenantCommand::Provision(Box::new(self.wish(tenant, application)));
        self.engine.dispatch::<Tenant>(id(tenant), command, context(None)).await.unwrap();
        self.events().await.pop().unwrap()
    }

    fn wish(&self, tenant: u128, application: Option<RequestedApplication<ApplicationName>>) -> Provision {
        Provision {
            tenant: TenantId(id(tenant)),
            name: "Acme".parse().unwrap(),
            slug: format!("acme-{tenant}").parse().unwrap(),
            domain: format!("acme{tenant}.example").parse().unwrap(),
            plan: Plan::Pro,
            region: Region::Eu,
            trial: Trial::Standard,
            owner: PersonId(id(tenant + 1000)),
            owner_email: "ann@acme.example".parse().unwrap(),
            application,
            now: SystemClock.now(),
        }
    }

    fn manager(&self) -> Provisioning {
        Provisioning::new(self.engine.clone(), Arc::new(SystemClock), workflows::Links::new(&[7; 32]))
    }
}

fn new_application(n: u128) -> Option<RequestedApplication<ApplicationName>> {
    let (application, name) = (ApplicationId(id(n)), "Billing".parse().unwrap());
    Some(RequestedApplication::New { application, name, environment: Environment::Production })
}

const EVERYTHING: [&str; 11] = [
    "tenant.provisioned",
    "user.registered",
    "tenant.flag_set",
    "tenant.flag_set",
    "tenant.flag_set",
    "tenant.flag_set",
    "tenant.flag_set",
    "membership.invited",
    "tenant.owner_added",
    "application.registered",
    "tenant.application_connected",
];

/// UC-PROV-001
#[tokio::test]
async fn provisioning_makes_tenant_owner_flags_and_application_in_one_go() {
    let world = World::new().await;
    let event = world.provision(1, new_application(7)).await;
    world.manager().react(&event).await.unwrap();
    let mut expected = EVERYTHING.to_vec();
    expected.push("tenant.provisioning_completed");
    assert_eq!(world.types().await, expected);
    for event in world.events().await.iter().skip(1) {
        assert_eq!(event.metadata.correlation_id, world.events().await[0].metadata.correlation_id);
        assert_eq!(
            event.metadata.causation_id,
            Some(world.events().await[0].event_id),
            "each tells what caused it"
        );
    }
}

/// CC-DAT-001: a crash between any two steps, then the event again.
#[tokio::test]
async fn provisioning_survives_a_crash_between_any_two_steps() {
    for steps in 1..=12 {
        let world = World::new().await;
        let event = world.provision(1, new_application(7)).await;
        let (manager, crashed) = (world.manager(), event.clone());
        let running = tokio::spawn(async move { manager.react(&crashed).await });
        while world.events().await.len() < steps && !running.is_finished() {
            tokio::task::yield_now().await;
        }
        running.abort();
        let _ = running.await;
        world.manager().react(&event).await.unwrap();
        // And once more, as if only the checkpoint had been lost.
        world.manager().react(&event).await.unwrap();
        let mut expected = EVERYTHING.to_vec();
        expected.push("tenant.provisioning_completed");
        assert_eq!(world.types().await, expected, "after a crash at {steps} events");
    }
}

/// CC-DAT-001: the same of a tenant that a stranger registered; its owner's link is one that verifies.
#[tokio::test]
async fn a_registration_survives_a_crash_between_any_two_steps() {
    let mut expected = EVERYTHING[..9].to_vec();
    expected.insert(1, "tenant.registered");
    expected.push("tenant.provisioning_completed");
    for steps in 2..=11 {
        let world = World::new().await;
        let event = world.register(1).await;
        let (manager, crashed) = (world.manager(), event.clone());
        let running = tokio::spawn(async move { manager.react(&crashed).await });
        while world.events().await.len() < steps && !running.is_finished() {
            tokio::task::yield_now().await;
        }
        running.abort();
        let _ = running.await;
        world.manager().react(&event).await.unwrap();
        assert_eq!(world.types().await, expected, "after a crash at {steps} events");
        let membership = aggregates::membership::id_of(TenantId(id(1)), PersonId(id(1001)));
        let (invited, _) =
            world.engine.look::<aggregates::membership::Membership>(membership.0).await.unwrap();
        let invitation = invited.existing().unwrap().invitation.clone();
        let link = workflows::Links::new(&[7; 32]).verification(membership, invitation.expires_at);
        assert_eq!(invitation.token_hash, Some(link.hash()));
        assert!(invitation.expires_at <= SystemClock.now() + chrono::TimeDelta::days(1));
    }
}

/// Ruling 10: an e-mail names one person, who may be a member of many tenants.
#[tokio::test]
async fn the_owner_may_be_a_person_who_is_known_already() {
    let world = World::new().await;
    let person = PersonId(id(50));
    let register = UserCommand::Register {
        person,
        email: "ann@acme.example".parse().unwrap(),
        first_name: None,
        last_name: None,
        verified: true,
    };
    world.engine.dispatch::<User>(person.0, register, context(None)).await.unwrap();
    let event = world.provision(1, None).await;
    world.manager().react(&event).await.unwrap();
    let events = world.events().await;
    let added = events.iter().find(|e| e.event_type == "tenant.owner_added").unwrap();
    assert_eq!(added.payload["OwnerAdded"]["person"], person.to_string());
    assert_eq!(events.iter().filter(|e| e.event_type == "user.registered").count(), 1);
    assert_eq!(events.last().unwrap().event_type, "tenant.provisioning_completed");
}

#[tokio::test]
async fn a_refused_step_has_a_written_outcome() {
    let world = World::new().await;
    let register = ApplicationCommand::Register {
        application: ApplicationId(id(90)),
        name: "billing".parse().unwrap(),
        owner: "team-a".parse().unwrap(),
        environment: Environment::Production,
        redirect_uris: Default::default(),
    };
    world.engine.dispatch::<Application>(id(90), register, context(None)).await.unwrap();
    let event = world.provision(1, new_application(7)).await;
    world.manager().react(&event).await.unwrap();
    let events = world.events().await;
    let last = events.last().unwrap();
    assert_eq!(last.event_type, "tenant.provisioning_failed");
    assert_eq!(last.payload["ProvisioningFailed"]["step"], "register_application");
    assert_eq!(last.payload["ProvisioningFailed"]["reason"], "name_taken");
}

/// FR-TENANT-004: the tenant decides, the membership follows.
#[tokio::test]
async fn a_membership_follows_what_the_tenant_decides_about_its_owners() {
    use schemas::events::OwnershipLoss;
    use schemas::values::Role;
    let world = World::new().await;
    let event = world.provision(1, None).await;
    world.manager().react(&event).await.unwrap();
    let owner = PersonId(id(1001));
    let last = TenantCommand::RemoveOwner { person: owner, because: OwnershipLoss::Removed };
    let refused = world.engine.dispatch::<Tenant>(id(1), last, context(None)).await;
    assert!(matches!(refused, Err(DispatchError::Rejected { .. })), "the last owner stays: {refused:?}");
    let other = PersonId(id(60));
    let invite = aggregates::membership::MembershipCommand::Invite {
        tenant: TenantId(id(1)),
        person: other,
        role: Role::Owner,
        kind: schemas::values::MembershipKind::Staff,
        expires_at: None,
        token_hash: None,
        now: SystemClock.now(),
    };
    let membership = aggregates::membership::id_of(TenantId(id(1)), other);
    type Membership = aggregates::membership::Membership;
    world.engine.dispatch::<Membership>(membership.0, invite, context(None)).await.unwrap();
    let ownership = Ownership::new(world.engine.clone());
    ownership.react(&world.events().await.pop().unwrap()).await.unwrap();
    let because = OwnershipLoss::Downgraded { to: Role::User };
    let demote = TenantCommand::RemoveOwner { person: owner, because };
    world.engine.dispatch::<Tenant>(id(1), demote, context(None)).await.unwrap();
    ownership.react(&world.events().await.pop().unwrap()).await.unwrap();
    let last = world.events().await.pop().unwrap();
    assert_eq!(
        (last.event_type.as_ref(), &last.payload["RoleChanged"]["to"]),
        ("membership.role_changed", &"user".into())
    );
}
