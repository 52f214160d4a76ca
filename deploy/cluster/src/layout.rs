//! Where everything of a cluster lies.
//!
//! ```text
//! {data_dir}/postgres.lock        held while a process starts or stops the cluster
//! {data_dir}/postgres.home        only when the cluster had to live elsewhere: that path
//! {data_dir}/postgres/            the home
//!     secrets/                    passwords, 0600, ours
//!     pgdata/                     PostgreSQL's data directory
//!     run/                        Unix socket, unless the path is too long
//!     run.path                    only then: where the socket is instead
//!     log/postgresql.log
//! ```

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{Error, PORT, account::Account, connect::socket_file, error::io};

/// `sun_path` holds 108 bytes with its terminating NUL (Linux; unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where root's clusters live when the server's user cannot enter their data directory.
const ROOT_HOMES: &str = "/var/lib/tenantry";

/// A log that has grown past this is moved aside at the next start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub data_dir: PathBuf,
    pub home: PathBuf,
    pub pgdata: PathBuf,
    pub socket_dir: PathBuf,
    pub log: PathBuf,
    pub secrets: PathBuf,
}

/// `TENANTRY_DATA_DIR`, else `/var/lib/tenantry` for root (whose home the server's user cannot enter), else
/// `$XDG_DATA_HOME/tenantry`, that is `~/.local/share/tenantry`. `scripts/environment.sh` says the same.
pub fn default_data_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = variable("TENANTRY_DATA_DIR") {
        return dir;
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from(ROOT_HOMES);
    }
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/tmp"))
        .join("tenantry")
}

impl Layout {
    /// The file whose lock serialises starting and stopping.
    pub(crate) fn lock_file(data_dir: &Path) -> PathBuf {
        data_dir.join("postgres.lock")
    }

    /// What a former start laid out, or `None` when there is no data.
    pub(crate) fn existing(data_dir: &Path) -> Result<Option<Self>, Error> {
        let data_dir = match data_dir.canonicalize() {
            Ok(data_dir) => data_dir,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("cannot look into", data_dir)(error)),
        };
        let layout = Self::at(&data_dir, remembered(&data_dir.join("postgres.home"))?);
        let initialised = layout.pgdata.join("PG_VERSION").try_exists();
        Ok(initialised.map_err(io("cannot look into", &layout.pgdata))?.then_some(layout).map(|layout| {
            let run = remembered(&layout.home.join("run.path")).ok().flatten();
            Self { socket_dir: run.unwrap_or_else(|| layout.home.join("run")), ..layout }
        }))
    }

    /// Makes the directories, moving the home or the socket where PostgreSQL can use them.
    pub(crate) fn create(data_dir: &Path) -> Result<(Self, Account), Error> {
        let data_dir = data_dir.canonicalize().map_err(io("cannot look into", data_dir))?;
        let note = data_dir.join("postgres.home");
        let mut layout = Self::at(&data_dir, remembered(&note)?);
        let account = Account::choose(&layout.pgdata)?;
        if account.is_other_user() {
            add_execute(&data_dir)?;
            if layout.home.starts_with(&data_dir) && !account.can_enter(&data_dir) {
                let elsewhere = Path::new(ROOT_HOMES).join("clusters").join(short_hash(&data_dir));
                make_dir(&elsewhere, 0o711)?;
                remember(&note, &elsewhere)?;
                layout = Self::at(&data_dir, Some(elsewhere));
            }
        }
        make_dir(&layout.home, if account.is_other_user() { 0o711 } else { 0o700 })?;
        make_dir(&layout.secrets, 0o700)?;
        let log_dir = layout.log.parent().expect("the log lies in a directory of its own");
        make_dir(log_dir, 0o700)?;
        account.own(log_dir)?;
        layout.socket_dir = socket_dir(&layout.home, &account)?;
        Ok((layout, account))
    }

    /// Moves a log that has grown too long aside, keeping one former.
    pub(crate) fn rotate_log(&self) -> Result<(), Error> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&self.log, self.log.with_extension("log.1")).map_err(io("cannot move", &self.log))?;
        }
        Ok(())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket_file(&self.socket_dir, PORT)
    }

    /// Every directory that is not inside the data directory.
    pub(crate) fn outside(&self) -> Vec<&Path> {
        [&self.home, &self.socket_dir]
            .into_iter()
            .map(PathBuf::as_path)
            .filter(|p| !p.starts_with(&self.data_dir))
            .collect()
    }

    fn at(data_dir: &Path, home: Option<PathBuf>) -> Self {
        let home = home.unwrap_or_else(|| data_dir.join("postgres"));
        Self {
            data_dir: data_dir.to_owned(),
            pgdata: home.join("pgdata"),
            socket_dir: home.join("run"),
            log: home.join("log/postgresql.log"),
            secrets: home.join("secrets"),
            home,
        }
    }
}

/// The directory for the socket: inside the home if its path is short enough, else a short one that is
/// remembered, so that later starts and other processes find it.
fn socket_dir(home: &Path, account: &Account) -> Result<PathBuf, Error> {
    let inside = home.join("run");
    if fits(&inside) {
        make_dir(&inside, 0o700)?;
        account.own(&inside)?;
        return Ok(inside);
    }
    let note = home.join("run.path");
    let hash = short_hash(home);
    // A stranger may have made a directory of our name in /tmp; then the next name is taken.
    let fresh = (0..16).map(|attempt| match attempt {
        0 => format!("tenantry-{hash}"),
        _ => format!("tenantry-{hash}-{}", hex::encode(rand::random::<[u8; 4]>())),
    });
    let candidates = remembered(&note)?.into_iter().chain(fresh.map(|name| runtime_dir(account).join(name)));
    for candidate in candidates {
        if claim_private_dir(&candidate, account)? {
            remember(&note, &candidate)?;
            return Ok(candidate);
        }
    }
    Err(Error::NotOurs {
        path: runtime_dir(account),
        detail: "no directory for the socket can be made there".into(),
    })
}

fn fits(socket_dir: &Path) -> bool {
    socket_file(socket_dir, PORT).as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX
}

fn runtime_dir(account: &Account) -> PathBuf {
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    xdg.filter(|dir| {
        !account.is_other_user()
            && dir.is_absolute()
            && dir.is_dir()
            && fits(&dir.join("tenantry-0123456789abcdef-01234567"))
    })
    .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Makes `dir`, 0700 and the account's; false when something else of that name is there.
fn claim_private_dir(dir: &Path, account: &Account) -> Result<bool, Error> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => account.own(dir).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(dir).map_err(io("cannot look at", dir))?;
            Ok(found.is_dir() && found.uid() == account.uid() && found.mode() & 0o077 == 0)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io("cannot create", dir)(error)),
    }
}

/// Makes a directory (and what is above it) unless it is there; the mode is set either way.
pub(crate) fn make_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(io("cannot create", dir))?;
    let found = fs::metadata(dir).map_err(io("cannot look at", dir))?;
    if found.mode() & 0o777 == mode {
        return Ok(());
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(io("cannot set the mode of", dir))
}

/// Lets others pass through a directory of ours, without letting them list it.
fn add_execute(dir: &Path) -> Result<(), Error> {
    let mode = fs::metadata(dir).map_err(io("cannot look at", dir))?.mode() & 0o7777;
    if mode & 0o011 != 0o011 {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o011))
            .map_err(io("cannot set the mode of", dir))?;
    }
    Ok(())
}

fn remembered(note: &Path) -> Result<Option<PathBuf>, Error> {
    match fs::read_to_string(note) {
        Ok(text) => Ok(Some(PathBuf::from(text.trim_end_matches('\n'))).filter(|path| path.is_absolute())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("cannot read", note)(error)),
    }
}

fn remember(note: &Path, path: &Path) -> Result<(), Error> {
    crate::secrets::write_durably(note, format!("{}\n", path.display()).as_bytes(), 0o644)
}

fn short_hash(path: &Path) -> String {
    hex::encode(&Sha256::digest(path.as_os_str().as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_of_107_bytes_fits_and_one_more_does_not() {
        let name = socket_file(Path::new(""), PORT).as_os_str().len();
        let dir = |bytes: usize| PathBuf::from(format!("/{}", "d".repeat(bytes - 1)));
        assert!(fits(&dir(107 - 1 - name)));
        assert!(!fits(&dir(107 - name)));
    }

    #[test]
    fn a_strangers_directory_or_link_is_not_taken_for_ours() {
        let root = tempfile::tempdir().unwrap();
        let account = Account::choose(&root.path().join("none")).unwrap();
        let open = root.path().join("open");
        make_dir(&open, 0o777).unwrap();
        assert!(!claim_private_dir(&open, &account).unwrap());
        let mine = root.path().join("mine");
        assert!(claim_private_dir(&mine, &account).unwrap());
        assert!(claim_private_dir(&mine, &account).unwrap(), "our own is recognised again");
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&mine, &link).unwrap();
        assert!(!claim_private_dir(&link, &account).unwrap());
    }
}
