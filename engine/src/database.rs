//! Connections to PostgreSQL: pools and TLS, the same for every binary.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::{ClientConfig, RootCertStore};
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

/// A pool of at most `connections`.
pub fn pool(config: &Config, connections: usize) -> Result<Pool, DatabaseError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(prepared(config), tls()?, recycling);
    Ok(Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT_MAX))
        .create_timeout(Some(WAIT_MAX))
        .build()?)
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
