//! What a caller may choose, and the PostgreSQL settings every private cluster runs with.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use crate::Error;

/// Told once per step, in a sentence a person can read.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, message: impl AsRef<str>) {
        (self.0)(message.as_ref());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(|message| tracing::info!("{message}"))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Choices for a private cluster. `Options::default()` is what `tenantry serve` wants.
#[derive(Debug, Clone)]
pub struct Options {
    /// The main database, created if absent.
    pub database: String,
    /// PostgreSQL settings on top of ours, applied when the server starts (not when it is reattached).
    /// Those that durability or isolation rest on are refused.
    pub settings: Vec<(String, String)>,
    /// Longest wait for a start, crash recovery included.
    pub start_timeout: Duration,
    pub progress: Progress,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            database: "tenantry".to_owned(),
            settings: Vec::new(),
            start_timeout: Duration::from_secs(600),
            progress: Progress::default(),
        }
    }
}

impl Options {
    /// Adds one PostgreSQL setting.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_database_name(&self.database)?;
        for (name, value) in &self.settings {
            check_setting(name, value)?;
        }
        Ok(())
    }

    /// The text of the configuration file that `postgresql.conf` includes.
    pub(crate) fn render(&self, socket_dir: &Path) -> String {
        let mut text = String::from(
            "# Written at every start of the private cluster; changes made here are lost.\n\
             # Own settings: put them into postgresql.auto.conf with ALTER SYSTEM.\n",
        );
        let socket_dir = socket_dir.to_string_lossy();
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fixed = [("unix_socket_directories", socket_dir.as_ref()), ("listen_addresses", "")];
        for (name, value) in TUNED.iter().copied().chain(own).chain(DURABLE.iter().copied()).chain(fixed) {
            // Inside quotes PostgreSQL's configuration reader takes '' for a quote and a backslash for an escape.
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            text.push_str(&format!("{name} = '{value}'\n"));
        }
        text
    }
}

/// An acknowledged write survives a crash at any instant; nobody may switch these off.
const DURABLE: &[(&str, &str)] = &[("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];

/// Arguments for the postmaster's command line, where they outrank every file, also what ALTER SYSTEM wrote.
pub(crate) fn command_line() -> String {
    let durable: Vec<String> = DURABLE.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    format!("{} -c listen_addresses=", durable.join(" "))
}

const TUNED: &[(&str, &str)] = &[
    ("max_connections", "100"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "2GB"),
    ("wal_compression", "on"),
    ("checkpoint_timeout", "15min"),
    ("random_page_cost", "1.1"),
    // Our statements are short; compiling them costs more than it saves.
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("unix_socket_permissions", "0700"),
    ("password_encryption", "scram-sha-256"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    // CC-LOG-002: a log holds no personal data, so neither statements, nor parameters, nor the DETAIL that
    // quotes a duplicate key.
    ("log_statement", "none"),
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
];

fn check_setting(name: &str, value: &str) -> Result<(), Error> {
    let forbidden = |reason| Err(Error::ForbiddenSetting { name: name.to_owned(), reason });
    let lower = name.to_ascii_lowercase();
    if DURABLE.iter().any(|(durable, _)| *durable == lower) {
        return forbidden("an acknowledged write must survive a crash");
    }
    if lower.is_empty() || !lower.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
        return forbidden("it is no setting's name");
    }
    if value.chars().any(char::is_control) {
        return forbidden("its value holds a control character");
    }
    match lower.as_str() {
        "listen_addresses" | "unix_socket_directories" | "unix_socket_permissions" | "port" => {
            forbidden("the cluster is private and reached by its own Unix socket only")
        }
        "data_directory" | "hba_file" | "ident_file" | "external_pid_file" | "logging_collector"
        | "log_destination" | "include" | "include_dir" | "include_if_exists" => {
            forbidden("the cluster's files are laid out by this crate")
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_database_name(name: &str) -> Result<(), Error> {
    let fits = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.as_bytes()[0].is_ascii_digit();
    if fits { Ok(()) } else { Err(Error::BadDatabaseName { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_and_the_way_in_cannot_be_changed() {
        for name in ["fsync", "FSYNC", "synchronous_commit", "full_page_writes", "listen_addresses", "port"] {
            let refused = Options::default().set(name, "off").check();
            assert!(matches!(refused, Err(Error::ForbiddenSetting { .. })), "{name} was accepted");
        }
        Options::default().set("max_connections", "20").check().unwrap();
    }

    #[test]
    fn a_setting_cannot_smuggle_a_second_one() {
        assert!(Options::default().set("work_mem = 1\nfsync", "off").check().is_err());
        let text = Options::default().set("application_name", "it's \\").render(Path::new("/run/x"));
        assert!(text.contains("application_name = 'it''s \\\\'\n"));
    }

    #[test]
    fn a_value_with_a_line_break_is_refused() {
        assert!(Options::default().set("application_name", "a\nfsync = off").check().is_err());
    }

    #[test]
    fn database_names_are_plain_identifiers() {
        for bad in ["", "1st", "Upper", "a-b", "a\"b", "a b", &"x".repeat(64)] {
            assert!(check_database_name(bad).is_err(), "{bad} was accepted");
        }
        check_database_name("tenantry_test_1").unwrap();
    }
}
