//! How to reach a database of the private cluster.

use std::{
    fmt,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Everything a client needs for one database and one role. Both `url` and `key_values` are understood by
/// tokio-postgres, sqlx 0.8 and libpq (psql).
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectInfo {
    /// Directory of the Unix socket, absolute.
    pub socket_dir: PathBuf,
    pub user: String,
    pub password: String,
    pub database: String,
    /// Only names the socket file (`.s.PGSQL.{port}`); nothing listens on TCP.
    pub port: u16,
}

impl ConnectInfo {
    /// `postgres://user:password@%2Fsocket%2Fdir:port/database`, percent-encoded. (With an empty host and
    /// `?host=…` libpq and tokio-postgres would do, but sqlx refuses.)
    pub fn url(&self) -> String {
        format!(
            "postgres://{}:{}@{}:{}/{}",
            percent_encode(&self.user),
            percent_encode(&self.password),
            percent_encode(&self.socket_dir.to_string_lossy()),
            self.port,
            percent_encode(&self.database),
        )
    }

    /// `host='…' port=… user='…' password='…' dbname='…'`.
    pub fn key_values(&self) -> String {
        format!(
            "host={} port={} user={} password={} dbname={}",
            quote(&self.socket_dir.to_string_lossy()),
            self.port,
            quote(&self.user),
            quote(&self.password),
            quote(&self.database),
        )
    }

    /// The same role on another database.
    pub fn with_database(&self, database: impl Into<String>) -> Self {
        Self { database: database.into(), ..self.clone() }
    }

    /// The socket file itself.
    pub fn socket(&self) -> PathBuf {
        socket_file(&self.socket_dir, self.port)
    }
}

impl fmt::Debug for ConnectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo")
            .field("socket_dir", &self.socket_dir)
            .field("user", &self.user)
            .field("password", &"…")
            .field("database", &self.database)
            .field("port", &self.port)
            .finish()
    }
}

pub(crate) fn socket_file(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}

/// RFC 3986: everything but the unreserved characters is encoded.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte as char);
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// libpq's quoting of a value: single quotes, backslash before a quote or a backslash.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awkward() -> ConnectInfo {
        ConnectInfo {
            socket_dir: "/srv/a b/50%/it's".into(),
            user: "us:er".into(),
            password: "p@ss/w?rd&#'\\".into(),
            database: "data base".into(),
            port: 6543,
        }
    }

    fn assert_same(config: &tokio_postgres::Config) {
        let info = awkward();
        assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix(info.socket_dir)]);
        assert_eq!(config.get_ports(), [info.port]);
        assert_eq!(config.get_user(), Some(info.user.as_str()));
        assert_eq!(config.get_password(), Some(info.password.as_bytes()));
        assert_eq!(config.get_dbname(), Some(info.database.as_str()));
    }

    #[test]
    fn tokio_postgres_reads_back_the_url_and_the_key_values() {
        assert_same(&awkward().url().parse().unwrap());
        assert_same(&awkward().key_values().parse().unwrap());
    }

    #[test]
    fn sqlx_reads_back_the_url() {
        let options: sqlx::postgres::PgConnectOptions = awkward().url().parse().unwrap();
        assert_eq!(options.get_socket(), Some(&awkward().socket_dir));
        assert_eq!(options.get_port(), 6543);
        assert_eq!(options.get_username(), "us:er");
        assert_eq!(options.get_database(), Some("data base"));
    }

    #[test]
    fn debug_hides_the_password() {
        assert!(!format!("{:?}", awkward()).contains("p@ss"));
    }
}
