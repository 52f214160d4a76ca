//! Forgetting, from the request to the last byte on the disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aggregates::tenant::{Tenant, TenantCommand};
use aggregates::user::{User, UserCommand};
use cluster::{Cluster, ConnectInfo, StopMode, find_binaries};
use engine::feed::FeedName;
use gateway::serve::Server;
use gateway::settings::Settings;
use gateway::token::{Grant, TTL_MAX};
use kernel::{Position, PositionToken, ShardId, TenantId};
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::connect;
use crate::engine_postgres::context;
use crate::process::binary;

/// How long anything may take that happens by itself, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What must not be found afterwards. Nothing else holds any of it.
const MAIL: &str = "ottilie.quux@zyxwind.example";
const FIRST: &str = "Ottiliequux";
const LAST: &str = "Grimblewold";
const COMPANY: &str = "Zyxwind Holdings";
const REASON: &str = "Zyxwind owes a fortune";
const AGENT: &str = "quuxbrowser/7.7";
const ALL: &[&str] = &[MAIL, FIRST, LAST, COMPANY, REASON, AGENT, "zyxwind.example"];

/// A server with a PostgreSQL cluster of its own.
struct House {
    server: Server,
    http: reqwest::Client,
}

impl House {
    async fn start(data: &Path) -> Self {
        Self::try_start(data, &[]).await.expect("it starts")
    }

    async fn try_start(data: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let mut flags = vec![
            "--data-dir",
            data.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--database-connections",
            "10",
        ];
        flags.extend(more);
        let server = Server::start(Settings::from_flags(flags).unwrap()).await?;
        Ok(Self { server, http: reqwest::Client::new() })
    }

    fn token(&self, subject: &str) -> String {
        let state = &self.server.state;
        let grant = Grant {
            subject: subject.to_owned(),
            session: state.ids.fresh(),
            token_id: state.ids.fresh(),
            tenant: None::<TenantId>,
            role: Some(Role::Operator),
            scopes: Vec::new(),
            began_at: state.access.position(),
            authenticated_at: state.clock.now(),
            methods: Vec::new(),
            ttl: TTL_MAX,
        };
        state.keys.tokens.sign(grant, state.clock.now()).unwrap().0
    }

    async fn call(&self, method: reqwest::Method, path: &str, by: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("http://{}{path}", self.server.public));
        let request = request.bearer_auth(self.token(by));
        // The browser is a person's; a machine's local user has none.
        let request = if by.starts_with("local:") { request } else { request.header("user-agent", AGENT) };
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or(Value::Null);
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// Waits until every read model holds what is committed by now.
    async fn settled(&self, server: &ConnectInfo) {
        let client = connect(server).await;
        let of = async |sql: &str| PositionToken {
            shard: ShardId(0),
            position: Position(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0).unsigned_abs()),
        };
        let journal = of("SELECT last_position FROM journal_shard WHERE shard = 0").await;
        let audit = of("SELECT last_position FROM ledger_shard WHERE ledger = 'audit'").await;
        let projector = &self.server.state.projector;
        for projection in projector.projections() {
            for feed in projection.feeds() {
                let wanted = if *feed == FeedName::Journal { journal } else { audit };
                projector.wait_for_feed(projection.name(), *feed, wanted, PATIENCE).await.unwrap();
            }
        }
    }
}

/// Somebody and their company, with everything that can be known of them.
async fn settle_in(house: &House) -> (Uuid, Uuid) {
    let body = json!({ "name": COMPANY, "domain": "zyxwind.example", "plan": "pro", "owner_email": MAIL });
    let made = house.call(reqwest::Method::POST, "/api/operator/tenants", "local:1000", body).await;
    let tenant: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/api/operator/tenants/{tenant}");
    let owner = tokio::time::timeout(PATIENCE, async {
        loop {
            let shown = house.http.get(format!("http://{}{path}", house.server.public));
            let shown = shown.bearer_auth(house.token("local:1000")).send().await.unwrap();
            let shown: Value = shown.json().await.unwrap();
            if shown["provisioning_status"] == "completed" {
                return shown["owners"][0].as_str().unwrap().parse::<Uuid>().unwrap();
            }
        }
    });
    let owner = owner.await.expect("provisioning ends");
    let engine = &house.server.state.engine;
    let (first_name, last_name) = (Some(FIRST.parse().unwrap()), Some(LAST.parse().unwrap()));
    let profile = UserCommand::UpdateProfile { first_name, last_name };
    engine.dispatch::<User>(owner, profile, context(None)).await.unwrap();
    // She acted herself too: where from is hers as well.
    let flag = format!("{path}/flags/plan.webhooks");
    house.call(reqwest::Method::PUT, &flag, &owner.to_string(), json!({ "value": true })).await;
    (tenant, owner)
}

async fn forget(house: &House, server: &ConnectInfo, tenant: Uuid, owner: Uuid) {
    let path = format!("/api/operator/users/{owner}");
    house.call(reqwest::Method::DELETE, &path, "local:1000", Value::Null).await;
    let engine = &house.server.state.engine;
    engine
        .dispatch::<Tenant>(tenant, TenantCommand::Suspend { reason: REASON.parse().unwrap() }, context(None))
        .await
        .unwrap();
    engine.dispatch::<Tenant>(tenant, TenantCommand::Purge, context(None)).await.unwrap();
    buried(server, tenant, owner).await;
    house.settled(server).await;
}

/// Waits until both keys are tombstones.
async fn buried(server: &ConnectInfo, tenant: Uuid, owner: Uuid) {
    let client = connect(server).await;
    let sql = "SELECT count(*) FILTER (WHERE wrapped IS NULL) FROM subject_keys WHERE subject IN ($1, $2)";
    let gone = async {
        while client.query_one(sql, &[&tenant, &owner]).await.unwrap().get::<_, i64>(0) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the keys go");
}

/// How many rows of a table or view hold a text.
async fn rows_with(info: &ConnectInfo, table: &str, text: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table} t WHERE position($1::text IN t::text) > 0");
    connect(info).await.query_one(&sql, &[&text]).await.unwrap().get(0)
}

/// The files below a directory that hold a text.
fn files_with(directory: &Path, text: &str, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_with(&path, text, into);
        } else if let Ok(content) = std::fs::read(&path)
            && content.windows(text.len()).any(|window| window == text.as_bytes())
        {
            into.push(path);
        }
    }
}

fn replay(data: &Path, args: &[&str]) {
    let binary = binary("replay");
    let output =
        Command::new(binary).args(args).env("TENANTRY_DATA_DIR", data).env_remove("DATABASE_URL").output();
    let output = output.unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "replay {args:?}: {text}");
}

/// FR-OPS-002, CON-COMP-001, NFR-SEC-002: whoever was forgotten is found nowhere: not in any file, not in a dump.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_person_and_a_purged_tenant_are_found_nowhere_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let house = House::start(data).await;
    let cluster = Cluster::open(data).unwrap().expect("it was made");
    let (owner_info, server_info) = (cluster.owner(), cluster.server());
    let main = cluster.superuser().with_database(&owner_info.database);
    let superuser = connect(&main).await;
    superuser.batch_execute("ALTER SYSTEM SET wal_recycle = off").await.unwrap();
    superuser.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let (tenant, owner) = settle_in(&house).await;
    house.settled(&server_info).await;
    superuser.batch_execute("ANALYZE").await.unwrap();

    // It is there to be found, in what is searched; and in the journal it never stood readable.
    for (table, text) in [
        ("read_model.user_directory_v2", MAIL),
        ("read_model.user_directory_v2", LAST),
        ("read_model.tenant_directory_v3", COMPANY),
        ("read_model.audit_trail_v4", AGENT),
    ] {
        assert!(rows_with(&owner_info, table, text).await > 0, "{text} is in {table}");
    }
    for table in ["events", "aggregate_snapshots", "command_outcomes", "claims", "audit_ledger"] {
        for text in ALL {
            assert_eq!(rows_with(&owner_info, table, text).await, 0, "{text} in {table}");
        }
    }
    let mut found = Vec::new();
    files_with(data, MAIL, &mut found);
    assert!(!found.is_empty(), "the search finds what is there");
    replay(data, &["verify"]);

    forget(&house, &server_info, tenant, owner).await;
    let path = format!("/api/operator/tenants/{tenant}");
    let shown = house.call(reqwest::Method::GET, &path, "local:1000", Value::Null).await;
    assert_eq!((&shown["name"], &shown["domain"]), (&Value::Null, &Value::Null), "{shown}");
    for view in ["user_directory_v2", "tenant_directory_v3", "audit_trail_v4"] {
        for text in [MAIL, FIRST, LAST, COMPANY, REASON] {
            assert_eq!(
                rows_with(&owner_info, &format!("read_model.{view}"), text).await,
                0,
                "{text} in {view}"
            );
        }
    }
    // Memory is asked by deciding on it: her address is free, and she is not there any more.
    let engine = &house.server.state.engine;
    let again = engine.dispatch::<User>(owner, UserCommand::Enable, context(None)).await;
    assert!(again.is_err(), "{again:?}");
    let claim = kernel::Claim::new(aggregates::user::EMAIL_CLAIM, MAIL);
    assert_eq!(engine.claim_holder(&claim).await.unwrap(), None);
    replay(data, &["verify"]);
    house.server.stop().await;

    // The steps of docs/erasure.md: new tables, no statistics of the old ones, no old log.
    replay(data, &["rebuild", "--all", "--drop-former", "--accept-differences"]);
    replay(data, &["verify"]);
    superuser.batch_execute("VACUUM FULL pg_statistic").await.unwrap();
    for _ in 0..2 {
        superuser.batch_execute("SELECT pg_switch_wal()").await.unwrap();
        superuser.batch_execute("CHECKPOINT").await.unwrap();
    }
    let dump = Command::new(find_binaries(None).unwrap().psql().with_file_name("pg_dump"))
        .arg(main.url())
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.contains(&owner.to_string()), "the dump holds the journal");
    drop(superuser);
    cluster.stop(StopMode::Fast).await.unwrap();
    for text in ALL {
        assert!(!dump.contains(text), "{text} is in the dump");
        let mut found = Vec::new();
        files_with(data, text, &mut found);
        assert!(found.is_empty(), "{text} is in {found:?}");
    }
}

/// CON-COMP-001: a backup from before brings nobody back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_forgotten_stays_forgotten_after_an_older_backup_was_restored() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let house = House::start(data).await;
    let (tenant, owner) = settle_in(&house).await;
    let cluster = Cluster::open(data).unwrap().expect("it was made");
    let server_info = cluster.server();
    house.settled(&server_info).await;
    house.server.stop().await;
    let name = server_info.database.clone();
    let superuser = connect(&cluster.superuser()).await;
    let others =
        format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'");
    superuser.batch_execute(&others).await.unwrap();
    cluster.create_database("backup", Some(&name)).await.unwrap();

    let house = House::start(data).await;
    forget(&house, &server_info, tenant, owner).await;
    house.server.stop().await;
    let kept = std::fs::read_to_string(data.join(engine::keyring::TOMBSTONES_FILE)).unwrap();
    assert_eq!(kept.lines().count(), 2, "{kept}");

    // The restore, by somebody who means it.
    superuser.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    superuser.batch_execute(&format!("ALTER DATABASE backup RENAME TO {name}")).await.unwrap();
    assert!(
        rows_with(&cluster.owner(), "read_model.user_directory_v2", MAIL).await > 0,
        "the backup is older"
    );

    let refused = House::try_start(data, &[]).await.err().expect("an older journal is told");
    let refused = format!("{refused:#}");
    let named = refused
        .split("--accept-journal ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("it says how: {refused}"));
    let house = House::try_start(data, &["--accept-journal", named]).await.unwrap();
    // Nothing is waited for: it is so before anybody is served.
    for (view, text) in
        [("user_directory_v2", MAIL), ("user_directory_v2", LAST), ("tenant_directory_v3", COMPANY)]
    {
        assert_eq!(
            rows_with(&cluster.owner(), &format!("read_model.{view}"), text).await,
            0,
            "{text} in {view}"
        );
    }
    let live = "SELECT count(*) FROM subject_keys WHERE subject IN ($1, $2) AND wrapped IS NOT NULL";
    let client = connect(&cluster.owner()).await;
    assert_eq!(client.query_one(live, &[&tenant, &owner]).await.unwrap().get::<_, i64>(0), 0);
    let claim = kernel::Claim::new(aggregates::user::EMAIL_CLAIM, MAIL);
    assert_eq!(house.server.state.engine.claim_holder(&claim).await.unwrap(), None);
    replay(data, &["verify"]);
    house.server.stop().await;
    drop((client, superuser));
    cluster.stop(StopMode::Fast).await.unwrap();
}

/// The key-encryption and master keys are rotated from the command line while a server runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_from_the_command_line_while_a_server_serves() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let house = House::start(data).await;
    let (tenant, _) = settle_in(&house).await;
    let tenantry = binary("tenantry");
    let master = || std::fs::read_to_string(data.join("master.key")).unwrap();
    let before = master();
    for args in [&["--master"][..], &["--data"], &["--data-continue"], &["--tenant", &tenant.to_string()]] {
        let mut rotate = Command::new(&tenantry);
        rotate.args(["keys", "rotate"]).args(args).env("TENANTRY_DATA_DIR", data).env_remove("DATABASE_URL");
        let output = rotate.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_ne!(master(), before);
    assert_eq!(master().lines().count(), 1, "the former key is gone");
    let path = format!("/api/operator/tenants/{tenant}");
    house.call(reqwest::Method::PATCH, &path, "local:1000", json!({ "name": "Zyxwind Beta" })).await;
    house.server.stop().await;
    let house = House::start(data).await;
    let shown = house.call(reqwest::Method::GET, &path, "local:1000", Value::Null).await;
    assert_eq!(shown["name"], "Zyxwind Beta");
    house.server.stop().await;
    replay(data, &["verify"]);
    Cluster::open(data).unwrap().unwrap().stop(StopMode::Fast).await.unwrap();
}
