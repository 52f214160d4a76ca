//! Trouble that stays where it is: what can't be read, can't be reached or can't be written is reported with what to do
//! about it, and is over by itself when its cause is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aggregates::tenant::{Tenant, TenantCommand};
use cluster::Cluster;
use engine::clock::{SystemClock, SystemIds};
use engine::feed::Live;
use engine::journal::PgJournal;
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use kernel::{ShardId, Upcasted, Upcaster};
use reqwest::StatusCode;
use schemas::values::{FlagValue, Role};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp};
use crate::db::{connect, pool};
use crate::engine_postgres::context;
use crate::invariants;
use crate::server_process::{ServerProcess, eventually};

/// A component of the platform, as an operator sees it.
async fn component(app: &TestApp, name: &str) -> Value {
    let operator = app.token(Role::Operator, None);
    let health = app.get("/api/operator/health").by(&operator).send().await.is(StatusCode::OK);
    let components = health.body["components"].as_array().expect("components").clone();
    components.into_iter().find(|component| component["name"] == name).expect("it is told of")
}

/// Waits until a component says this, and gives what it advises.
async fn says(app: &TestApp, name: &str, detail: &str) -> String {
    eventually(&format!("{name} is {detail}"), async || {
        let component = component(app, name).await;
        (component["detail"] == detail).then(|| component["hint"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

async fn ready(app: &TestApp) -> StatusCode {
    app.http.get(format!("http://{}/ready", app.server.admin)).send().await.expect("it answers").status()
}

async fn set_flag(app: &TestApp, tenant: Uuid, value: u64) -> Answer {
    let operator = app.token(Role::Operator, None);
    let path = format!("/api/operator/tenants/{tenant}/flags/trial");
    app.put(&path, json!({ "value": value })).by(&operator).send().await
}

/// REQUIREMENTS §1, rule 7
#[tokio::test]
async fn an_aggregate_that_cannot_be_read_is_set_aside_and_its_neighbours_work_on() {
    let app = TestApp::new().await;
    let (poisoned, neighbour) = (app.provision("poisoned").await, app.provision("neighbour").await);
    let owner = connect(&app.db.owner_info).await;
    let last = "SELECT aggregate_type, aggregate_id, sequence + 1, 'tenant.renamed', '1', '{\"Renamed\": {}}'::json, \
                '{\"action\": \"tenants:rename\", \"actor_kind\": \"operator\"}'::json, shard, p.last_position, tenant, gen_random_uuid(), 0, actor, role, correlation_id, \
                causation_id, recorded_at FROM events, p WHERE aggregate_id = $1 ORDER BY sequence DESC LIMIT 1";
    let advance = "UPDATE journal_shard SET last_position = last_position + 1 RETURNING last_position";
    let poison = format!("WITH p AS ({advance}) INSERT INTO events {last}");
    owner.execute(&poison, &[&poisoned.id.to_string()]).await.expect("the owner may insert");

    let answer = set_flag(&app, poisoned.id, 1).await.refused(503, "ERR-SYS-503", "quarantined");
    assert!(answer.header("retry-after").parse::<u64>().expect("seconds") >= 1);
    assert!(
        says(&app, "aggregates", "quarantined")
            .await
            .contains(&format!("replay inspect tenant/{}", poisoned.id))
    );
    assert_eq!(app.metric("tenantry_aggregates_in_quarantine").await, 1.0);
    // What its access is nobody knows: it is closed, and nothing else is.
    assert!(says(&app, "access", "closed_streams").await.contains("deploy"));
    eventually("what is parked is told of, and how to mend it", async || {
        let hint = says(&app, "projections", "parked").await;
        hint.contains("`replay dead-letters --retry tenant_directory`").then_some(())
    })
    .await;
    let member = |tenant: &crate::app::TestTenant| app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    let own = app.get("/api/v1/tenants/me").by(&member(&poisoned)).send().await;
    own.refused(503, "ERR-SYS-503", "quarantined");
    app.get("/api/v1/tenants/me").by(&member(&neighbour)).send().await.is(StatusCode::OK);
    let changed = set_flag(&app, neighbour.id, 1).await.is(StatusCode::OK);
    let operator = app.token(Role::Operator, None);
    let path = format!("/api/operator/tenants/{}", neighbour.id);
    app.get(&path).after(&changed).by(&operator).send().await.is(StatusCode::OK);
    app.provision("newcomer").await;
    assert_eq!(ready(&app).await, StatusCode::OK);

    // A release that knows the event reads on as if nothing had been.
    let data_dir = app.data_dir();
    app.server.stop().await;
    let mended = Upcaster { event_type: "tenant.renamed", from_version: "1", upcast: renamed };
    let server = &app.db.server_info;
    let codec = invariants::codec_with(server, &data_dir, vec![mended]).await;
    let journal = PgJournal::new(server.key_values().parse().unwrap(), pool(server), codec).unwrap();
    let config = EngineConfig::new(WriterConfig::new(ShardId(0), Uuid::from_u128(1)));
    let live = Live::default();
    let engine = Engine::start(config, Arc::new(journal), live, Arc::new(SystemClock), Arc::new(SystemIds))
        .await
        .unwrap();
    engine.owned().await;
    let command = TenantCommand::SetFlag {
        key: "trial".parse().unwrap(),
        value: FlagValue::from_json(json!(1)).unwrap(),
    };
    let receipt = engine.dispatch::<Tenant>(poisoned.id, command, context(None)).await.unwrap();
    assert!(receipt.changed());
    assert!(engine.health().quarantined.is_empty());
    engine.drain().await;
}

fn renamed(_: Value) -> Vec<Upcasted> {
    let payload = json!({"AccessModeSet": {"mode": "active"}});
    vec![Upcasted { event_type: "tenant.access_mode_set", event_version: "1", payload }]
}

#[tokio::test]
async fn a_server_without_connections_refuses_says_why_and_goes_on_when_there_are_some() {
    let app = TestApp::new().await;
    let tenant = app.provision("acme").await;
    app.settled().await;
    let (name, before) = (app.db.server_info.database.clone(), app.events().await);
    let admin = connect(&Cluster::for_tests().await.unwrap().superuser()).await;
    let limit = async |limit: i32| {
        let sql = format!("ALTER DATABASE {name} CONNECTION LIMIT {limit}");
        admin.batch_execute(&sql).await.expect("the superuser may");
    };
    // All of them are taken, and those that were ours break.
    limit(0).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
    admin.execute(end, &[&name]).await.expect("the superuser may");

    let hint = says(&app, "database", "too_many_connections").await;
    assert!(hint.contains("max_connections"), "{hint}");
    assert_eq!(ready(&app).await, StatusCode::SERVICE_UNAVAILABLE);
    let refused = set_flag(&app, tenant.id, 1).await.is(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.body["code"], "ERR-SYS-503");
    assert!(refused.header("retry-after").parse::<u64>().expect("seconds") >= 1);

    limit(-1).await;
    let accepted = eventually("commands are carried out again", async || {
        let answer = set_flag(&app, tenant.id, 2).await;
        (answer.status == StatusCode::OK).then_some(answer)
    })
    .await;
    says(&app, "database", "reachable").await;
    eventually("it is ready", async || (ready(&app).await == StatusCode::OK).then_some(())).await;
    let operator = app.token(Role::Operator, None);
    let path = format!("/api/operator/tenants/{}/flags/trial", tenant.id);
    eventually("it is read again", async || {
        let answer = app.get(&path).after(&accepted).by(&operator).send().await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(app.events().await, before + 1, "what was refused left nothing");
}

#[tokio::test]
async fn a_projection_that_is_held_up_holds_up_nobody_else() {
    let app = TestApp::new().await;
    let tenant = app.provision("acme").await;
    app.settled().await;
    let mut holder = connect(&app.db.owner_info).await;
    let find = "SELECT tablename FROM pg_tables WHERE schemaname = 'read_model' AND tablename LIKE 'tenant\\_directory\\_v%'";
    let table: String = holder.query_one(find, &[]).await.expect("one generation").get(0);
    let hold = holder.transaction().await.unwrap();
    hold.batch_execute(&format!("LOCK TABLE read_model.{table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();

    let operator = app.token(Role::Operator, None);
    let path = format!("/api/operator/tenants/{}", tenant.id);
    let suspended =
        app.post(&format!("{path}/suspend"), json!({"reason": "unpaid"})).by(&operator).send().await;
    let suspended = suspended.is(StatusCode::OK);
    // Reads of it answer in bounded time, those of others as ever.
    app.get(&path).after(&suspended).by(&operator).send().await.refused(503, "ERR-SYS-503", "not_there_yet");
    app.get(&path).by(&operator).send().await.refused(503, "ERR-SYS-503", "database");
    let developer = app.token(Role::Developer, None);
    let applications = app.get("/api/developer/applications").after(&suspended).by(&developer).send().await;
    applications.is(StatusCode::OK);
    let hint = says(&app, "projections", "retrying").await;
    assert!(hint.contains("tenant_directory is") && hint.contains("pg_locks"), "{hint}");
    let lag = r#"tenantry_projection_lag_events{projection="tenant_directory",feed="journal",shard="0"}"#;
    let behind = app.metric(lag).await;
    assert!(behind >= 1.0, "{behind}");
    set_flag(&app, tenant.id, 1).await.is(StatusCode::OK);
    eventually("the lag grows", async || (app.metric(lag).await > behind).then_some(())).await;
    assert_eq!(ready(&app).await, StatusCode::OK);

    hold.rollback().await.unwrap();
    says(&app, "projections", "following").await;
    let read = app.get(&path).after(&suspended).by(&operator).send().await.is(StatusCode::OK);
    assert_eq!(read.body["status"], "suspended");
    eventually("the lag is gone", async || (app.metric(lag).await == 0.0).then_some(())).await;
}

/// A file system of bounded size; it goes with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, loudly, where nothing may be mounted.
    fn mount(at: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=192m,mode=711", "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("SKIPPED: a full disk needs a small one, and none can be mounted here: {other:?}");
                None
            }
        }
    }

    /// Leaves no byte.
    fn fill(&self) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        let mut piece = vec![1; 1 << 20];
        while !piece.is_empty() {
            if ballast.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

/// REQUIREMENTS §1, rule 7. Also when PostgreSQL dies of it: the server outlives both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_commands_loses_none_and_is_over_when_there_is_room() {
    let data = tempfile::tempdir().unwrap();
    let place = data.path().to_owned();
    let Some(disk) = SmallDisk::mount(&place) else { return };
    let server = ServerProcess::start(data, &[]).await;
    let cluster = Cluster::open(&place).unwrap().expect("its private PostgreSQL runs");
    let tenant = server.provision("acme").await;
    let http = reqwest::Client::new();
    let (mut value, mut acknowledged) = (0, 0);
    let mut set = async || {
        value += 1;
        let answer = server.set_flag(&http, tenant, "trial", value).await.expect("the server lives");
        let status = answer.status();
        if status == StatusCode::OK {
            acknowledged += 1;
        } else {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
            let problem: Value = answer.json().await.unwrap();
            // Else nobody could say what is to be found in the journal.
            assert_ne!(problem["detail"], "outcome_unknown");
        }
        status
    };
    assert_eq!(set().await, StatusCode::OK);

    disk.fill();
    eventually("commands are refused", async || (set().await != StatusCode::OK).then_some(())).await;
    let hint = eventually("the disk is told of", async || {
        let journal = server.component("journal").await?;
        (journal["detail"] == "disk_full").then(|| journal["hint"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(hint.contains("make room"), "{hint}");
    disk.empty();
    eventually("commands are carried out again", async || (set().await == StatusCode::OK).then_some(()))
        .await;

    // PostgreSQL dies while there is no room.
    disk.fill();
    cluster.kill_hard().await.unwrap();
    disk.empty();
    eventually("PostgreSQL runs again", async || cluster.is_running().then_some(())).await;
    eventually("it is ready", async || server.ready().await.filter(|(status, _)| *status == StatusCode::OK))
        .await;
    eventually("commands are carried out again", async || (set().await == StatusCode::OK).then_some(()))
        .await;

    let database = connect(&cluster.owner()).await;
    let sql = "SELECT count(*) FILTER (WHERE event_type = 'tenant.flag_set' AND payload::text LIKE '%trial%'), count(*), \
               max(position), (SELECT last_position FROM journal_shard WHERE shard = 0) FROM events";
    let row = database.query_one(sql, &[]).await.unwrap();
    let [flags, count, last, counter] = [0, 1, 2, 3].map(|n| row.get::<_, i64>(n));
    assert_eq!((count, count), (last, counter), "nothing half-written");
    assert_eq!(flags, acknowledged, "each acknowledged once, none refused and written");
    drop((database, server));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_postgres_that_dies_is_started_again_and_one_that_was_stopped_is_not() {
    let server = ServerProcess::start(tempfile::tempdir().unwrap(), &[]).await;
    let cluster = Cluster::open(server.data()).unwrap().expect("its private PostgreSQL runs");
    let tenant = server.provision("acme").await;
    cluster.kill_hard().await.unwrap();
    let http = reqwest::Client::new();
    eventually("commands are carried out again", async || {
        let answer = server.set_flag(&http, tenant, "trial", 1).await.expect("the server lives");
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
    cluster.stop(cluster::StopMode::Fast).await.unwrap();
    eventually("the database is missed", async || {
        let (status, _) = server.ready().await?;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    // Looked for several times by now.
    assert!(!cluster.is_running());
}
