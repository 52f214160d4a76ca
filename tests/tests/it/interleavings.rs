//! The interleavings that break such engines, where it takes a real PostgreSQL to show them. Those in memory stand in
//! `engine/src/writer/tests.rs`, those of a shard that changes hands in `contention.rs`.

use std::sync::Arc;
use std::time::Duration;

use aggregates::tenant::{DOMAIN_CLAIM, SLUG_CLAIM, Tenant, TenantCommand};
use engine::clock::SystemClock;
use engine::command::{DispatchError, Idempotency};
use futures::future::join_all;
use kernel::{Claim, CommandId};
use uuid::Uuid;

use cluster::Cluster;

use crate::db::{TestDb, connect};
use crate::engine_postgres::{codec, config, context, engine_on, engine_with, flag, provision, send};
use crate::feeds::{PATIENCE, eventually};
use crate::invariants;
use crate::proxy::{Proxy, Strike};

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_connection_breaks_happens_once_wherever_it_broke() {
    const TENANTS: u128 = 10;
    for strike in [Strike::Unsent, Strike::Sent, Strike::Answered] {
        let db = TestDb::new().await;
        let proxy = Proxy::before(&db.server_info);
        let engine = engine_on(&proxy.way_to(&db.server_info), 1).await;
        engine.owned().await;
        for n in 1..=TENANTS {
            send(&engine, n, provision(n), n).await.unwrap();
        }
        for round in 1..=5_u128 {
            let struck = proxy.strike(strike);
            let value = i64::try_from(round).unwrap();
            let all = join_all((1..=TENANTS).map(|n| send(&engine, n, flag(1, value), round << 64 | n)));
            for receipt in within("all are answered", all).await {
                let receipt = receipt.unwrap_or_else(|error| panic!("{strike:?}: {error}"));
                assert_eq!(u128::from(receipt.sequence), round, "{strike:?}: the flag changed once");
            }
            within("it struck", struck).await.unwrap();
        }
        let events = invariants::hold(&db.owner_info, &codec()).await.events.len() as u128;
        assert_eq!(events, TENANTS * 6, "{strike:?}");
    }
}

/// The client gives the connection up and settles; only then does the server read the old statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_server_has_not_read_while_its_outcome_is_settled_is_fenced() {
    for strike in [Strike::Held, Strike::Silent] {
        let db = TestDb::new().await;
        let proxy = Proxy::before(&db.server_info);
        let mut config = config(1);
        config.writer.answer_max = Duration::from_secs(2);
        let engine = engine_with(&proxy.way_to(&db.server_info), config, Arc::new(SystemClock)).await;
        engine.owned().await;
        send(&engine, 1, provision(1), 1).await.unwrap();
        let struck = proxy.strike(strike);
        let receipt = within("it is answered", send(&engine, 1, flag(1, 1), 2)).await.unwrap();
        assert_eq!(receipt.sequence, 1, "{strike:?}: the flag's first change");
        let mut held = within("it struck", struck).await.unwrap().held.unwrap();
        let refused = within("it is read", held.let_through()).await;
        assert_eq!(refused, Err("TN001".to_owned()), "{strike:?}");
        assert_eq!(invariants::hold(&db.owner_info, &codec()).await.events.len(), 2, "the flag was set once");
        assert_eq!(send(&engine, 1, flag(1, 2), 3).await.unwrap().sequence, 2, "and it goes on");
    }
}

/// It was committed, but another node took the shard before that could be found out: the one that asks can't know, and
/// says so. The new owner knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_another_node_took_over_before_it_was_settled_is_answered_as_unknown() {
    let db = TestDb::new().await;
    let proxy = Proxy::before(&db.server_info);
    let engine = engine_on(&proxy.way_to(&db.server_info), 1).await;
    engine.owned().await;
    send(&engine, 1, provision(1), 1).await.unwrap();
    let struck = proxy.strike(Strike::Silent);
    let asked = tokio::spawn({
        let engine = engine.clone();
        async move { send(&engine, 1, flag(1, 1), 2).await }
    });
    let mut held = within("it struck", struck).await.unwrap().held.unwrap();
    assert_eq!(within("it is read", held.let_through()).await, Ok(()));
    let owner = connect(&db.owner_info).await;
    owner.batch_execute("UPDATE journal_shard SET lease_until = '-infinity'").await.unwrap();
    let second = engine_on(&db.server_info, 2).await;
    within("the second owns the shard", second.owned()).await;
    // Only now the first one's connection breaks.
    drop(held);
    let answer = within("it is answered", asked).await.unwrap();
    assert_eq!(answer, Err(DispatchError::OutcomeUnknown));
    let again = send(&second, 1, flag(1, 1), 2).await.unwrap();
    assert!(again.replayed && again.sequence == 1, "{again:?}");
    assert_eq!(invariants::hold(&db.owner_info, &codec()).await.events.len(), 2);
}

/// One tenant after the other gives its domain up, and the next takes it in the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_freed_and_retaken_at_once_is_held_by_the_last_who_took_it() {
    const TENANTS: u128 = 24;
    let db = TestDb::new().await;
    let engine = engine_on(&db.server_info, 1).await;
    engine.owned().await;
    let domain = |name: &str| TenantCommand::Update {
        name: None,
        slug: None,
        domain: Some(name.parse().unwrap()),
        settings: None,
    };
    for n in 1..=TENANTS {
        send(&engine, n, provision(n), n).await.unwrap();
    }
    send(&engine, 1, domain("coveted.example.org"), 1 << 64).await.unwrap();
    for n in 2..=TENANTS {
        let own = format!("own-{n}.example.org");
        let frees = send(&engine, n - 1, domain(&own), 2 << 64 | n);
        // It may come too early, and then asks again.
        let takes = async {
            let id = Uuid::from_u128(n);
            loop {
                let asked = engine.dispatch::<Tenant>(id, domain("coveted.example.org"), context(None));
                match asked.await {
                    Err(DispatchError::ClaimTaken { .. }) => {}
                    taken => break taken,
                }
            }
        };
        let (freed, taken) = tokio::join!(frees, takes);
        freed.unwrap();
        taken.unwrap();
    }
    let holder = engine.claim_holder(&Claim::new(DOMAIN_CLAIM, "coveted.example.org")).await.unwrap();
    assert_eq!(holder.unwrap().id, Uuid::from_u128(TENANTS));
    invariants::hold(&db.owner_info, &codec()).await;
}

/// Another transaction, as of another shard's writer, takes the same two names in the other order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_batches_that_take_names_crosswise_end_with_one_of_them_repeated() {
    let (db, cluster) = (TestDb::new().await, Cluster::for_tests().await.unwrap());
    let engine = engine_on(&db.server_info, 1).await;
    engine.owned().await;
    let database = db.server_info.database.clone();
    let other = connect(&cluster.superuser().with_database(&database)).await;
    let (slug, domain) = (Claim::new(SLUG_CLAIM, "tenant-1"), Claim::new(DOMAIN_CLAIM, "t1.example.org"));
    let take = async |claim: &Claim| {
        let sql = "INSERT INTO claims (kind, value_hash, aggregate_type, aggregate_id) VALUES ($1, $2, 'tenant', 'x')";
        other.execute(sql, &[&claim.kind, &codec().claim_hash(claim)]).await
    };
    // The engine's own transaction is to find the circle, not this one.
    other.batch_execute("SET deadlock_timeout = '1min'; BEGIN").await.unwrap();
    take(&slug).await.unwrap();
    let asked = {
        let engine = engine.clone();
        tokio::spawn(async move { send(&engine, 1, provision(1), 1).await })
    };
    let watcher = connect(&cluster.superuser().with_database(&database)).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                  AND application_name = 'tenantry journal'";
    eventually("the engine has taken the domain and waits for the slug", async || {
        watcher.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    within("the engine's transaction gives way", take(&domain)).await.expect("it is free again");
    other.batch_execute("ROLLBACK").await.unwrap();
    let receipt = within("it is repeated", asked).await.unwrap().expect("and carried out");
    assert_eq!(receipt.sequence, 1);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    eventually("PostgreSQL has counted the deadlock", async || {
        watcher.query_one(deadlocks, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
    invariants::hold(&db.owner_info, &codec()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_hears_its_answer_after_passivation_and_snapshot_and_a_changed_body_is_refused() {
    let db = TestDb::new().await;
    let mut impatient = config(1);
    impatient.actor_idle_max = Duration::ZERO;
    impatient.snapshot_events_min = 4;
    let engine = engine_with(&db.server_info, impatient, Arc::new(SystemClock)).await;
    engine.owned().await;
    send(&engine, 1, provision(1), 1).await.unwrap();
    let mut receipts = Vec::new();
    for n in 1..=10_u128 {
        receipts.push(send(&engine, 1, flag(n, 1), 100 + n).await.unwrap());
    }
    eventually("its actor is gone", async || engine.health().actors_live == 0).await;
    let client = connect(&db.owner_info).await;
    let snapshots = "SELECT count(*) FROM aggregate_snapshots";
    eventually("its snapshot is kept", async || {
        client.query_one(snapshots, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    for (n, first) in (1..).zip(&receipts) {
        let again = send(&engine, 1, flag(n, 1), 100 + n).await.unwrap();
        assert!(again.replayed && !first.replayed);
        assert_eq!((again.position, &again.event_ids), (first.position, &first.event_ids));
    }
    let mut changed = context(Some(101));
    changed.idempotency = Some(Idempotency { id: CommandId(Uuid::from_u128(101)), fingerprint: [1; 32] });
    let refused = engine.dispatch::<Tenant>(Uuid::from_u128(1), flag(1, 2), changed).await;
    assert_eq!(refused, Err(DispatchError::KeyReused));
    // What comes back from the snapshot is what left.
    let nothing = send(&engine, 1, flag(10, 1), 200).await.unwrap();
    assert!(!nothing.changed(), "the flag is set already");
    assert_eq!(send(&engine, 1, flag(10, 2), 201).await.unwrap().sequence, 11);
    invariants::hold(&db.owner_info, &codec()).await;
}
