//! What only PostgreSQL can show: that history can't be rewritten, that stock cqrs-es reads it, that the server owns nothing.

use cqrs_es::persist::PersistedEventRepository;
use engine::adapter::Folded;
use engine::journal::{Journal, PgJournal};
use kernel::ShardId;
use postgres_es::PostgresEventRepository;
use sqlx::postgres::PgPoolOptions;

use crate::db::{TestDb, connect};
use crate::journal_contract::{at, codec, id, item};

async fn journal(db: &TestDb) -> PgJournal {
    PgJournal::new(db.server_info.key_values().parse().unwrap(), db.server.clone(), codec()).unwrap()
}

async fn with_an_event() -> TestDb {
    let db = TestDb::new().await;
    let journal = journal(&db).await;
    let lease =
        journal.acquire(ShardId(0), id(1), std::time::Duration::from_secs(60)).await.unwrap().unwrap();
    journal.append(lease, id(100), None, &[item(1, 1, 2)], at(0)).await.unwrap();
    db
}

/// REQUIREMENTS §1: history is immutable, for the server by grant and for the owner by trigger.
#[tokio::test]
async fn nobody_rewrites_history() {
    let db = with_an_event().await;
    let insert = "INSERT INTO audit_ledger (shard, position, entry_id, occurred_at, recorded_at, actor_kind, actor, role,
        action, outcome, correlation_id, metadata, payload) VALUES (0, 1, gen_random_uuid(), now(), now(), 'user', 'u', 'r',
        'a', 'denied', gen_random_uuid(), '{}', '{}')";
    let server = connect(&db.server_info).await;
    server.batch_execute(insert).await.unwrap();
    // A month's own partition is as well guarded as the table.
    server.batch_execute("SELECT ensure_audit_partition('2031-05-01')").await.unwrap();
    let owner = connect(&db.owner_info).await;
    for table in ["events", "audit_ledger", "audit_ledger_default", "audit_ledger_2031_05"] {
        for rewrite in [
            format!("UPDATE {table} SET actor = 'mallory'"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ] {
            let denied = server.batch_execute(&rewrite).await.unwrap_err();
            assert_eq!(
                denied.code().map(|c| c.code()),
                Some("42501"),
                "the server has no such right: {rewrite}"
            );
            let refused = owner.batch_execute(&rewrite).await.unwrap_err();
            assert_eq!(
                refused.code().map(|c| c.code()),
                Some("TN100"),
                "the trigger refuses the owner: {rewrite}"
            );
        }
    }
}

/// NFR-SEC-005: the server's role owns nothing and is no superuser.
#[tokio::test]
async fn the_servers_role_owns_nothing() {
    let db = with_an_event().await;
    let server = connect(&db.server_info).await;
    let row = server
        .query_one(
            "SELECT (SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole),
                    (SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (0, false));
    for beyond in ["CREATE TABLE mine (n int)", "DROP TABLE events", "ALTER TABLE events DISABLE TRIGGER ALL"]
    {
        assert!(server.batch_execute(beyond).await.is_err(), "{beyond}");
    }
}

/// Ruling 14: postgres-es's table layout stays the contract.
#[tokio::test]
async fn stock_postgres_es_reads_what_we_wrote() {
    use aggregates::tenant::Tenant;
    let db = with_an_event().await;
    // The stock repository of the stock crate, on our table.
    let pool = PgPoolOptions::new().connect(&db.server_info.url()).await.unwrap();
    sqlx::query("INSERT INTO events SELECT 'tenant', aggregate_id, sequence, event_type, event_version, payload, metadata,
        shard, position + 10, tenant, gen_random_uuid(), index_in_command, actor, role, correlation_id, causation_id, recorded_at
        FROM events").execute(&pool).await.unwrap();
    let stock = PostgresEventRepository::new(pool);
    let events = stock.get_events::<Folded<Tenant>>(&id(1).to_string()).await.unwrap();
    assert_eq!(events.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events[1].payload, serde_json::json!({ "Happened": 2 }));
    let metadata: std::collections::HashMap<String, String> =
        serde_json::from_value(events[0].metadata.clone()).unwrap();
    assert_eq!(metadata["action"], "things:happen", "a flat map of strings, as cqrs-es wants it");
}

/// CC-OPS-001: every migration has its way back.
#[tokio::test]
async fn migrations_run_up_down_and_up_again() {
    let db = TestDb::new().await;
    let pool = PgPoolOptions::new().connect(&db.owner_info.url()).await.unwrap();
    schemas::migrations::MIGRATOR.undo(&pool, 0).await.unwrap();
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND n.nspname NOT LIKE 'pg_toast%' AND c.relname <> '_sqlx_migrations'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, 0, "nothing is left behind");
    schemas::migrations::MIGRATOR.run(&pool).await.unwrap();
    sqlx::query("SELECT 1 FROM events, audit_ledger, journal_shard").execute(&pool).await.unwrap();
}
