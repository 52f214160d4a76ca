//! How a server starts, gives its first token, and stops.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use gateway::data_dir::Announcement;
use gateway::local::{self, AskError, TokenWish};
use gateway::serve::Server;
use gateway::settings::Settings;
use kernel::TenantId;
use reqwest::StatusCode;
use schemas::values::Role;
use uuid::Uuid;

use crate::app::TestApp;
use crate::db::TestDb;

fn settings(data_dir: &Path, server: &str, owner: &str) -> Settings {
    let data_dir = data_dir.to_str().expect("the path is text");
    let flags = ["--data-dir", data_dir, "--database-url", server, "--owner-database-url", owner];
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--database-connections", "8"];
    Settings::from_flags(flags.into_iter().chain(listen)).expect("the settings are right")
}

async fn refused(settings: Settings) -> String {
    match Server::start(settings).await {
        Ok(_) => panic!("the server started"),
        Err(error) => format!("{error:#}"),
    }
}

fn wish(role: Role, tenant: Option<Uuid>) -> TokenWish {
    TokenWish { role, tenant: tenant.map(TenantId), person: None, ttl_s: 60 }
}

/// FR-LOG-003: it is how the first operator gets in, and the audit trail knows.
#[tokio::test]
async fn the_local_socket_gives_a_token_that_opens_and_is_audited() {
    let app = TestApp::new().await;
    let tenant = app.provision("acme").await;
    let data_dir = app.server.data_dir().to_owned();
    let socket = data_dir.join("control/tenantry.sock");
    assert_eq!(std::fs::metadata(&socket).expect("it is there").mode() & 0o777, 0o600);

    let operator = local::ask(&data_dir, &wish(Role::Operator, None)).await.expect("a token is issued");
    app.get("/api/operator/tenants").by(&operator.token).send().await.is(StatusCode::OK);
    let owner = local::ask(&data_dir, &wish(Role::Owner, Some(tenant.id))).await.expect("a token is issued");
    app.get("/api/v1/tenants/me").by(&owner.token).send().await.is(StatusCode::OK);

    app.settled().await;
    let client = app.db.server.get().await.expect("a connection");
    let sql = "SELECT count(*) FROM read_model.audit_trail_v4 WHERE action = 'tokens:issue' AND outcome = 'success'";
    assert_eq!(client.query_one(sql, &[]).await.expect("it answers").get::<_, i64>(0), 2);

    let unknown = local::ask(&data_dir, &wish(Role::Owner, Some(Uuid::from_u128(7)))).await;
    assert!(matches!(unknown, Err(AskError::Refused(why)) if why.contains("no tenant")));
    app.server.stop().await;
    assert!(!socket.exists());
    assert!(matches!(local::ask(&data_dir, &wish(Role::Operator, None)).await, Err(AskError::NoServer)));
}

#[tokio::test]
async fn a_data_directory_serves_one_server_and_one_journal() {
    let (db, other, dir) =
        (TestDb::new().await, TestDb::new().await, tempfile::tempdir().expect("a directory"));
    let on = |db: &TestDb| settings(dir.path(), &db.server_info.url(), &db.owner_info.url());
    let server = Server::start(on(&db)).await.expect("it starts");
    let told = Announcement::read(dir.path()).expect("it says how it is reached");
    assert_eq!(told.url, format!("http://{}", server.public));
    assert!(refused(on(&db)).await.contains("another process uses the data directory"));
    server.stop().await;

    // Both are copies of one template, which real deployments are not.
    let owner = other.owner.get().await.expect("a connection");
    let rename = "UPDATE journal_identity SET journal_id = gen_random_uuid()";
    owner.execute(rename, &[]).await.expect("it answers");
    assert!(refused(on(&other)).await.contains("another journal"));
    Server::start(on(&db)).await.expect("it starts again").stop().await;
}

#[tokio::test]
async fn a_lost_master_key_is_told_and_not_replaced() {
    let (db, dir) = (TestDb::new().await, tempfile::tempdir().expect("a directory"));
    let on = || settings(dir.path(), &db.server_info.url(), &db.owner_info.url());
    Server::start(on()).await.expect("it starts").stop().await;
    let key = dir.path().join("master.key");
    std::fs::remove_file(&key).expect("it was there");
    assert!(refused(on()).await.contains("is gone"));
    assert!(!key.exists());
}

/// REQUIREMENTS §1, rule 3
#[tokio::test]
async fn a_role_that_could_rewrite_history_does_not_serve() {
    let (db, dir) = (TestDb::new().await, tempfile::tempdir().expect("a directory"));
    let owner = db.owner_info.url();
    assert!(refused(settings(dir.path(), &owner, &owner)).await.contains("could rewrite history"));
}

/// NFR-OPS-003
#[tokio::test]
async fn a_second_node_waits_for_the_shard_and_takes_over() {
    let (db, one, two) = (
        TestDb::new().await,
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let on = |dir: &Path| settings(dir, &db.server_info.url(), &db.owner_info.url());
    let first = Server::start(on(one.path())).await.expect("it starts");
    // The master key is the deployment's: every node has the same one.
    std::fs::copy(one.path().join("master.key"), two.path().join("master.key")).expect("it is copied");
    assert!(first.state.engine.health().writes);
    let (second, ()) = futures::join!(Server::start(on(two.path())), first.stop());
    let second = second.expect("it starts");
    second.state.engine.owned().await;
    assert!(second.state.engine.health().writes);
    second.stop().await;
}
