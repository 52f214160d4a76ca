//! Settings: flags and variables, checked before anything starts. `.env.example` lists all; a test compares the two.

mod url_check;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use engine::keyring::{MASTER_KEY_FILE, MASTER_KEY_VARIABLE, MasterSource};
use url_check::http_url;

use crate::data_dir::Announcement;
use crate::keys::{MasterKey, MasterKeyError};
use crate::listener::ConnectionLimits;
use crate::mail::MailSettings;
use crate::passwords::{HashParameters, HasherSettings};
use crate::rates::RateSettings;
use crate::registration::Registration;
use crate::services::{ServiceKeysError, Services};
use crate::sign_in::SignInRisk;
use crate::signing::SigningAlgorithm;
use crate::sso::PrivateNetworks;
use crate::state::Limits;

/// The variable that holds the master key itself. No flag: a command line is visible to everybody on the machine.
pub const MASTER_KEY: &str = MASTER_KEY_VARIABLE;

/// Where data, keys and database are. The same for every command that needs them.
#[derive(Clone, Debug, Args)]
pub struct Store {
    /// Where the server keeps its private PostgreSQL, its master key and its socket
    /// [default: /var/lib/tenantry for root, else ~/.local/share/tenantry]
    #[arg(long, env = "TENANTRY_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// A given PostgreSQL (14 or newer) instead of the private one, such as postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// With --database-url: the role that owns the schema and migrates it; then the former is used as it is, else it
    /// is both, and serves as the role tenantry_server
    #[arg(long, env = "TENANTRY_OWNER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub owner_database_url: Option<String>,

    /// How long to go on trying to reach the database at start
    #[arg(long, env = "TENANTRY_DATABASE_WAIT", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub database_wait: Duration,

    /// A file of mode 0600 with the master key, 64 hex digits [default: master.key in the data directory, made at the
    /// first start]
    #[arg(long, env = "TENANTRY_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,

    /// How clients reach the server: the issuer of its tokens [default: http://<listen>]
    #[arg(long, env = "TENANTRY_PUBLIC_URL", value_name = "URL", value_parser = http_url)]
    pub public_url: Option<String>,

    /// Where the API is served
    #[arg(long, env = "TENANTRY_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
}

impl Store {
    pub fn data_dir(&self) -> PathBuf {
        given(self.data_dir.as_ref()).cloned().unwrap_or_else(cluster::default_data_dir)
    }

    pub fn database_url(&self) -> Option<&str> {
        self.database_url.as_deref().filter(|url| !url.is_empty())
    }

    pub fn owner_database_url(&self) -> Option<&str> {
        self.owner_database_url.as_deref().filter(|url| !url.is_empty())
    }

    /// How clients reach a server with these settings. Without a slash at its end.
    pub fn public_url(&self) -> String {
        let url = self.public_url.clone().filter(|url| !url.is_empty());
        url.unwrap_or_else(|| format!("http://{}", self.listen)).trim_end_matches('/').to_owned()
    }

    /// The issuer of tokens, for commands beside a server: what they are told, else what the last server said.
    pub fn known_issuer(&self) -> String {
        let told = self.public_url.as_ref().is_some_and(|url| !url.is_empty());
        let last = Announcement::read(&self.data_dir()).filter(|_| !told);
        last.map_or_else(|| self.public_url(), |last| last.issuer)
    }

    /// The master key: the variable, else the file, else the data directory's own. `may_make`: that is made if there
    /// is none, which is right only while nothing was wrapped with it.
    ///
    /// # Errors
    /// [`MasterKeyError`]
    pub fn master_key(&self, may_make: bool) -> Result<MasterKey, MasterKeyError> {
        MasterKey::find(
            given(self.master_key_file.as_ref()).map(PathBuf::as_path),
            &self.data_dir(),
            may_make,
        )
    }

    /// The same, whenever it is asked for.
    pub fn master_source(&self) -> MasterSource {
        let store = self.clone();
        Arc::new(move || store.master_key(false))
    }

    /// The file that holds the master key, if it is a file.
    pub fn master_key_path(&self) -> Option<PathBuf> {
        if std::env::var_os(MASTER_KEY_VARIABLE).is_some_and(|key| !key.is_empty()) {
            return None;
        }
        let file = given(self.master_key_file.as_ref()).cloned();
        Some(file.unwrap_or_else(|| self.data_dir().join(MASTER_KEY_FILE)))
    }
}

/// An empty variable is none.
fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Settings of `tenantry serve`.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    pub store: Store,

    /// Where /metrics, /ready and what only our own machines may reach is served
    #[arg(
        long,
        env = "TENANTRY_ADMIN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8081"
    )]
    pub admin_listen: SocketAddr,

    /// Origins whose pages may call the API from a browser (CORS), such as https://console.example; none by default
    #[arg(long, env = "TENANTRY_CORS_ORIGINS", value_name = "ORIGIN,…", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,

    #[command(flatten)]
    pub mail: MailSettings,

    #[command(flatten)]
    pub rates: RateSettings,

    /// Whether strangers may register tenants (POST /auth/register)
    #[arg(long, env = "TENANTRY_REGISTRATION", default_value = "off")]
    pub registration: Registration,

    /// How log lines are written, to standard error
    #[arg(long, env = "TENANTRY_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// What is logged: a level (error, warn, info, debug, trace), or a filter such as info,engine=debug
    #[arg(long, env = "TENANTRY_LOG", value_name = "FILTER", default_value = "info", value_parser = log_filter)]
    pub log: String,

    /// Serve the journal that is found although this data directory has seen another one, or more of it: what the
    /// refusal says. It accepts that once and nothing else
    #[arg(long, env = "TENANTRY_ACCEPT_JOURNAL", value_name = "SIGHTING")]
    pub accept_journal: Option<String>,

    /// Connections to the database for queries, projections and process managers
    #[arg(long, env = "TENANTRY_DATABASE_CONNECTIONS", value_name = "NUMBER", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(4..=1000))]
    pub database_connections: u32,

    /// Requests under way at once; more are answered 503
    #[arg(long, env = "TENANTRY_REQUESTS_MAX", value_name = "NUMBER", default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests_max: u32,

    /// Requests under way at once that concern one tenant; more are answered 429
    #[arg(long, env = "TENANTRY_TENANT_REQUESTS_MAX", value_name = "NUMBER", default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tenant_requests_max: u32,

    /// Connections of clients at once; more wait
    #[arg(long, env = "TENANTRY_CONNECTIONS_MAX", value_name = "NUMBER", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,

    /// Commands under way at once
    #[arg(long, env = "TENANTRY_COMMANDS_MAX", value_name = "NUMBER", default_value_t = 8192,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub commands_max: u32,

    /// Commands under way at once for one tenant
    #[arg(long, env = "TENANTRY_TENANT_COMMANDS_MAX", value_name = "NUMBER", default_value_t = 2048,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub tenant_commands_max: u32,

    /// Aggregates kept in memory; the least recently used leave first
    #[arg(long, env = "TENANTRY_ACTORS_MAX", value_name = "NUMBER", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub actors_max: u32,

    /// What access tokens are signed with. Another one than before takes over at the start; the former key verifies
    /// what it signed for a day
    #[arg(long, env = "TENANTRY_TOKEN_ALGORITHM", value_name = "ALGORITHM", default_value = "RS256")]
    pub token_algorithm: SigningAlgorithm,

    /// Services that sign their own tokens, with their public keys, as JSON; read at the start [default: none]
    #[arg(long, env = "TENANTRY_SERVICE_KEYS", value_name = "FILE")]
    pub service_keys: Option<PathBuf>,

    /// Memory that hashing a password takes (argon2id), in KiB; OWASP's recommendation unless it is said otherwise.
    /// Passwords are hashed anew at the next sign-in when this or the next rises
    #[arg(long, env = "TENANTRY_PASSWORD_MEMORY_KIB", value_name = "KIB", default_value_t = 19_456,
        value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub password_memory_kib: u32,

    /// Passes over that memory
    #[arg(long, env = "TENANTRY_PASSWORD_PASSES", value_name = "NUMBER", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=64))]
    pub password_passes: u32,

    /// Threads that hash passwords [default: one for each core]
    #[arg(long, env = "TENANTRY_PASSWORD_THREADS", value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub password_threads: Option<u32>,

    /// What an unusual login leads to (new device, network, hour, pace): `ask` for a second factor or a mailed code, or only
    /// `record` what was unusual
    #[arg(long, env = "TENANTRY_SIGN_IN_RISK", value_name = "WORD", default_value = "ask")]
    pub sign_in_risk: SignInRisk,

    /// Whether tenants' OpenID providers may be in private networks, and without TLS: `on` only where every tenant may
    /// reach what this machine can
    #[arg(long, env = "TENANTRY_SSO_PRIVATE_NETWORKS", value_name = "WORD", default_value = "off")]
    pub sso_private_networks: PrivateNetworks,

    /// The largest body of a request
    #[arg(long, env = "TENANTRY_BODY_BYTES_MAX", value_name = "BYTES", default_value_t = 1_048_576,
        value_parser = clap::value_parser!(u32).range(1024..=67_108_864))]
    pub body_bytes_max: u32,

    /// The largest head of a request
    #[arg(long, env = "TENANTRY_HEADER_BYTES_MAX", value_name = "BYTES", default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(8192..=1_048_576))]
    pub header_bytes_max: u32,

    /// How long a client may take to send a head, and may keep an idle connection
    #[arg(long, env = "TENANTRY_HEADER_TIMEOUT", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub header_timeout: Duration,

    /// How long a client may take nothing of its answer
    #[arg(long, env = "TENANTRY_ANSWER_TIMEOUT", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub answer_timeout: Duration,

    /// How long a client may take to send a body
    #[arg(long, env = "TENANTRY_BODY_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub body_timeout: Duration,

    /// How long a request may take
    #[arg(long, env = "TENANTRY_REQUEST_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub request_timeout: Duration,

    /// How long a command may wait before it is handed to the journal
    #[arg(long, env = "TENANTRY_COMMAND_DEADLINE", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub command_deadline: Duration,

    /// How long a read waits for X-Min-Position
    #[arg(long, env = "TENANTRY_POSITION_WAIT", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub position_wait: Duration,

    /// How long requests under way may take to end when the server stops
    #[arg(long, env = "TENANTRY_STOP_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub stop_timeout: Duration,
}

impl Settings {
    /// The settings of a command line, for servers within other programs. Of a flag that is given twice the last counts.
    ///
    /// # Errors
    /// What `tenantry serve` would print.
    pub fn from_flags<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        #[derive(clap::Parser)]
        #[command(args_override_self = true)]
        struct Line {
            #[command(flatten)]
            settings: Settings,
        }
        let line = std::iter::once("serve").chain(flags);
        let Line { settings } =
            clap::Parser::try_parse_from(line).map_err(|error: clap::Error| error.to_string())?;
        settings.check().map(|()| settings)
    }

    /// What the flags allow one by one but not together.
    ///
    /// # Errors
    /// Says which two, and what to do.
    pub fn check(&self) -> Result<(), String> {
        let listen = self.store.listen;
        if listen == self.admin_listen && listen.port() != 0 {
            return Err(format!(
                "--listen and --admin-listen are both {listen}: give the two different ports"
            ));
        }
        if self.store.owner_database_url().is_some() && self.store.database_url().is_none() {
            return Err(
                "--owner-database-url is given without --database-url: give both or neither".to_owned()
            );
        }
        self.mail.check()?;
        if self.command_deadline >= self.request_timeout {
            return Err(format!(
                "--command-deadline ({:?}) must be shorter than --request-timeout ({:?})",
                self.command_deadline, self.request_timeout
            ));
        }
        Ok(())
    }

    /// The services that are known.
    ///
    /// # Errors
    /// The file can't be read, or is not as it must be.
    pub fn services(&self) -> Result<Services, ServiceKeysError> {
        let file = given(self.service_keys.as_ref());
        file.map_or_else(|| Ok(Services::default()), |file| Services::read(file, &self.store.public_url()))
    }

    /// The sighting that is given up, if one is named.
    pub fn accept_journal(&self) -> Option<&str> {
        self.accept_journal.as_deref().filter(|named| !named.is_empty())
    }

    pub fn limits(&self) -> Limits {
        Limits {
            in_flight_max: self.requests_max as usize,
            tenant_in_flight_max: self.tenant_requests_max as usize,
            rates: self.rates.clone(),
            body_bytes_max: self.body_bytes_max as usize,
            body_timeout: self.body_timeout,
            handler_timeout: self.request_timeout,
            command_deadline: self.command_deadline,
            position_wait: self.position_wait,
        }
    }

    pub fn hasher(&self) -> HasherSettings {
        let default = HasherSettings::default();
        let settings =
            self.password_threads.map_or(default, |threads| HasherSettings::with_threads(threads as usize));
        let parameters = HashParameters {
            memory_kib: self.password_memory_kib,
            passes: self.password_passes,
            ..settings.parameters
        };
        HasherSettings { parameters, ..settings }
    }

    pub fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections_max: self.connections_max as usize,
            header_bytes_max: self.header_bytes_max as usize,
            header_timeout: self.header_timeout,
            answer_timeout: self.answer_timeout,
            stop_timeout: self.stop_timeout,
        }
    }
}

/// `500ms`, `30s`, `15m`, `2h`.
///
/// # Errors
/// What is expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("is a number with a unit, such as 500ms, 30s, 15m or 2h".to_owned()),
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    match total {
        None => Err("is a number with a unit, such as 500ms, 30s, 15m or 2h".to_owned()),
        Some(0) => Err("must be longer than nothing".to_owned()),
        Some(total) if total > 24 * 3_600_000 => Err("must be at most 24h".to_owned()),
        Some(total) => Ok(Duration::from_millis(total)),
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// An origin (RFC 6454): scheme, host and port, nothing after it. No `*`.
fn origin(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = http_url(text)?;
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    if host.contains('/') {
        Err("is an origin, such as https://console.example, without a path".to_owned())
    } else {
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, Parser};
    use std::collections::BTreeSet;

    fn serve(flags: &[&str]) -> Result<Settings, String> {
        let args = ["tenantry", "serve"].iter().chain(flags);
        match Cli::try_parse_from(args).map_err(|error| error.to_string())?.command {
            crate::cli::Command::Serve(settings) => settings.check().map(|()| *settings),
            _ => unreachable!("serve was asked for"),
        }
    }

    #[test]
    fn wrong_settings_are_refused_with_what_is_expected() {
        for (flags, told) in [
            (&["--listen", "8080"][..], "--listen"),
            (&["--listen", "127.0.0.1:99999"], "--listen"),
            (&["--listen", "127.0.0.1:8081"], "different ports"),
            (&["--body-timeout", "10"], "30s"),
            (&["--body-timeout", "0s"], "longer than nothing"),
            (&["--body-bytes-max", "1"], "1024"),
            (&["--log", "info,=x=y"], "--log"),
            (&["--log-format", "xml"], "json"),
            (&["--public-url", "tenantry.example"], "absolute URL"),
            (&["--cors-origins", "*"], "absolute URL"),
            (&["--cors-origins", "https://a.example/path"], "without a path"),
            (&["--owner-database-url", "postgres://x"], "give both"),
            (&["--command-deadline", "30s"], "shorter"),
            (&["--smtp-url", "mail.example"], "smtps://"),
            (&["--smtp-url", "smtps://mail.example"], "--mail-from"),
            (&["--mail-from", "nobody"], "is an address"),
            (&["--colour"], "--colour"),
        ] {
            let error = serve(flags).unwrap_err();
            assert!(error.contains(told), "{flags:?}: {error}");
        }
    }

    #[test]
    fn settings_have_the_defaults_that_are_documented() {
        let settings = serve(&[]).unwrap();
        assert_eq!(settings.store.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:8081");
        assert_eq!(settings.store.public_url(), "http://127.0.0.1:8080");
        assert!(settings.cors_origins.iter().all(String::is_empty));
    }

    /// Every variable that a flag has, of any command.
    fn variables(command: &clap::Command) -> BTreeSet<String> {
        let own = command
            .get_arguments()
            .filter_map(|arg| arg.get_env())
            .map(|env| env.to_string_lossy().into_owned());
        own.chain(command.get_subcommands().flat_map(variables)).collect()
    }

    #[test]
    fn env_example_lists_every_variable_and_no_other() {
        let mut known = variables(&Cli::command());
        known.insert(MASTER_KEY.to_owned());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
        let text = std::fs::read_to_string(path).unwrap();
        let listed: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.trim_start_matches('#').split_once('='))
            .map(|(name, _)| name.trim().to_owned())
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
            .collect();
        assert_eq!(listed, known);
    }

    #[test]
    fn serve_help_names_every_variable_of_serving() {
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let names = variables(serve);
        let help = serve.render_long_help().to_string();
        for name in names.iter().map(String::as_str).chain([MASTER_KEY]) {
            assert!(help.contains(name), "{name}");
        }
    }

    #[test]
    fn env_example_gives_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
        let text = std::fs::read_to_string(path).unwrap();
        let command = Cli::command();
        for arg in command.find_subcommand("serve").unwrap().get_arguments() {
            let (Some(name), [default, ..]) = (arg.get_env(), arg.get_default_values()) else { continue };
            let line = format!("{}={}", name.to_string_lossy(), default.to_string_lossy());
            assert!(text.lines().any(|listed| listed.trim_start_matches(['#', ' ']) == line), "{line}");
        }
    }
}
