//! The audit ledger, and the one codec through which everything is stored.

use std::sync::Arc;
use std::time::Duration;

use engine::audit::{AuditEntry, AuditFact, AuditOutcome};
use engine::codec::Codec;
use engine::feed::{Feed, Interest, Live};
use engine::journal::{AppendItem, Journal, NewOutcome, PgJournal, Snapshot};
use engine::ledger::{AuditFeed, AuditLedger};
use futures::future::join_all;
use kernel::{CommandId, EventId, Metadata, Position, ShardId};
use serde_json::json;
use uuid::Uuid;

use crate::db::{TestDb, connect};
use crate::journal_contract::{at, id, item, keyring, stream};

fn codec() -> Codec {
    Codec::plain(vec![], &[1; 32])
}

/// What an entry's metadata can be: no event causes one.
fn metadata() -> Metadata {
    Metadata { causation_id: None, ..(*item(1, 1, 0).metadata).clone() }
}

fn entry(n: u128, second: i64) -> AuditEntry {
    AuditEntry {
        entry_id: id(n),
        occurred_at: at(second),
        metadata: metadata(),
        fact: AuditFact {
            outcome: AuditOutcome::Denied,
            status: 403,
            code: Some("ERR-AUTH-403".into()),
            detail: Some("forbidden".into()),
            resource_type: Some("tenant".into()),
            resource_id: Some(id(3).to_string()),
            count: 1,
        },
    }
}

/// FR-LOG-003, REQUIREMENTS §1: every action is audited, also the refused.
#[tokio::test]
async fn entries_are_durable_in_dense_order_and_read_back_as_they_were() {
    let db = TestDb::new().await;
    let live = Live::default();
    let mut heard = live.listen();
    let ledger =
        AuditLedger::start(db.server.clone(), codec(), live.clone(), Arc::new(engine::clock::SystemClock));
    // Of several months, so that partitions are made on the way.
    let all = (0..300_u32).map(|n| ledger.record(entry(u128::from(n) + 1, i64::from(n % 5) * 40 * 86_400)));
    assert!(join_all(all).await.into_iter().all(|r| r.is_ok()));
    let feed = AuditFeed::new(db.server.clone(), codec(), live);
    assert_eq!(feed.head().await.unwrap(), Position(300));
    let read = feed.read(Position::ZERO, 1000, Interest::All).await.unwrap().events;
    assert_eq!(read.iter().map(|e| e.position.0).collect::<Vec<_>>(), (1..=300).collect::<Vec<_>>());
    let first = read.iter().find(|e| e.event_id == EventId(id(1))).unwrap();
    assert_eq!(*first.metadata, metadata(), "who, why and from where");
    assert_eq!(first.payload["Recorded"]["detail"], "forbidden");
    let told = heard.recv().await.unwrap();
    assert_eq!(told[0], read[0], "followers hear what the ledger says");
    let client = connect(&db.server_info).await;
    let row = client
        .query_one("SELECT count(DISTINCT tableoid), count(*) FILTER (WHERE tableoid = 'audit_ledger_default'::regclass) FROM audit_ledger", &[])
        .await
        .unwrap();
    assert!(row.get::<_, i64>(0) >= 4, "a partition for each month");
    assert_eq!(row.get::<_, i64>(1), 0);
    ledger.drain().await;
    assert!(ledger.record(entry(999, 0)).await.is_err(), "after the drain nothing is taken");
}

/// REQUIREMENTS §1: a retry never does a thing twice.
#[tokio::test]
async fn an_entry_repeated_after_a_broken_connection_is_written_once() {
    let db = TestDb::new().await;
    let live = Live::default();
    let ledger =
        AuditLedger::start(db.server.clone(), codec(), live.clone(), Arc::new(engine::clock::SystemClock));
    let owner = connect(&db.owner_info).await;
    let superuser = {
        let cluster = cluster::Cluster::for_tests().await.unwrap();
        connect(&cluster.superuser().with_database(&db.server_info.database)).await
    };
    for round in 0..20_u32 {
        let writes = join_all((0..20_u32).map(|n| ledger.record(entry(u128::from(round * 20 + n) + 1, 0))));
        let breaks = superuser.batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tenantry_server' AND datname = current_database()",
        );
        let (written, broken) = tokio::join!(writes, breaks);
        broken.unwrap();
        assert!(written.into_iter().all(|r| r.is_ok()));
    }
    let row = owner
        .query_one("SELECT count(*), count(DISTINCT entry_id), max(position) FROM audit_ledger", &[])
        .await
        .unwrap();
    assert_eq!([0, 1, 2].map(|n| row.get::<_, i64>(n)), [400, 400, 400]);
}

/// NFR-SEC-002: encryption is switched on in one place.
#[tokio::test]
async fn whatever_is_stored_goes_through_the_one_codec() {
    const SECRET: &str = "ann.secret@example.org";
    let db = TestDb::new().await;
    let codec = Codec::sealing(keyring(&db.server).await, vec![], &[1; 32]);
    let journal =
        PgJournal::new(db.server_info.key_values().parse().unwrap(), db.server.clone(), codec.clone())
            .unwrap();
    let lease = journal.acquire(ShardId(0), id(1), Duration::from_secs(60)).await.unwrap().unwrap();
    let marked = json!({ "$personal": { "of": id(6), "value": SECRET } });
    let mut appended = item(1, 1, 1);
    appended.events[0].payload = json!({ "Registered": { "email": marked } }).into();
    Arc::make_mut(&mut appended.metadata).origin.address = Some(SECRET.into());
    appended.claims = vec![kernel::ClaimChange::Take(kernel::Claim::new("user.email", SECRET))];
    let outcome = NewOutcome {
        command_id: CommandId(id(9)),
        fingerprint: [0; 32],
        body: json!({ "rejected": marked }),
    };
    let items = [AppendItem { outcome: Some(outcome), ..appended.clone() }];
    journal.append(lease, id(100), None, &items, at(0)).await.unwrap();
    let event_id = appended.events[0].event_id;
    let snapshot = Snapshot { version: 1, sequence: 1, event_id, state: json!({ "email": marked }) };
    journal.save_snapshots(&[(stream(1), snapshot.clone())], at(0)).await.unwrap();
    let live = Live::default();
    let ledger =
        AuditLedger::start(db.server.clone(), codec.clone(), live, Arc::new(engine::clock::SystemClock));
    let mut audited = entry(1, 0);
    audited.metadata.origin.address = Some(SECRET.into());
    ledger.record(audited.clone()).await.unwrap();

    // Nothing readable stands in any table.
    let owner = connect(&db.owner_info).await;
    for table in ["events", "claims", "command_outcomes", "aggregate_snapshots", "audit_ledger"] {
        let found = owner
            .query_one(
                &format!(
                    "SELECT count(*), count(*) FILTER (WHERE t::text LIKE '%ann.secret%') FROM {table} t"
                ),
                &[],
            )
            .await
            .unwrap();
        assert_eq!((found.get::<_, i64>(0), found.get::<_, i64>(1)), (1, 0), "{table}");
    }
    // And all of it comes back as it was.
    let loaded = journal.load(&stream(1), Some(1)).await.unwrap();
    assert_eq!(loaded.snapshot, Some(snapshot));
    let event = &journal.read(ShardId(0), Position::ZERO, 1).await.unwrap()[0];
    assert_eq!(event.payload["Registered"]["email"], marked);
    assert_eq!(event.metadata, appended.metadata);
    assert_eq!(journal.outcome(CommandId(id(9))).await.unwrap().unwrap().body["rejected"], marked);
    let feed = AuditFeed::new(db.server.clone(), codec, Live::default());
    let entries = feed.read(Position::ZERO, 1, Interest::All).await.unwrap().events;
    assert_eq!(*entries[0].metadata, audited.metadata);
    assert_eq!(
        journal.claim_holder(&kernel::Claim::new("user.email", SECRET)).await.unwrap().map(|s| s.id),
        Some::<Uuid>(id(1))
    );
}
