//! The engine on a real PostgreSQL: killed in the middle, contended for, and found whole afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aggregates::tenant::{Provision, Tenant, TenantCommand, Trial};
use cluster::{Cluster, ConnectInfo, Options};
use engine::clock::{SystemClock, SystemIds};
use engine::codec::{Codec, Plain};
use engine::command::{CommandContext, DispatchError, Idempotency, Receipt};
use engine::feed::Live;
use engine::journal::PgJournal;
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{
    Actor, ActorKind, Clock, CommandId, CorrelationId, Metadata, Origin, PersonId, ShardId, TenantId,
};
use schemas::values::{FlagValue, Plan, Region};
use uuid::Uuid;

use crate::db::{TestDb, connect, pool};

pub fn codec() -> Codec {
    Codec::new(Arc::new(Plain), schemas::upcasters(), &[7; 32])
}

/// A node's engine on a database, as its server role.
pub async fn engine_on(info: &ConnectInfo, node: u128) -> Engine {
    let journal = PgJournal::new(info.key_values().parse().unwrap(), pool(info), codec()).unwrap();
    let mut writer = WriterConfig::new(ShardId(0), Uuid::from_u128(node));
    writer.lease_ttl = Duration::from_millis(1_500);
    writer.unclear_patience = Duration::from_secs(30);
    let config = EngineConfig::new(writer);
    Engine::start(config, Arc::new(journal), Live::default(), Arc::new(SystemClock), Arc::new(SystemIds))
        .await
        .unwrap()
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

fn flag(n: u128, value: i64) -> TenantCommand {
    TenantCommand::SetFlag {
        key: format!("flag-{n}").parse().unwrap(),
        value: FlagValue::from_json(value.into()).unwrap(),
    }
}

async fn send(
    engine: &Engine,
    tenant: u128,
    command: TenantCommand,
    id: u128,
) -> Result<Receipt, DispatchError<aggregates::tenant::TenantRejection>> {
    engine.dispatch::<Tenant>(Uuid::from_u128(tenant), command, context(Some(id))).await
}

/// Positions dense, sequences contiguous, time never backwards; and how many events there are.
async fn sound(info: &ConnectInfo) -> i64 {
    let client = connect(info).await;
    let row = client
        .query_one(
            "SELECT count(*), coalesce(max(position), 0),
                    (SELECT last_position FROM journal_shard WHERE shard = 0),
                    (SELECT count(*) FROM (SELECT 1 FROM events GROUP BY aggregate_type, aggregate_id
                                           HAVING max(sequence) <> count(*) OR min(sequence) <> 1) AS gaps),
                    (SELECT count(*) FROM (SELECT recorded_at < lag(recorded_at) OVER (ORDER BY position) AS back FROM events) AS t WHERE back)
               FROM events",
            &[],
        )
        .await
        .unwrap();
    let [count, last, counter, gaps, back] = [0, 1, 2, 3, 4].map(|n| row.get::<_, i64>(n));
    assert_eq!((count, count, 0, 0), (last, counter, gaps, back), "dense, contiguous, in order");
    count
}

/// REQUIREMENTS §1: an acknowledged write survives a crash at any instant; a retry never does a thing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_happens_twice_when_postgres_is_killed() {
    const TENANTS: u128 = 40;
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::ensure(directory.path(), Options::default()).await.unwrap();
    let mut owner = sqlx::Connection::connect(&cluster.owner_url()).await.unwrap();
    let migrated: Result<(), _> =
        schemas::migrations::MIGRATOR.run::<&mut sqlx::PgConnection>(&mut owner).await;
    migrated.unwrap();
    let engine = engine_on(&cluster.server(), 1).await;
    engine.owned().await;
    for n in 1..=TENANTS {
        send(&engine, n, provision(n), n).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let workers = (0..64_u128).map(|worker| {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move {
            let (mut acknowledged, mut round) = (Vec::new(), 0_u128);
            while !stop.load(Ordering::Acquire) {
                round += 1;
                let (tenant, id) = (worker % TENANTS + 1, worker << 64 | round << 16 | 0xF);
                // Asked until there is an answer, with the same key, as a client would.
                loop {
                    match send(&engine, tenant, flag(worker, i64::try_from(round).unwrap()), id).await {
                        Ok(receipt) => break acknowledged.push((id, receipt)),
                        Err(DispatchError::Rejected { rejection, .. }) => panic!("{rejection}"),
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            }
            acknowledged
        })
    });
    let workers: Vec<_> = workers.collect();
    for kills in 1..=3_i64 {
        let client = connect(&cluster.server()).await;
        let count =
            async || client.query_one("SELECT count(*) FROM events", &[]).await.unwrap().get::<_, i64>(0);
        let before = count().await;
        while count().await < before + 500 * kills {
            tokio::task::yield_now().await;
        }
        drop(client);
        cluster.kill_hard().await.unwrap();
        Cluster::ensure(directory.path(), Options::default()).await.unwrap();
    }
    stop.store(true, Ordering::Release);
    let mut acknowledged = Vec::new();
    for worker in workers {
        acknowledged.extend(worker.await.unwrap());
    }
    engine.drain().await;
    let count = sound(&cluster.server()).await;
    let client = connect(&cluster.server()).await;
    for (id, receipt) in &acknowledged {
        assert!(receipt.changed());
        let command = Uuid::from_u128(*id);
        let rows = client
            .query("SELECT position FROM command_outcomes WHERE command_id = $1", &[&command])
            .await
            .unwrap();
        let position = receipt.position.unwrap().position;
        assert_eq!(rows.iter().map(|r| r.get::<_, i64>(0) as u64).collect::<Vec<_>>(), [position.0]);
    }
    // Every flag event came from one acknowledged command: none ran twice.
    let provisioned = i64::try_from(TENANTS).unwrap();
    assert_eq!(count - provisioned, i64::try_from(acknowledged.len()).unwrap());
    cluster.destroy().await.unwrap();
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
    // Not even "nothing to do" is answered from the memory of the one that was fenced.
    let nothing = first.dispatch::<Tenant>(Uuid::from_u128(1), flag(1, 1), context(None)).await;
    assert!(matches!(nothing, Err(DispatchError::Unavailable { .. })), "{nothing:?}");
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
    assert_eq!(receipt.sequence, 3, "it stands behind the event it didn't know of");
    assert_eq!(sound(&db.server_info).await, 3);
}
