//! Which operating system user PostgreSQL runs as.

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, error::io};

/// The user the postmaster runs as: ourselves, or, as PostgreSQL refuses root, another one when we are root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether we are root and have to become that user.
    drop: bool,
}

impl Account {
    /// The owner of existing data, else the current user, else (as root) `postgres`, who is created if absent.
    pub(crate) fn choose(pgdata: &Path) -> Result<Self, Error> {
        let me = rustix::process::geteuid().as_raw();
        let owner = std::fs::metadata(pgdata).ok();
        if me != 0 {
            return match owner {
                Some(owner) if owner.uid() != me => Err(Error::NotOurs {
                    path: pgdata.to_owned(),
                    detail: format!("owned by uid {}, we are uid {me}", owner.uid()),
                }),
                _ => Ok(Self { uid: me, gid: rustix::process::getegid().as_raw(), drop: false }),
            };
        }
        if let Some(owner) = owner.filter(|owner| owner.uid() != 0) {
            return Ok(Self { uid: owner.uid(), gid: owner.gid(), drop: true });
        }
        let (uid, gid) = match lookup("postgres") {
            Some(ids) => ids,
            None => {
                create_user()?;
                lookup("postgres").ok_or_else(|| Error::NoAccount { detail: "useradd made none".into() })?
            }
        };
        Ok(Self { uid, gid, drop: true })
    }

    pub(crate) fn is_other_user(&self) -> bool {
        self.drop
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// A command that runs as this user, in a clean environment: no PG* variable of the caller reaches
    /// PostgreSQL, its messages are in English, and its directory is one that everybody can read.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        if self.drop {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, program: &Path, arguments: &[&std::ffi::OsStr]) -> Result<(), Error> {
        let output = self.command(program).args(arguments).output().map_err(io("cannot run", program))?;
        if output.status.success() {
            return Ok(());
        }
        let mut stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if stderr.is_empty() {
            stderr = format!("it ended with {}", output.status);
        }
        Err(Error::CommandFailed { command: program.display().to_string(), stderr })
    }

    /// Gives `path` to this user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        if self.drop {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
                .map_err(io("cannot chown", path))?;
        }
        Ok(())
    }

    /// Whether this user can enter `dir`, that is every directory on the way to it and `dir` itself.
    pub(crate) fn can_enter(&self, dir: &Path) -> bool {
        if !self.drop {
            return true;
        }
        let test = ["/usr/bin/test", "/bin/test"].map(PathBuf::from).into_iter().find(|path| path.is_file());
        let Some(test) = test else { return true };
        self.command(&test).arg("-x").arg(dir).status().is_ok_and(|status| status.success())
    }
}

fn lookup(name: &str) -> Option<(u32, u32)> {
    let ask = |flag: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, name]).stdin(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((ask("-u")?, ask("-g")?))
}

fn create_user() -> Result<(), Error> {
    let arguments =
        ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "postgres"];
    let output = Command::new("useradd")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::NoAccount { detail: format!("useradd cannot be run: {error}") })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::NoAccount { detail: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
