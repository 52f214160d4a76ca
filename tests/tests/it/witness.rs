//! A restored older backup, or another database behind the same address, is recognised at start and not served.

use std::path::Path;

use cluster::Cluster;
use engine::witness::Sighting;
use kernel::{Position, ShardId};
use reqwest::StatusCode;
use serde_json::json;

use crate::db::{TestDb, connect};
use crate::feeds::eventually;
use crate::process::{Node, Server};

const SHARD: ShardId = ShardId(0);

/// A node with its data in `data`, on a database of the tests' cluster.
fn node(cluster: &Cluster, data: &Path, database: &str) -> Node {
    Node::new(data)
        .with("DATABASE_URL", cluster.server().with_database(database).url())
        .with("TENANTRY_OWNER_DATABASE_URL", cluster.owner().with_database(database).url())
}

/// Provisions a tenant; returns how far the journal is acknowledged.
async fn provision(server: &Server, name: &str) -> Position {
    let body = json!({
        "name": name, "domain": format!("{name}.example"), "plan": "pro", "owner_email": format!("o@{name}.example"),
    });
    let answer = reqwest::Client::new()
        .post(format!("{}/api/operator/tenants", server.url()))
        .bearer_auth(server.node.token())
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let token: kernel::PositionToken = answer.headers()["x-position"].to_str().unwrap().parse().unwrap();
    token.position
}

fn witnessed(data: &Path) -> Sighting {
    serde_json::from_str(&std::fs::read_to_string(data.join("journal.witness")).unwrap()).unwrap()
}

/// The journal's epoch: it rises when a server takes the shard.
async fn epoch(cluster: &Cluster, database: &str) -> i64 {
    let client = connect(&cluster.owner().with_database(database)).await;
    client.query_one("SELECT epoch FROM journal_shard WHERE shard = 0", &[]).await.unwrap().get(0)
}

async fn copy(cluster: &Cluster, from: &str, to: &str) {
    cluster.drop_database(to).await.unwrap();
    cluster.create_database(to, Some(from)).await.unwrap();
}

/// REQUIREMENTS §1, rule 7: what was acknowledged is not taken back in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_journal_is_refused_until_it_is_accepted_on_purpose() {
    let (cluster, db) = (Cluster::for_tests().await.unwrap(), TestDb::new().await);
    let database = db.server_info.database.clone();
    let backup = format!("{database}_backup");
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let ours = node(&cluster, data, &database);
    let server = ours.start().await;
    provision(&server, "before").await;
    server.stop();
    copy(&cluster, &database, &backup).await;

    let mut server = ours.start().await;
    let acknowledged = provision(&server, "after").await;
    eventually("the witness follows", async || witnessed(data).shards[&SHARD].position >= acknowledged).await;
    // Not drained: what the witness knows, it knows by itself.
    server.kill();
    let sighting = witnessed(data);
    let before = epoch(&cluster, &backup).await;
    let (status, said) = node(&cluster, data, &backup).refused().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("an older backup was restored"), "{said}");
    let way_out = format!("tenantry serve --accept-journal {sighting}");
    assert!(said.contains(&way_out), "it says what to do: {said}");
    assert_eq!(epoch(&cluster, &backup).await, before, "nothing was served");
    assert_eq!(witnessed(data), sighting, "nor is it forgotten what was seen");

    // The true one is served as ever.
    let server = ours.start().await;
    server.stop();
    let sighting = witnessed(data);
    let accepting = node(&cluster, data, &backup).with("TENANTRY_ACCEPT_JOURNAL", sighting.to_string());
    accepting.start().await.stop();
    let client = connect(&cluster.owner().with_database(&backup)).await;
    let last = client.query_one("SELECT last_position FROM journal_shard WHERE shard = 0", &[]).await;
    let last = Position(last.unwrap().get::<_, i64>(0).unsigned_abs());
    assert_eq!(witnessed(data).shards[&SHARD].position, last, "the copy is what counts from now on");
    drop(client);
    node(&cluster, data, &backup).start().await.stop();
    // The same word accepts nothing else.
    let server = accepting.start().await;
    provision(&server, "later").await;
    server.stop();
    // Nor does the history that was given up count as the one that was seen, however far it goes.
    let (status, said) = ours.refused().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("--accept-journal"), "{said}");
    let third = another_journal().await;
    let (status, said) =
        node(&cluster, data, &third).with("TENANTRY_ACCEPT_JOURNAL", sighting.to_string()).refused().await;
    assert_eq!(status.code(), Some(1), "{said}");
    cluster.drop_database(&backup).await.unwrap();
}

/// A migrated database with a journal of its own: copies of one template share theirs, deployments don't.
async fn another_journal() -> String {
    let db = TestDb::new().await;
    let owner = connect(&db.owner_info).await;
    owner.execute("UPDATE journal_identity SET journal_id = gen_random_uuid()", &[]).await.unwrap();
    db.server_info.database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_behind_the_same_address_is_refused_and_left_as_it_was() {
    let (cluster, db) = (Cluster::for_tests().await.unwrap(), TestDb::new().await);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let ours = node(&cluster, data, &db.server_info.database);
    ours.start().await.stop();

    let other = another_journal().await;
    let (status, said) = node(&cluster, data, &other).refused().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another journal") && said.contains("--accept-journal"), "{said}");
    assert_eq!(epoch(&cluster, &other).await, 0, "nothing was served");

    let empty = format!("{}_empty", db.server_info.database);
    cluster.drop_database(&empty).await.unwrap();
    cluster.create_database(&empty, None).await.unwrap();
    let (status, said) = node(&cluster, data, &empty).refused().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("holds no journal"), "{said}");
    let client = connect(&cluster.owner().with_database(&empty)).await;
    let tables =
        client.query_one("SELECT count(*) FROM pg_class WHERE relname = 'events'", &[]).await.unwrap();
    assert_eq!(tables.get::<_, i64>(0), 0, "it is not even migrated");
    drop(client);
    cluster.drop_database(&empty).await.unwrap();
    ours.start().await.stop();
}
