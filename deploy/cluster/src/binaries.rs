//! Finding PostgreSQL's server binaries.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Error;

/// Oldest major version we run on.
pub const MINIMUM_MAJOR: u32 = 14;

/// A directory with `initdb`, `pg_ctl` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    pub dir: PathBuf,
    pub major: u32,
}

impl Binaries {
    pub(crate) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    pub(crate) fn pg_ctl(&self) -> PathBuf {
        self.dir.join("pg_ctl")
    }

    /// `psql` beside the server, or whichever the PATH holds: some server packages come without it.
    pub fn psql(&self) -> PathBuf {
        let beside = self.dir.join("psql");
        if beside.is_file() { beside } else { PathBuf::from("psql") }
    }

    /// Asks the `postgres` in `dir` for its version; the error is a clause that follows "but".
    fn probe(dir: &Path) -> Result<Self, String> {
        for name in ["initdb", "pg_ctl", "postgres"] {
            if !dir.join(name).is_file() {
                return Err(format!("it holds no {name}"));
            }
        }
        let output = Command::new(dir.join("postgres"))
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("its postgres cannot be run: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let major = parse_major(&text).ok_or_else(|| format!("its postgres answers '{}'", text.trim()))?;
        Ok(Self { dir: dir.to_owned(), major })
    }
}

impl fmt::Display for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} in {}", self.major, self.dir.display())
    }
}

/// The best server binaries of version 14 or newer on this machine.
///
/// `TENANTRY_PG_BIN` decides alone when it is set. Otherwise the first hit of: the highest version below
/// `/usr/lib/postgresql`, a build below `data_dir` or the default data directory
/// (`scripts/install-postgres.sh` puts one there when it may not install packages), `pg_config --bindir`, the
/// PATH (last, as what is found there may be a wrapper script).
///
/// # Errors
/// [`Error::NoBinaries`], or [`Error::UnusableBinaries`] for a wrong `TENANTRY_PG_BIN`.
pub fn find_binaries(data_dir: Option<&Path>) -> Result<Binaries, Error> {
    let found = all(data_dir)?;
    found.into_iter().next().ok_or_else(|| Error::NoBinaries {
        minimum: MINIMUM_MAJOR,
        looked_in: candidates(data_dir)
            .iter()
            .map(|c| c.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// The binaries that can open a cluster written by `data_major`.
pub(crate) fn find_for_data(data_dir: &Path, pgdata: &Path, data_major: u32) -> Result<Binaries, Error> {
    let found = all(Some(data_dir))?;
    let list = found.iter().map(Binaries::to_string).collect::<Vec<_>>().join(", ");
    found.into_iter().find(|binaries| binaries.major == data_major).ok_or_else(|| Error::WrongMajor {
        pgdata: pgdata.to_owned(),
        data_major,
        found: if list.is_empty() { "no PostgreSQL".to_owned() } else { list },
    })
}

fn all(data_dir: Option<&Path>) -> Result<Vec<Binaries>, Error> {
    if let Some(path) = std::env::var_os("TENANTRY_PG_BIN").filter(|path| !path.is_empty()).map(PathBuf::from)
    {
        let unusable =
            |problem| Error::UnusableBinaries { path: path.clone(), problem, minimum: MINIMUM_MAJOR };
        let binaries = Binaries::probe(&path).map_err(unusable)?;
        if binaries.major < MINIMUM_MAJOR {
            return Err(unusable(format!("that is version {}", binaries.major)));
        }
        return Ok(vec![binaries]);
    }
    let mut found: Vec<Binaries> = Vec::new();
    for dir in candidates(data_dir) {
        if let Ok(binaries) = Binaries::probe(&dir)
            && binaries.major >= MINIMUM_MAJOR
            && !found.contains(&binaries)
        {
            found.push(binaries);
        }
    }
    Ok(found)
}

fn candidates(data_dir: Option<&Path>) -> Vec<PathBuf> {
    let mut dirs = versions_below(Path::new("/usr/lib/postgresql"));
    let default_dir = crate::default_data_dir();
    for data_dir in data_dir.into_iter().chain([default_dir.as_path()]) {
        dirs.extend(versions_below(&data_dir.join("postgresql")));
    }
    dirs.extend(pg_config_bindir());
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path).filter(|dir| dir.join("postgres").is_file()));
    }
    dirs
}

/// `root/{version}/bin`, highest version first.
fn versions_below(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = entry.file_name().to_string_lossy().split('.').next()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.is_dir())
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !dir.trim().is_empty()).then(|| PathBuf::from(dir.trim()))
}

/// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" → 15.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_prints() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("something else"), None);
    }

    #[test]
    fn the_highest_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9.6", "14", "100", "18.6.3", "lost+found"] {
            std::fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let found = versions_below(root.path());
        let names: Vec<_> =
            found.iter().map(|bin| bin.parent().unwrap().file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["100", "18.6.3", "14", "9.6"]);
    }
}
