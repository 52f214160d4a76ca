//! Two servers on one database: one owns the shard, the other takes over. Never two writers, and no answer that was
//! given is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aggregates::tenant::Tenant;
use chrono::{DateTime, TimeDelta, Utc};
use engine::clock::SystemClock;
use engine::command::DispatchError;
use futures::future::join_all;
use kernel::Clock;
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use crate::caller::{Acknowledged, Caller};
use crate::db::{TestDb, connect};
use crate::engine_postgres::{codec, config, context, engine_on, engine_with, flag, provision, send};
use crate::feeds::eventually;
use crate::invariants;
use crate::process::{Node, POLL};

/// `tenantry serve`'s lease, and what a busy machine may add to it.
const LEASE: Duration = Duration::from_secs(10);
const FAILOVER_MAX: Duration = Duration::from_secs(LEASE.as_secs() + 30);
const WORKERS: usize = 12;

/// NFR-OPS-003: an owner that is paused, killed or stopped is followed by the other; who was paused writes nothing when
/// it wakes up with its memory and its old epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_writes_and_the_other_takes_over_whatever_becomes_of_the_first() {
    let db = TestDb::new().await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = |data: &std::path::Path| {
        Node::new(data)
            .with("DATABASE_URL", db.server_info.url())
            .with("TENANTRY_OWNER_DATABASE_URL", db.owner_info.url())
            .with("TENANTRY_PUBLIC_URL", "https://tenantry.example")
    };
    let first = node(one.path()).start().await;
    std::fs::copy(one.path().join("master.key"), two.path().join("master.key")).unwrap();
    let mut second = node(two.path()).start_waiting().await;
    let codec = invariants::codec_of(&db.server_info, one.path()).await;
    let token = first.node.token();
    let caller = Caller::new(&token, &[first.url(), second.url()], Duration::from_secs(2));
    let tenants = caller.tenants(4).await;

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let acknowledged: Arc<Mutex<Vec<Acknowledged>>> = Arc::default();
    let workers = (0..WORKERS).map(|worker| {
        let (caller, tenant) = (caller.clone(), tenants[worker % tenants.len()]);
        let (stop, answered, acknowledged) = (stop.clone(), answered.clone(), acknowledged.clone());
        tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::Acquire) {
                n += 1;
                let asked = format!("{worker}-{n}");
                let answer = caller.set_flag(tenant, &format!("flag-{worker}"), n, &asked).await;
                acknowledged.lock().expect("nobody panicked").push(answer);
                answered.fetch_add(1, Ordering::AcqRel);
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let more = async |count: usize| {
        let wanted = answered.load(Ordering::Acquire) + count;
        let mut tick = tokio::time::interval(POLL);
        let waiting = async {
            while answered.load(Ordering::Acquire) < wanted {
                tick.tick().await;
            }
        };
        tokio::time::timeout(FAILOVER_MAX, waiting).await.expect("answers come again in time");
    };
    // Who asked before the fault may be answered a moment after it.
    let failover = async |since: Instant| {
        more(WORKERS + 1).await;
        since.elapsed()
    };

    more(100).await;
    first.pause();
    let paused = failover(Instant::now()).await;
    more(100).await;
    first.resume();
    // Its memory holds a state that was true ten seconds ago; it gives no answer of it.
    let write = reqwest::Client::new()
        .put(format!("{}/api/operator/tenants/{}/flags/from-memory", first.url(), tenants[0]))
        .bearer_auth(&token)
        .json(&json!({ "value": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(write.status(), StatusCode::SERVICE_UNAVAILABLE, "{:?}", write.text().await);
    assert!(first.answers("/health").await);
    eventually("it says that it is not ready", async || !first.answers("/ready").await).await;

    more(100).await;
    second.kill();
    let killed = failover(Instant::now()).await;
    let second = second.node.clone().start_waiting().await;
    more(100).await;
    let begun = Instant::now();
    let stopping = tokio::task::spawn_blocking(move || first.stop());
    let stopped = failover(begun).await;
    stopping.await.unwrap();
    more(100).await;

    stop.store(true, Ordering::Release);
    for worker in join_all(workers).await {
        worker.expect("nobody was refused");
    }
    let sound = invariants::hold(&db.owner_info, &codec).await;
    sound.holds(&acknowledged.lock().expect("nobody panicked"));
    assert!(
        sound.events.iter().all(|event| event.payload["FlagSet"]["key"] != "from-memory"),
        "what was refused was not written"
    );
    invariants::read_models_are_what_replay_makes(&db.owner_info, one.path());
    second.stop();
    let ms = |time: Duration| time.as_millis();
    eprintln!(
        "failover with a lease of {} s: {} ms after the owner was paused, {} ms after it was killed, {} ms after it was \
         stopped in order",
        LEASE.as_secs(),
        ms(paused),
        ms(killed),
        ms(stopped)
    );
}

/// Of the engines in this process: short enough to wait for, long enough for a busy machine.
const LEASE_HERE: Duration = Duration::from_secs(4);

/// A clock that is wrong.
#[derive(Debug)]
struct Skewed(TimeDelta);

impl Clock for Skewed {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.0
    }
}

/// The lease is measured by the database's clock alone, and time in the journal does not go backwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_own_clock_decides_neither_who_owns_the_shard_nor_the_order_of_events() {
    for (ahead, behind) in [(1, -1), (-1, 1)] {
        let db = TestDb::new().await;
        let skewed = |days| Arc::new(Skewed(TimeDelta::days(days)));
        let leased = |node| {
            let mut config = config(node);
            config.writer.lease_ttl = LEASE_HERE;
            config
        };
        let first = engine_with(&db.server_info, leased(1), skewed(ahead)).await;
        first.owned().await;
        send(&first, 1, provision(1), 1).await.unwrap();
        let second = engine_with(&db.server_info, leased(2), skewed(behind)).await;
        let client = connect(&db.server_info).await;
        let lease = async || {
            let sql = "SELECT owner, lease_until::text, lease_until - clock_timestamp() <= interval '4 s' \
                       FROM journal_shard WHERE shard = 0";
            let row = client.query_one(sql, &[]).await.unwrap();
            assert_eq!(row.get::<_, Option<Uuid>>(0), Some(Uuid::from_u128(1)), "the first keeps it");
            assert!(row.get::<_, bool>(2), "by the database's clock");
            row.get::<_, String>(1)
        };
        // Prolonged three times: the other one has tried in vain for more than a whole lease.
        for _ in 0..3 {
            let before = lease().await;
            eventually("the lease is prolonged", async || lease().await != before).await;
        }
        let answer = send(&second, 1, flag(1, 1), 2).await;
        assert!(matches!(answer, Err(DispatchError::Unavailable { reason: "not_owner", .. })), "{answer:?}");
        send(&first, 1, flag(1, 1), 3).await.unwrap();
        first.drain().await;
        second.owned().await;
        send(&second, 1, flag(1, 2), 4).await.unwrap();
        assert_eq!(invariants::hold(&db.owner_info, &codec()).await.events.len(), 3);
        second.drain().await;
    }
}

/// A paused owner whose lease another one took does not find out by itself: it must ask before each answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_owner_answers_nothing_from_memory_not_even_that_there_is_nothing_to_do() {
    for (asked, command) in
        [("nothing to do", flag(1, 1)), ("refused", provision(2)), ("a write", flag(1, 3))]
    {
        let db = TestDb::new().await;
        // It will prolong its lease in twenty seconds, and until then believes that it has it.
        let mut long = config(1);
        long.writer.lease_ttl = Duration::from_secs(60);
        let first = engine_with(&db.server_info, long, Arc::new(SystemClock)).await;
        first.owned().await;
        let tenant = Uuid::from_u128(1);
        send(&first, 1, provision(1), 1).await.unwrap();
        send(&first, 1, flag(1, 1), 2).await.unwrap();
        let nothing = first.dispatch::<Tenant>(tenant, flag(1, 1), context(None)).await.unwrap();
        assert!(!nothing.changed(), "as long as it owns the shard, it says so");
        let owner = connect(&db.owner_info).await;
        owner.batch_execute("UPDATE journal_shard SET lease_until = '-infinity'").await.unwrap();
        let second = engine_on(&db.server_info, 2).await;
        second.owned().await;
        send(&second, 1, flag(1, 2), 3).await.unwrap();
        assert!(first.health().writes, "the first doesn't know");
        let answer = first.dispatch::<Tenant>(tenant, command, context(None)).await;
        assert!(matches!(answer, Err(DispatchError::Unavailable { .. })), "{asked}: {answer:?}");
        assert!(!first.health().writes, "{asked}: now it knows");
        assert_eq!(invariants::hold(&db.owner_info, &codec()).await.events.len(), 3, "{asked}");
    }
}
