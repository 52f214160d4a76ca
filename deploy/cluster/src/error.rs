//! What can go wrong with a private cluster. Each message says what was found and what to do next.

use std::path::{Path, PathBuf};

/// Failure to find, initialise, start, reach or stop the private cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "no PostgreSQL server binaries of version {minimum} or newer were found (looked in {looked_in}). \
         Run scripts/install-postgres.sh, or point TENANTRY_PG_BIN at a directory that holds initdb, pg_ctl \
         and postgres, or set DATABASE_URL to use a server you already run"
    )]
    NoBinaries { minimum: u32, looked_in: String },

    #[error(
        "TENANTRY_PG_BIN is {path}, but {problem}. Point it at a directory that holds initdb, pg_ctl and postgres of version {minimum} or newer, or unset it"
    )]
    UnusableBinaries { path: PathBuf, problem: String, minimum: u32 },

    #[error(
        "the data in {pgdata} was written by PostgreSQL {data_major}, but only {found} was found. \
         Install PostgreSQL {data_major} (Debian: apt-get install postgresql-{data_major}), or point \
         TENANTRY_PG_BIN at its binaries"
    )]
    WrongMajor { pgdata: PathBuf, data_major: u32, found: String },

    #[error("{path} belongs to another user ({detail}). Run as that user, or choose another data directory")]
    NotOurs { path: PathBuf, detail: String },

    #[error(
        "PostgreSQL refuses to run as root and there is no operating system user 'postgres' to run it as \
         ({detail}). Create one: useradd --system --no-create-home --shell /usr/sbin/nologin postgres"
    )]
    NoAccount { detail: String },

    #[error("the setting '{name}' cannot be changed: {reason}")]
    ForbiddenSetting { name: String, reason: &'static str },

    #[error(
        "'{name}' is no usable database name: 1 to 63 characters of a-z, 0-9 and _, not beginning with a digit"
    )]
    BadDatabaseName { name: String },

    #[error(
        "another process has held {path} for more than {waited_s} s while it starts or stops this cluster. \
         Wait for it to finish, or end it, and try again"
    )]
    Locked { path: PathBuf, waited_s: u64 },

    #[error("{command} failed: {stderr}")]
    CommandFailed { command: String, stderr: String },

    #[error("PostgreSQL did not start: {reason}\nThe last lines of {log}:\n{tail}")]
    StartFailed { reason: String, log: PathBuf, tail: String },

    #[error(
        "PostgreSQL (process {pid}) is still not ready after {waited_s} s; it may be replaying a long journal \
         after a crash. It goes on by itself: look at {log} and try again"
    )]
    NotReady { pid: i32, waited_s: u64, log: PathBuf },

    #[error(
        "processes {pids:?} of a former PostgreSQL still use {pgdata} although their postmaster is gone. \
         End them (kill PID) and try again"
    )]
    Orphans { pids: Vec<i32>, pgdata: PathBuf },

    #[error("PostgreSQL (process {pid}) did not stop within {waited_s} s")]
    NotStopped { pid: i32, waited_s: u64 },

    #[error("there is no cluster in {data_dir}; start one: cluster start --data-dir {data_dir}")]
    NoCluster { data_dir: PathBuf },

    #[error("the cluster in {data_dir} is not running; start it: cluster start --data-dir {data_dir}")]
    NotRunning { data_dir: PathBuf },

    #[error(
        "the password of the superuser is missing ({path}) although {pgdata} holds a cluster. Restore the file \
         from a backup; without it roles cannot be managed"
    )]
    PasswordLost { path: PathBuf, pgdata: PathBuf },

    #[error("{what}")]
    Sql {
        what: String,
        #[source]
        source: tokio_postgres::Error,
    },

    #[error("{what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Adds the deed and the path to an I/O error; a closure for `map_err`.
pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

/// Adds the deed to an SQL error; a closure for `map_err`.
pub(crate) fn sql(what: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let what = what.into();
    move |source| Error::Sql { what, source }
}
