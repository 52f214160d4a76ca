//! The database: the private cluster or a given server; as its owner for migrations, as the server's role for the rest.

use std::time::Duration;

use anyhow::{Context, bail};
use cluster::{Cluster, Options};
use deadpool_postgres::{Object, Pool, PoolError};
use sqlx::Connection as _;
use sqlx::migrate::Migrate as _;
use tokio_postgres::{Client, Config};

use crate::settings::Store;

/// The role that the server works as; it owns nothing.
const SERVER_ROLE: &str = "tenantry_server";
/// The first pause between two attempts to connect; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long one attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Two ways to one database.
#[derive(Clone, Debug)]
pub struct Database {
    owner_url: String,
    owner: Config,
    server: Config,
    /// True if `server` takes on the server's role after it connected as somebody else.
    takes_role: bool,
    /// The private cluster, and whether this process started it.
    private: Option<(Cluster, bool)>,
}

impl Database {
    /// Finds the database; starts the private cluster if that is what it is. Connects to nothing yet.
    ///
    /// # Errors
    /// The cluster can't be started, or an address can't be understood.
    pub async fn open(store: &Store) -> anyhow::Result<Self> {
        match store.database_url() {
            Some(url) => Self::given(url, store.owner_database_url()),
            None => {
                let data_dir = store.data_dir();
                let was_running = Cluster::open(&data_dir)?.is_some_and(|cluster| cluster.is_running());
                let cluster = Cluster::ensure(&data_dir, Options::default())
                    .await
                    .context("the private PostgreSQL can't be started")?;
                let parse = |text: String| text.parse::<Config>().context("the private PostgreSQL's address");
                Ok(Self {
                    owner_url: cluster.owner_url(),
                    owner: parse(cluster.owner().key_values())?,
                    server: parse(cluster.server().key_values())?,
                    takes_role: false,
                    private: Some((cluster, !was_running)),
                })
            }
        }
    }

    fn given(url: &str, owner_url: Option<&str>) -> anyhow::Result<Self> {
        let mut server = address(url, "DATABASE_URL")?;
        let owner = match owner_url {
            Some(owner_url) => address(owner_url, "TENANTRY_OWNER_DATABASE_URL")?,
            None => {
                let owner = server.clone();
                let options = server.get_options().map_or(String::new(), |options| format!("{options} "));
                server.options(format!("{options}-c role={SERVER_ROLE}"));
                owner
            }
        };
        let takes_role = owner_url.is_none();
        Ok(Self { owner_url: owner_url.unwrap_or(url).to_owned(), owner, server, takes_role, private: None })
    }

    /// How the server's role connects.
    pub fn server_config(&self) -> &Config {
        &self.server
    }

    /// Connects as the owner, again and again for a while: the database may start at the same time as we do.
    ///
    /// # Errors
    /// It can't be reached in time, or refuses us.
    pub async fn owner(&self, patience: Duration) -> anyhow::Result<Object> {
        let pool = engine::database::pool(&self.owner, 1)?;
        let given_up_at = tokio::time::Instant::now() + patience;
        let mut pause = PAUSE_MIN;
        loop {
            match pool.get().await {
                Ok(client) => return Ok(client),
                Err(error) if may_pass(&error) && tokio::time::Instant::now() + pause < given_up_at => {
                    tracing::warn!(error = %chain(&error), pause_ms = pause.as_millis() as u64, "the database can't be reached yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => {
                    let place = self.place();
                    return Err(
                        anyhow::Error::new(error).context(format!("the database {place} can't be reached"))
                    );
                }
            }
        }
    }

    /// Brings the schema up to date, as its owner. A newer schema is left as it is: the previous binary runs on it.
    ///
    /// # Errors
    /// A migration was changed after it ran, or failed; the server's role can't be had.
    pub async fn migrate(&self, owner: &mut Client) -> anyhow::Result<()> {
        let mut connection = self.sqlx().await?;
        let migrator = forward();
        migrator.run(&mut connection).await.context("the schema can't be brought up to date")?;
        connection.close().await?;
        if self.takes_role {
            self.grant_role(owner).await?;
        }
        let projections = projections::all();
        engine::projection::ensure_generations(owner, projections.iter().map(AsRef::as_ref))
            .await
            .context("the tables of the read models can't be made")
    }

    async fn grant_role(&self, owner: &Client) -> anyhow::Result<()> {
        let row =
            owner.query_one("SELECT pg_has_role(current_user, $1::text, 'MEMBER')", &[&SERVER_ROLE]).await?;
        if row.get(0) {
            return Ok(());
        }
        let granted = owner.batch_execute(&format!("GRANT {SERVER_ROLE} TO CURRENT_USER")).await;
        granted.with_context(|| {
            let user = self.owner.get_user().unwrap_or("the role of DATABASE_URL");
            format!("{user} may not become {SERVER_ROLE}: let an administrator run `GRANT {SERVER_ROLE} TO \"{user}\"`")
        })
    }

    /// Refuses a schema that this binary can't work on.
    ///
    /// # Errors
    /// A migration is missing, was changed, or broke off.
    pub async fn check(&self) -> anyhow::Result<()> {
        let mut connection = self.sqlx().await?;
        if !is_migrated(&mut connection).await? {
            bail!("the database has no schema yet; run `tenantry serve`, or `tenantry migrate up`");
        }
        if let Some(version) = connection.dirty_version().await? {
            bail!("migration {version} broke off in the middle; mend the schema first");
        }
        let applied = connection.list_applied_migrations().await?;
        for known in
            schemas::migrations::MIGRATOR.iter().filter(|known| !known.migration_type.is_down_migration())
        {
            match applied.iter().find(|applied| applied.version == known.version) {
                None => bail!(
                    "the schema lacks migration {} ({}); run `tenantry migrate up`",
                    known.version,
                    known.description
                ),
                Some(applied) if applied.checksum != known.checksum => bail!(
                    "migration {} ({}) was changed after it ran here: this binary is not for this database",
                    known.version,
                    known.description
                ),
                Some(_) => {}
            }
        }
        connection.close().await?;
        Ok(())
    }

    /// A connection of the owner for the migration tool.
    ///
    /// # Errors
    /// It can't be reached.
    pub async fn sqlx(&self) -> anyhow::Result<sqlx::PgConnection> {
        sqlx::PgConnection::connect(&self.owner_url)
            .await
            .context("the database can't be reached for migrating")
    }

    /// A pool for the server's role, for what works in the background.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn pool(&self, connections_max: usize) -> anyhow::Result<Pool> {
        let mut config = self.server.clone();
        config.application_name("tenantry").connect_timeout(CONNECT_TIMEOUT);
        engine::database::working_pool(&config, connections_max)
            .context("the pool of connections can't be made")
    }

    /// Another one, for callers' queries.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn query_pool(&self, connections_max: usize) -> anyhow::Result<Pool> {
        let mut config = self.server.clone();
        config.application_name("tenantry queries").connect_timeout(CONNECT_TIMEOUT);
        engine::database::query_pool(&config, connections_max)
            .context("the pool of connections can't be made")
    }

    /// The private cluster, if that is what it is.
    pub fn private(&self) -> Option<&Cluster> {
        self.private.as_ref().map(|(cluster, _)| cluster)
    }

    /// Stops the private cluster if this process started it: for commands that come and go.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn leave_as_found(&self) -> anyhow::Result<()> {
        if let Some((cluster, true)) = &self.private {
            cluster.stop(cluster::StopMode::Fast).await?;
        }
        Ok(())
    }

    /// Where it is, for people; without the password.
    pub fn place(&self) -> String {
        match &self.private {
            Some((cluster, _)) => format!("private, in {}", cluster.pgdata().display()),
            None => {
                let host = match self.server.get_hosts().first() {
                    Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
                    Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
                    None => "localhost".to_owned(),
                };
                format!("{} on {host}", self.server.get_dbname().unwrap_or("postgres"))
            }
        }
    }
}

/// All migrations; what a newer binary added is let be (CC-OPS-001).
pub fn forward() -> sqlx::migrate::Migrator {
    let known = &schemas::migrations::MIGRATOR;
    sqlx::migrate::Migrator {
        migrations: known.migrations.clone(),
        ignore_missing: true,
        locking: true,
        no_tx: false,
    }
}

/// True if migrations ever ran.
///
/// # Errors
/// The database can't be read.
pub async fn is_migrated(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(connection).await
}

/// True if keys were wrapped before: then the master key they were wrapped with must be had.
///
/// # Errors
/// The database can't be read.
pub async fn has_keys(pool: &Pool) -> anyhow::Result<bool> {
    let client = pool.get().await.context("no connection as the server's role")?;
    Ok(client.query_one("SELECT EXISTS (SELECT FROM wrapped_keys)", &[]).await?.get(0))
}

/// Refuses to serve as a role that could rewrite history (REQUIREMENTS §1, rule 3).
///
/// # Errors
/// It could, or the database can't be read.
pub async fn check_role(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await.context("no connection as the server's role")?;
    let row = client
        .query_one(
            "SELECT current_user::text, rolsuper, has_table_privilege('events', 'UPDATE, DELETE, TRUNCATE') \
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await?;
    let (role, superuser, may_rewrite): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if superuser || may_rewrite {
        bail!(
            "the role {role} could rewrite history, so the server does not work as it: give TENANTRY_OWNER_DATABASE_URL \
             the role that owns the schema, and DATABASE_URL one that is only a member of {SERVER_ROLE}"
        );
    }
    Ok(())
}

fn address(url: &str, name: &str) -> anyhow::Result<Config> {
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        // The text of the error says what, not which value: the URL holds a password.
        anyhow::anyhow!(
            "{name} is no address of a database ({error}); expected postgres://user:password@host/database"
        )
    })?;
    config.connect_timeout(CONNECT_TIMEOUT);
    Ok(config)
}

/// True for what time may heal: nobody listens yet, or the server starts. A wrong password stays wrong.
fn may_pass(error: &PoolError) -> bool {
    let PoolError::Backend(error) = error else { return true };
    error.code().is_none_or(|code| code.code().starts_with("57P") || code.code().starts_with("53"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
