//! The PostgreSQL server both contenders work on: a private cluster of the benchmark's own, with the settings of a
//! real one, and a fresh database for each round, so that nobody pays for the rounds before.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cluster::{Cluster, ConnectInfo, Options, Progress, StopMode};
use sqlx::Connection;
use tokio_postgres::{Client, NoTls};

/// The migrated database that ours are copies of.
const TEMPLATE: &str = "bench_template";
/// Told with the results. The first three are what durability rests on.
const SETTINGS: &[&str] = &[
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_compression",
    "shared_buffers",
    "max_wal_size",
    "max_connections",
    "data_checksums",
];

pub struct Server {
    cluster: Cluster,
    admin: Client,
    /// Held until the end: two benchmarks at once would measure each other.
    _lock: File,
}

impl Server {
    pub async fn start(data_dir: &Path, tell: impl Fn(&str) + Send + Sync + 'static) -> Result<Self> {
        let options =
            Options { progress: Progress::new(tell), ..Options::default() }.set("max_connections", "300");
        let cluster = Cluster::ensure(data_dir, options)
            .await
            .context("the benchmark's PostgreSQL can't be started")?;
        let path = data_dir.join("bench.lock");
        let lock = File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
        if lock.try_lock().is_err() {
            bail!("another benchmark runs on {}; two at once would measure each other", data_dir.display());
        }
        let admin = connect(&cluster.superuser()).await?;
        let server = Self { cluster, admin, _lock: lock };
        for setting in &SETTINGS[..3] {
            let value = server.setting(setting).await?;
            if value != "on" {
                bail!("{setting} is {value}: what isn't durable is not measured");
            }
        }
        server.cluster.drop_database(TEMPLATE).await?;
        server.cluster.create_database(TEMPLATE, None).await?;
        let to = server.cluster.owner().with_database(TEMPLATE);
        let mut connection = sqlx::PgConnection::connect(&to.url()).await?;
        schemas::migrations::MIGRATOR.run(&mut connection).await?;
        connection.close().await?;
        Ok(server)
    }

    /// A database for one round: migrated for us, empty for the peer. One of the same name is dropped.
    pub async fn fresh_database(&self, name: &str, migrated: bool) -> Result<()> {
        self.cluster.drop_database(name).await?;
        self.cluster.create_database(name, migrated.then_some(TEMPLATE)).await?;
        Ok(())
    }

    pub async fn drop_database(&self, name: &str) -> Result<()> {
        Ok(self.cluster.drop_database(name).await?)
    }

    /// The role the server uses; it owns nothing.
    pub fn as_server(&self, database: &str) -> ConnectInfo {
        self.cluster.server().with_database(database)
    }

    /// The role that owns the tables.
    pub fn as_owner(&self, database: &str) -> ConnectInfo {
        self.cluster.owner().with_database(database)
    }

    /// Writes out all that is dirty, so that a round doesn't pay for the one before it.
    pub async fn checkpoint(&self) -> Result<()> {
        Ok(self.admin.batch_execute("CHECKPOINT").await?)
    }

    /// Bytes of write-ahead log so far.
    pub async fn wal_bytes(&self) -> Result<u64> {
        let row = self.admin.query_one("SELECT (pg_current_wal_lsn() - '0/0')::bigint", &[]).await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    pub fn postmaster_pid(&self) -> Option<i32> {
        self.cluster.postmaster_pid()
    }

    /// The version, and the settings that matter, by name.
    pub async fn description(&self) -> Result<(String, Vec<(String, String)>)> {
        let mut settings = Vec::new();
        for name in SETTINGS {
            settings.push(((*name).to_owned(), self.setting(name).await?));
        }
        Ok((self.setting("server_version").await?, settings))
    }

    async fn setting(&self, name: &str) -> Result<String> {
        Ok(self.admin.query_one("SELECT current_setting($1)", &[&name]).await?.get(0))
    }

    pub async fn stop(self) -> Result<()> {
        drop(self.admin);
        self.cluster.stop(StopMode::Fast).await?;
        Ok(())
    }
}

pub async fn connect(to: &ConnectInfo) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(&to.key_values(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
