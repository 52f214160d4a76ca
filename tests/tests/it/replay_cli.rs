//! The binary `replay`, as an operator runs it: on a real journal, while a server serves.

use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, OnceLock};

use aggregates::tenant::{Tenant, TenantCommand};
use engine::audit::{AuditEntry, AuditFact, AuditOutcome};
use engine::clock::{SystemClock, SystemIds};
use engine::feed::{Feed, FeedName, Live};
use engine::journal::{PgFeed, PgJournal};
use engine::ledger::{AuditFeed, AuditLedger};
use engine::projection::{Feeds, Projector};
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{Clock, ShardId};
use serde_json::Value;
use uuid::Uuid;

use crate::db::TestDb;
use crate::engine_postgres::{codec, context, provision};
use crate::feeds::{PATIENCE, fast};

/// The binary, built once per test process if it isn't current.
fn replay_binary() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = std::process::Command::new(env!("CARGO"));
        let built = build.args(["build", "--quiet", "--workspace", "--bins"]).status().unwrap();
        assert!(built.success(), "replay is built");
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(2).unwrap().join("replay")
    })
}

struct Serving {
    db: TestDb,
    engine: Engine,
    projector: Projector,
    ledger: AuditLedger,
    journal: Arc<dyn Feed>,
    audit: Arc<dyn Feed>,
}

impl Serving {
    /// A server without its gateway.
    async fn start() -> Self {
        let db = TestDb::new().await;
        let (live, audit_live) = (Live::default(), Live::default());
        let journal =
            PgJournal::new(db.server_info.key_values().parse().unwrap(), db.server.clone(), codec()).unwrap();
        let config = EngineConfig::new(WriterConfig::new(ShardId(0), Uuid::from_u128(1)));
        let engine = Engine::start(
            config,
            Arc::new(journal),
            live.clone(),
            Arc::new(SystemClock),
            Arc::new(SystemIds),
        )
        .await
        .unwrap();
        engine.owned().await;
        let ledger =
            AuditLedger::start(db.server.clone(), codec(), audit_live.clone(), Arc::new(SystemClock));
        let journal: Arc<dyn Feed> = Arc::new(PgFeed::new(db.server.clone(), codec(), ShardId(0), live));
        let audit: Arc<dyn Feed> = Arc::new(AuditFeed::new(db.server.clone(), codec(), audit_live));
        let feeds = Feeds::new(vec![Arc::clone(&journal), Arc::clone(&audit)]);
        let projector = Projector::start(projections::all(), &feeds, &db.server, fast()).await.unwrap();
        Self { db, engine, projector, ledger, journal, audit }
    }

    async fn dispatch(&self, n: u128, command: TenantCommand) {
        self.engine.dispatch::<Tenant>(Uuid::from_u128(n), command, context(None)).await.unwrap();
    }

    async fn refuse(&self) {
        let entry = AuditEntry {
            entry_id: Uuid::from_u128(77),
            occurred_at: SystemClock.now(),
            metadata: std::sync::Arc::unwrap_or_clone(context(None).metadata),
            fact: AuditFact {
                outcome: AuditOutcome::Denied,
                status: 403,
                code: None,
                detail: None,
                resource_type: None,
                resource_id: None,
                count: 1,
            },
        };
        self.ledger.record(entry).await.unwrap();
    }

    /// Waits until every read model has everything.
    async fn settle(&self) {
        for (feed, name) in [(&self.journal, FeedName::Journal), (&self.audit, FeedName::Audit)] {
            let token = kernel::PositionToken { shard: ShardId(0), position: feed.head().await.unwrap() };
            for projection in projections::all().iter().filter(|p| p.feeds().contains(&name)) {
                self.projector.wait_for_feed(projection.name(), name, token, PATIENCE).await.unwrap();
            }
        }
    }

    async fn replay(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(replay_binary());
        command.args(args).env("DATABASE_URL", self.db.owner_info.url()).env_remove("TENANTRY_DATA_DIR");
        command.output().await.unwrap()
    }
}

fn text(output: &Output) -> (Option<i32>, String) {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// A running house with thirty tenants, some changed, and a refusal.
async fn serving_thirty_tenants() -> Serving {
    let serving = Serving::start().await;
    for n in 1..=30 {
        serving.dispatch(n, provision(n)).await;
    }
    for n in 1..=10 {
        serving.dispatch(n, TenantCommand::Suspend { reason: "unpaid".parse().unwrap() }).await;
    }
    serving.refuse().await;
    serving.settle().await;
    serving
}

#[tokio::test]
async fn verify_finds_what_was_folded_live_to_be_what_the_journal_says() {
    let serving = serving_thirty_tenants().await;
    let (code, text) = text(&serving.replay(&["verify"]).await);
    assert_eq!(code, Some(0), "{text}");
    for projection in projections::all() {
        assert!(text.contains(&format!("{}: no difference", projection.name())), "{text}");
    }
    assert!(text.contains("30 rows at journal 0:40"), "{text}");
    assert!(text.contains("41 rows at audit 0:1, journal 0:40"), "{text}");
}

#[tokio::test]
async fn verify_reports_a_tampered_row_by_its_key_and_exits_with_1() {
    let serving = serving_thirty_tenants().await;
    let id = Uuid::from_u128(3);
    let tamper = format!("UPDATE read_model.tenant_directory_v3_1 SET plan = 'free' WHERE id = '{id}'");
    serving.db.owner.get().await.unwrap().batch_execute(&tamper).await.unwrap();
    let (code, text) = text(&serving.replay(&["verify", "tenant_directory", "role_directory"]).await);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("tenant_directory: DIFFERENT") && text.contains(&id.to_string()), "{text}");
    assert!(text.contains("role_directory: no difference"), "{text}");
    assert!(!text.contains("Tenant 3"), "a row is named by its key, never by what else it holds");
    // A rebuild says the same and swaps nothing, unless that is accepted.
    let (code, text_of) = self::text(&serving.replay(&["rebuild", "tenant_directory"]).await);
    assert!(code == Some(1) && text_of.contains("nothing was swapped"), "{text_of}");
    let accepted = ["rebuild", "tenant_directory", "--accept-differences"];
    let (code, text_of) = self::text(&serving.replay(&accepted).await);
    assert!(
        code == Some(0) && text_of.contains("rebuilt, continued, generation 2 serves with other rows"),
        "{text_of}"
    );
    assert_eq!(self::text(&serving.replay(&["verify"]).await).0, Some(0));
}

#[tokio::test]
async fn rebuild_all_while_commands_come_in_and_roll_one_back() {
    let serving = serving_thirty_tenants().await;
    let rebuilding = serving.replay(&["rebuild", "--all", "--batch", "10"]);
    let writing = async {
        for n in 31..=60 {
            serving.dispatch(n, provision(n)).await;
        }
    };
    let (rebuilt, ()) = tokio::join!(rebuilding, writing);
    let (code, text) = text(&rebuilt);
    assert_eq!(code, Some(0), "{text}");
    for projection in projections::all() {
        let swapped =
            format!("{}: rebuilt, generation 2 serves with the same rows as before", projection.name());
        assert!(text.contains(&swapped), "{text}");
    }
    assert!(text.contains("events/s"), "without a terminal the progress is plain lines: {text}");
    serving.settle().await;
    let count = "SELECT count(*) FROM read_model.tenant_directory_v3";
    let rows: i64 = serving.db.server.get().await.unwrap().query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(rows, 60);

    let (code, text) = self::text(&serving.replay(&["rollback", "tenant_directory"]).await);
    assert!(code == Some(0) && text.contains("generation 1 serves"), "{text}");
    serving.dispatch(61, provision(61)).await;
    serving.settle().await;
    let rows: i64 = serving.db.server.get().await.unwrap().query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(rows, 61);
    assert_eq!(self::text(&serving.replay(&["verify"]).await).0, Some(0));
    let (code, text) = self::text(&serving.replay(&["rebuild", "tenant_directory", "--drop-former"]).await);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = self::text(&serving.replay(&["rollback", "tenant_directory"]).await);
    assert!(code == Some(1) && text.contains("no former generation"), "{text}");
}

#[tokio::test]
async fn inspect_prints_events_and_state_up_to_a_sequence_or_a_time() {
    let serving = serving_thirty_tenants().await;
    let stream = format!("tenant/{}", Uuid::from_u128(1));
    let lines = |output: &Output| -> Vec<Value> {
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let all = lines(&serving.replay(&["inspect", &stream]).await);
    assert_eq!(all.len(), 3, "two events and the state");
    assert_eq!(all[0]["event_type"], "tenant.provisioned");
    assert_eq!(all[1]["event_type"], "tenant.suspended");
    assert_eq!((&all[2]["sequence"], &all[2]["state"]["existing"]["suspended"]), (&2.into(), &true.into()));

    let first = lines(&serving.replay(&["inspect", &stream, "--at", "1"]).await);
    assert_eq!((first.len(), &first[1]["state"]["existing"]["suspended"]), (2, &false.into()));
    let when = all[0]["recorded_at"].as_str().unwrap();
    let then = lines(&serving.replay(&["inspect", &stream, "--at", when]).await);
    assert_eq!(then, first);

    let nowhere = format!("tenant/{}", Uuid::from_u128(999));
    let (code, text) = text(&serving.replay(&["inspect", &nowhere]).await);
    assert!(code == Some(1) && text.contains("there is no stream"), "{text}");
}

#[tokio::test]
async fn dead_letters_are_listed_and_retried() {
    let serving = serving_thirty_tenants().await;
    let (code, text) = text(&serving.replay(&["dead-letters"]).await);
    assert!(code == Some(0) && text.contains("nothing is parked"), "{text}");
    // As if the first two events of tenant 30 had not been understood by the binary that ran then.
    let id = Uuid::from_u128(30);
    let park = format!(
        "DELETE FROM read_model.tenant_directory_v3_1 WHERE id = '{id}'; \
         INSERT INTO projection_dead_letter SELECT 'tenant_directory', 3, 1, 'journal', 0, position, aggregate_type, \
         aggregate_id, 'not understood', now() FROM events WHERE aggregate_id = '{id}'"
    );
    serving.db.owner.get().await.unwrap().batch_execute(&park).await.unwrap();
    let (_, text) = self::text(&serving.replay(&["dead-letters"]).await);
    assert!(
        text.contains(&format!("tenant_directory (generation 1): tenant/{id} at journal 0:30")),
        "{text}"
    );
    let (code, text) = self::text(&serving.replay(&["dead-letters", "--retry", "tenant_directory"]).await);
    assert!(code == Some(0) && text.contains("1 events folded, 0 still parked"), "{text}");
    assert_eq!(self::text(&serving.replay(&["verify", "tenant_directory"]).await).0, Some(0));
}

/// CON-COMP-001: nobody folds a forgetting into the tables of a version that no longer runs.
#[tokio::test]
async fn what_other_versions_left_is_listed_and_dropped_unless_they_are_newer() {
    let serving = serving_thirty_tenants().await;
    let (code, text) = text(&serving.replay(&["leftovers"]).await);
    assert!(code == Some(0) && text.contains("nothing is left of other versions"), "{text}");
    let owner = serving.db.owner.get().await.unwrap();
    owner
        .batch_execute(
            "CREATE TABLE read_model.flags_v1_1 (value text); CREATE TABLE read_model.flags_v1_2 (value text); \
             CREATE VIEW read_model.flags_v1 AS SELECT * FROM read_model.flags_v1_2; \
             CREATE TABLE read_model.tenant_directory_v2_1 (name text); \
             INSERT INTO projection_generation VALUES ('flags', 1, 1, 'former'), ('flags', 1, 2, 'serving'), \
             ('tenant_directory', 2, 1, 'serving'); \
             INSERT INTO projection_checkpoint VALUES ('flags', 1, 2, 'journal', 0, 7); \
             CREATE TABLE read_model.role_directory_v99_1 (name text)",
        )
        .await
        .unwrap();
    let count = async |sql: &str| owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let of_old = "SELECT count(*) FROM pg_class WHERE relnamespace = 'read_model'::regnamespace \
                  AND relname IN ('flags_v1_1', 'flags_v1_2', 'flags_v1', 'tenant_directory_v2_1')";

    let (code, text) = self::text(&serving.replay(&["leftovers"]).await);
    assert_eq!(code, Some(1), "{text}");
    for named in ["flags version 1", "tenant_directory version 2", "role_directory version 99"] {
        assert!(text.contains(named), "{named}: {text}");
    }
    let (code, text) = self::text(&serving.replay(&["leftovers", "--drop"]).await);
    assert!(code == Some(1) && text.contains("role_directory_v99 is of a newer version"), "{text}");
    assert_eq!(count(of_old).await, 4, "nothing was dropped");

    owner.batch_execute("DROP TABLE read_model.role_directory_v99_1").await.unwrap();
    let (code, text) = self::text(&serving.replay(&["leftovers", "--drop"]).await);
    assert!(
        code == Some(0) && text.contains("flags version 1") && !text.contains("role_directory"),
        "{text}"
    );
    assert_eq!(count(of_old).await, 0);
    let registered = "SELECT count(*) FROM projection_generation WHERE projection = 'flags' OR version = 2 \
                      AND projection = 'tenant_directory'";
    assert_eq!(count(registered).await, 0);
    assert_eq!(count("SELECT count(*) FROM projection_checkpoint WHERE projection = 'flags'").await, 0);
    assert_eq!(self::text(&serving.replay(&["leftovers"]).await).0, Some(0));
    serving.settle().await;
    assert_eq!(self::text(&serving.replay(&["verify"]).await).0, Some(0), "what is ours is as it was");
}

#[tokio::test]
async fn replay_works_with_the_settings_of_a_server_that_has_a_role_for_each_purpose() {
    let serving = Serving::start().await;
    serving.dispatch(1, provision(1)).await;
    serving.settle().await;
    let mut command = tokio::process::Command::new(replay_binary());
    command
        .args(["rebuild", "tenant_directory"])
        .env("DATABASE_URL", serving.db.server_info.url())
        .env("TENANTRY_OWNER_DATABASE_URL", serving.db.owner_info.url());
    let (code, text) = self::text(&command.output().await.unwrap());
    assert!(code == Some(0) && text.contains("generation 2 serves"), "{text}");
}

#[tokio::test]
async fn wrong_usage_and_a_database_without_a_journal_are_told_apart() {
    let run = |args: &[&str], url: &str| {
        let mut command = std::process::Command::new(replay_binary());
        text(&command.args(args).env("DATABASE_URL", url).output().unwrap())
    };
    let (code, text) = run(&["rebuild", "dragons"], "postgres://localhost/none");
    assert!(code == Some(2) && text.contains("tenant_directory"), "{text}");
    let (code, text) = run(&["verify"], "postgres://user:secret@localhost:1/none");
    assert!(code == Some(1) && !text.contains("secret"), "{text}");
    let (code, text) = run(&["--help"], "");
    assert_eq!(code, Some(0));
    for verb in
        ["rebuild", "rollback", "verify", "inspect", "dead-letters", "TENANTRY_DATA_DIR", "DATABASE_URL"]
    {
        assert!(text.contains(verb), "{verb} is told: {text}");
    }
}
