//! The PostgreSQL server both contenders work on: a private cluster of the benchmark's own, with the settings of a
//! real one, and a fresh database for each round, so that nobody pays for the rounds before.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cluster::{Cluster, ConnectInfo, Options, Progress, StopMode};
use rand::RngCore;
use rustix::io::Errno;
use rustix::process::Pid;
use sqlx::Connection;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::contender::Shipped;
use crate::cores;
use crate::load::closed;
use crate::work;

/// The migrated database that ours are copies of.
pub const MIGRATED: &str = "bench_migrated";
/// A copy of it that a server as shipped has worked on: its tenants are provisioned, what follows is level.
pub const SETTLED: &str = "bench_settled";
/// How many tenants that one has.
pub const SETTLED_TENANTS: usize = 1000;
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

pub struct Private {
    cluster: Cluster,
    admin: Client,
    /// Of all servers as shipped, so that a copied database opens.
    pub master_key: PathBuf,
    settled: OnceCell<Arc<[Uuid]>>,
    /// Held until the end: two benchmarks at once would measure each other.
    _lock: File,
}

impl Private {
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
        let master_key = master_key(data_dir)?;
        let server = Self { cluster, admin, master_key, settled: OnceCell::new(), _lock: lock };
        for setting in &SETTINGS[..3] {
            let value = server.setting(setting).await?;
            if value != "on" {
                bail!("{setting} is {value}: what isn't durable is not measured");
            }
        }
        server.cluster.drop_database(MIGRATED).await?;
        server.cluster.create_database(MIGRATED, None).await?;
        let to = server.cluster.owner().with_database(MIGRATED);
        let mut connection = sqlx::PgConnection::connect(&to.url()).await?;
        schemas::migrations::MIGRATOR.run(&mut connection).await?;
        connection.close().await?;
        Ok(server)
    }

    /// A new database, empty or a copy. One of the same name is dropped.
    pub async fn fresh_database(&self, name: &str, copy_of: Option<&str>) -> Result<()> {
        self.cluster.drop_database(name).await?;
        // What is copied must not be in use, and a server that has ended may have left a connection open.
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        self.admin.execute(sql, &[&copy_of.unwrap_or_default()]).await?;
        self.cluster.create_database(name, copy_of).await?;
        Ok(())
    }

    /// Makes the database of that name, once a run; gives its tenants.
    pub async fn settled(&self) -> Result<Arc<[Uuid]>> {
        let made = self.settled.get_or_try_init(|| async {
            self.fresh_database(SETTLED, Some(MIGRATED)).await?;
            let tenants: Arc<[Uuid]> = work::tenants(SETTLED_TENANTS).into();
            let shipped = Shipped::open(self, SETTLED, &[]).await?;
            closed::provision(&shipped, &tenants).await.context("the tenants can't be provisioned")?;
            shipped.settled(tenants.len()).await?;
            shipped.close().await?;
            anyhow::Ok(tenants)
        });
        made.await.cloned()
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

    /// The role that may make databases.
    pub fn as_superuser(&self) -> ConnectInfo {
        self.cluster.superuser()
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

    pub fn data_dir(&self) -> &Path {
        self.cluster.data_dir()
    }

    pub fn postmaster_pid(&self) -> Option<i32> {
        self.cluster.postmaster_pid()
    }

    /// Keeps all its processes to some cores, and those it starts from now on.
    pub fn keep_to(&self, cores: &[usize]) -> Result<()> {
        let postmaster = self.postmaster_pid().context("PostgreSQL isn't running")?;
        for process in
            std::fs::read_dir("/proc").context("the system doesn't tell which processes there are")?
        {
            let Ok(pid) = process?.file_name().to_string_lossy().parse::<i32>() else { continue };
            // One that has ended by now needs no core.
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            // Behind the name, which may hold anything: state and parent.
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if pid != postmaster && parent.and_then(|pid| pid.parse().ok()) != Some(postmaster) {
                continue;
            }
            match cores::keep_to(Pid::from_raw(pid), cores) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error).context("PostgreSQL can't be kept to a core"),
            }
        }
        Ok(())
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

/// Made at the first run, readable by its owner only.
fn master_key(data_dir: &Path) -> Result<PathBuf> {
    let path = data_dir.join("bench-master.key");
    if !path.exists() {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        file.write_all(hex.as_bytes())?;
    }
    Ok(path)
}
