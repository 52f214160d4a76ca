//! Connections to PostgreSQL: pools and TLS, the same for every binary.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ConfigConnectImpl, Connect, Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime,
};
use futures::future::BoxFuture;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long whoever wants a connection waits for one before hearing that there is none.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A database can't be prepared for.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the pool can't be built: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// How long a projection or a writer waits for a lock before it says so and tries again.
const LOCK_MAX: Duration = Duration::from_secs(5);
/// How long a transaction of ours may be silent before PostgreSQL ends it and its locks.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// How long a query waits for a lock: nobody but a swap of generations takes one that it has to wait for.
const QUERY_LOCK_MAX: Duration = Duration::from_secs(1);
/// How long a query may take.
const QUERY_MAX: Duration = Duration::from_secs(10);

/// A pool of at most `connections` for what works in the background: a lock is not waited for without end.
pub fn working_pool(config: &Config, connections: usize) -> Result<Pool, DatabaseError> {
    let bounds = [("lock_timeout", LOCK_MAX), ("idle_in_transaction_session_timeout", SILENT_MAX)];
    pool(&bounded(config, &bounds), connections)
}

/// A pool of at most `connections` for queries of callers. One of its own, so that slow queries, or a table that is
/// locked, take no connection from what everything rests on.
pub fn query_pool(config: &Config, connections: usize) -> Result<Pool, DatabaseError> {
    let bounds = [("lock_timeout", QUERY_LOCK_MAX), ("statement_timeout", QUERY_MAX)];
    pool(&bounded(config, &bounds), connections)
}

fn bounded(config: &Config, bounds: &[(&str, Duration)]) -> Config {
    let mut options = config.get_options().unwrap_or_default().to_owned();
    for (name, bound) in bounds {
        options.push_str(&format!(" -c {name}={}", bound.as_millis()));
    }
    let mut config = config.clone();
    config.options(options.trim_start());
    config
}

/// A pool of at most `connections`.
pub fn pool(config: &Config, connections: usize) -> Result<Pool, DatabaseError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let connect = Connecting { at: Handle::try_current().ok(), with: ConfigConnectImpl { tls: tls()? } };
    let manager = Manager::from_connect(prepared(config), connect, recycling);
    Ok(Pool::builder(manager)
        .max_size(connections)
        // The connection that was used last: its server process has at hand what the next one is about to need.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT_MAX))
        .create_timeout(Some(WAIT_MAX))
        .build()?)
}

/// Opens a pool's connections on the runtime that the pool was made on, whoever asks for one first: the writer's thread
/// must not serve what others read, nor end their connections with its own end.
struct Connecting {
    at: Option<Handle>,
    with: ConfigConnectImpl<MakeRustlsConnect>,
}

impl Connect for Connecting {
    fn connect(
        &self,
        config: &Config,
    ) -> BoxFuture<'_, Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        Box::pin(async move {
            if let Some(at) = &self.at {
                let (with, config) = (ConfigConnectImpl { tls: self.with.tls.clone() }, config.clone());
                if let Ok(connected) = at.spawn(async move { with.connect(&config).await }).await {
                    return connected;
                }
            }
            // That runtime has ended: whoever asks still is on one.
            self.with.connect(&config).await
        })
    }
}

/// TLS 1.2 or newer against the system's certificate authorities (NFR-SEC-001). `sslmode=require` makes sure of it.
pub fn tls() -> Result<MakeRustlsConnect, DatabaseError> {
    let mut roots = RootCertStore::empty();
    // A certificate of the system that can't be read vouches for nobody; the others still do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// A unix socket has no host name to check and no network to protect from: TLS is not asked for there.
pub(crate) fn prepared(config: &Config) -> Config {
    let mut config = config.clone();
    if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) {
        config.ssl_mode(SslMode::Disable);
    }
    config
}
