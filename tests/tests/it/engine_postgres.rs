//! The engine on a real PostgreSQL: contended for, contradicted, and found whole afterwards.

use std::sync::Arc;
use std::time::Duration;

use aggregates::tenant::{Provision, Tenant, TenantCommand, Trial};
use cluster::ConnectInfo;
use deadpool_postgres::Pool;
use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::command::{CommandContext, DispatchError, Idempotency, Receipt};
use engine::feed::Live;
use engine::journal::PgJournal;
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{
    Actor, ActorKind, Clock, CommandId, CorrelationId, Metadata, Origin, PersonId, Position, ShardId,
    TenantId,
};
use schemas::values::{FlagValue, Plan, Region};
use uuid::Uuid;

use crate::db::{TestDb, connect, pool};
use crate::invariants::sound;

pub fn codec() -> Codec {
    Codec::plain(schemas::upcasters(), &[7; 32])
}

/// What a node's engine is made with; its lease is short.
pub fn config(node: u128) -> EngineConfig {
    let mut writer = WriterConfig::new(ShardId(0), Uuid::from_u128(node));
    writer.lease_ttl = Duration::from_millis(1_500);
    writer.unclear_patience = Duration::from_secs(30);
    EngineConfig::new(writer)
}

/// An engine on a database, as its server role.
pub async fn engine_with(info: &ConnectInfo, config: EngineConfig, clock: Arc<dyn Clock>) -> Engine {
    let journal = PgJournal::new(info.key_values().parse().unwrap(), pool(info), codec()).unwrap();
    Engine::start(config, Arc::new(journal), Live::default(), clock, Arc::new(SystemIds)).await.unwrap()
}

/// A node's engine on a database.
pub async fn engine_on(info: &ConnectInfo, node: u128) -> Engine {
    engine_with(info, config(node), Arc::new(SystemClock)).await
}

pub fn context(command: Option<u128>) -> CommandContext {
    let mut context = CommandContext::new(Metadata {
        tenant: None,
        actor: Actor { kind: ActorKind::Operator, id: Uuid::from_u128(1).to_string() },
        role: "operator".into(),
        scopes: vec![],
        action: "tenants:change".into(),
        correlation_id: CorrelationId(Uuid::from_u128(2)),
        causation_id: None,
        command_id: None,
        origin: Origin::default(),
    });
    context.idempotency =
        command.map(|id| Idempotency { id: CommandId(Uuid::from_u128(id)), fingerprint: [0; 32] });
    context
}

pub fn provision(n: u128) -> TenantCommand {
    TenantCommand::Provision(Box::new(Provision {
        tenant: TenantId(Uuid::from_u128(n)),
        name: format!("Tenant {n}").parse().unwrap(),
        slug: format!("tenant-{n}").parse().unwrap(),
        domain: format!("t{n}.example.org").parse().unwrap(),
        plan: Plan::Enterprise,
        region: Region::Eu,
        trial: Trial::None,
        owner: PersonId(Uuid::from_u128(n)),
        owner_email: format!("owner{n}@example.org").parse().unwrap(),
        application: None,
        now: SystemClock.now(),
    }))
}

pub fn flag(n: u128, value: i64) -> TenantCommand {
    TenantCommand::SetFlag {
        key: format!("flag-{n}").parse().unwrap(),
        value: FlagValue::from_json(value.into()).unwrap(),
    }
}

pub async fn send(
    engine: &Engine,
    tenant: u128,
    command: TenantCommand,
    id: u128,
) -> Result<Receipt, DispatchError<aggregates::tenant::TenantRejection>> {
    engine.dispatch::<Tenant>(Uuid::from_u128(tenant), command, context(Some(id))).await
}

/// NFR-OPS-003: two servers on one database never both append to a stream; the one that lost its lease says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_one_writes_and_the_other_takes_over_when_the_lease_lapses() {
    let db = TestDb::new().await;
    let first = engine_on(&db.server_info, 1).await;
    first.owned().await;
    send(&first, 1, provision(1), 1).await.unwrap();
    let second = engine_on(&db.server_info, 2).await;
    let answer = send(&second, 1, flag(1, 1), 2).await;
    assert!(matches!(answer, Err(DispatchError::Unavailable { reason: "not_owner", .. })), "{answer:?}");
    assert_eq!(second.health().shard, "waiting");
    // The first stops prolonging, as a paused process would: the second takes the shard under a higher epoch.
    let owner = connect(&db.owner_info).await;
    owner.batch_execute("UPDATE journal_shard SET lease_until = '-infinity', owner = NULL").await.unwrap();
    second.owned().await;
    // The first wakes up with its memory and its old epoch, and both are asked at once.
    let (old, new) = tokio::join!(send(&first, 1, flag(1, 1), 3), send(&second, 1, flag(1, 2), 4));
    assert!(matches!(old, Err(DispatchError::Unavailable { .. })), "{old:?}");
    new.unwrap();
    assert!(!first.health().writes);
    assert_eq!(sound(&db.server_info).await, 2);
    drop((first, second));
}

/// Another process that writes to a stream is noticed by the sequence, and its event is decided upon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_the_journal_contradicts_is_dropped_and_the_command_decided_anew() {
    let db = TestDb::new().await;
    let engine = engine_on(&db.server_info, 1).await;
    engine.owned().await;
    send(&engine, 1, provision(1), 1).await.unwrap();
    let owner = connect(&db.owner_info).await;
    owner
        .batch_execute(
            "WITH p AS (UPDATE journal_shard SET last_position = last_position + 1 RETURNING last_position)
             INSERT INTO events SELECT aggregate_type, aggregate_id, 2, 'tenant.access_mode_set', '1',
               '{\"AccessModeSet\": {\"mode\": \"read_only\"}}', metadata, shard, p.last_position, tenant, gen_random_uuid(), 0,
               actor, role, correlation_id, causation_id, recorded_at FROM events, p",
        )
        .await
        .unwrap();
    let receipt = send(&engine, 1, flag(1, 1), 2).await.unwrap();
    let position = receipt.position.expect("it made an event").position;
    assert_eq!(position, Position(3), "it stands behind the event it didn't know of");
    assert_eq!(sound(&db.server_info).await, 3);
}

/// The writer's thread asks for connections too, and they are everybody's afterwards.
#[tokio::test]
async fn a_pooled_connection_outlives_the_runtime_of_whoever_asked_for_it_first() {
    let db = TestDb::new().await;
    let pool = engine::database::pool(&db.server_info.key_values().parse().unwrap(), 1).unwrap();
    async fn backend(pool: Pool) -> i32 {
        let client = pool.get().await.unwrap();
        client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
    }
    let asks = pool.clone();
    let elsewhere = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(backend(asks))
    });
    let first = elsewhere.await.unwrap();
    assert_eq!(backend(pool).await, first, "it is still there");
}
