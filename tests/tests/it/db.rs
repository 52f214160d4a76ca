//! A database for each test: a copy of a migrated template in one private cluster, which is left running.

use std::sync::atomic::{AtomicU32, Ordering};

use cluster::{Cluster, ConnectInfo};
use deadpool_postgres::Pool;
use sqlx::Connection;
use tokio_postgres::{Client, NoTls};

/// One lock for all test processes, so that the template is made once.
const TEMPLATE_LOCK: i64 = 0x7465_6e61_6e74;

/// A database of one test.
pub struct TestDb {
    /// The schema's owner.
    pub owner: Pool,
    /// The server's role: what a running server may do.
    pub server: Pool,
    pub owner_info: ConnectInfo,
    pub server_info: ConnectInfo,
}

impl TestDb {
    /// A fresh copy of the migrated template, with the serving generation of every read model.
    pub async fn new() -> Self {
        let cluster = Cluster::for_tests().await.expect("the tests' cluster starts");
        let template = template(&cluster).await;
        drop_leftovers(&cluster).await;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name, Some(&template)).await.expect("the template is copied");
        let (owner_info, server_info) =
            (cluster.owner().with_database(&name), cluster.server().with_database(&name));
        Self { owner: pool(&owner_info), server: pool(&server_info), owner_info, server_info }
    }
}

/// A pool of ten connections, as a server has it.
pub fn pool(info: &ConnectInfo) -> Pool {
    let config = info.key_values().parse().expect("the cluster's settings are well-formed");
    engine::database::pool(&config, 10).expect("it needs no connection yet")
}

pub async fn connect(info: &ConnectInfo) -> Client {
    let (client, connection) = tokio_postgres::connect(&info.key_values(), NoTls).await.expect("it connects");
    tokio::spawn(connection);
    client
}

/// The template's name, after making it if its content is new. Named for its content, so that a changed migration or
/// read model gets a template of its own.
async fn template(cluster: &Cluster) -> String {
    let name = format!("template_{:016x}", content());
    let admin = connect(&cluster.superuser()).await;
    admin.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]).await.expect("the lock is had");
    let found =
        admin.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await.expect("it answers");
    if found.is_none() {
        let making = format!("{name}_making");
        cluster.drop_database(&making).await.expect("what a killed test left is dropped");
        cluster.create_database(&making, None).await.expect("an empty database is made");
        migrate(&cluster.owner().with_database(&making)).await;
        let rename = format!("ALTER DATABASE {making} RENAME TO {name}");
        // The migration's own connections take a moment to end.
        let mut attempts = 0;
        while let Err(error) = admin.batch_execute(&rename).await {
            attempts += 1;
            assert!(attempts < 1_000, "the template can't be renamed: {error}");
            tokio::task::yield_now().await;
        }
    }
    admin.execute("SELECT pg_advisory_unlock($1)", &[&TEMPLATE_LOCK]).await.expect("the lock is given up");
    name
}

async fn migrate(owner: &ConnectInfo) {
    let mut connection = sqlx::PgConnection::connect(&owner.url()).await.expect("it connects");
    schemas::migrations::MIGRATOR.run(&mut connection).await.expect("the migrations run");
    connection.close().await.expect("it closes");
    let mut client = connect(owner).await;
    let projections = projections::all();
    engine::projection::ensure_generations(&mut client, projections.iter().map(AsRef::as_ref))
        .await
        .expect("every read model has tables");
}

/// A hash of everything the template is made of (FNV-1a).
fn content() -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for migration in schemas::migrations::MIGRATOR.iter() {
        add(&migration.checksum);
    }
    for projection in projections::all() {
        add(projection.name().as_bytes());
        add(&projection.version().to_le_bytes());
        add(projection.sql().as_bytes());
    }
    hash
}

/// Drops the databases of test processes that are gone.
async fn drop_leftovers(cluster: &Cluster) {
    let admin = connect(&cluster.superuser()).await;
    let rows = admin.query("SELECT datname FROM pg_database WHERE datname LIKE 't\\_%'", &[]).await;
    for row in rows.expect("it answers") {
        let name: String = row.get(0);
        let process = name.split('_').nth(1).unwrap_or_default();
        if !std::path::Path::new("/proc").join(process).exists() {
            // Another process may be dropping it too.
            let _ = cluster.drop_database(&name).await;
        }
    }
}
