//! Passwords of the cluster's roles: random, one per file, readable by us alone (CC-SEC-003).

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{Error, error::io};

pub(crate) const SUPERUSER: &str = "postgres";
pub(crate) const OWNER: &str = "tenantry_owner";
pub(crate) const SERVER: &str = "tenantry_server";

pub(crate) fn password_file(secrets: &Path, role: &str) -> PathBuf {
    secrets.join(format!("{role}.password"))
}

/// The password of `role`, or `None` when no file holds one.
pub(crate) fn read_password(secrets: &Path, role: &str) -> Result<Option<String>, Error> {
    let path = password_file(secrets, role);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned()).filter(|password| !password.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(Error::NotOurs {
            path,
            detail: format!("permission denied, we are uid {}", rustix::process::geteuid().as_raw()),
        }),
        Err(error) => Err(io("cannot read", &path)(error)),
    }
}

/// The password of `role`, made and stored durably if there is none: 256 random bits in hexadecimal.
pub(crate) fn password(secrets: &Path, role: &str) -> Result<String, Error> {
    if let Some(password) = read_password(secrets, role)? {
        return Ok(password);
    }
    let password = hex::encode(rand::random::<[u8; 32]>());
    write_durably(&password_file(secrets, role), format!("{password}\n").as_bytes(), 0o600)?;
    Ok(password)
}

/// Writes a file so that after a crash it holds either what it held or what is written now.
pub(crate) fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let fresh = path.with_file_name(format!(
        "{}.{}.new",
        path.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&fresh);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_parent(path)
    };
    write().map_err(io("cannot write", path))
}

/// Makes a rename or a creation in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> std::io::Result<()> {
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_password_is_made_once_and_kept_for_our_eyes_only() {
        let secrets = tempfile::tempdir().unwrap();
        let first = password(secrets.path(), OWNER).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(password(secrets.path(), OWNER).unwrap(), first);
        assert_ne!(password(secrets.path(), SERVER).unwrap(), first);
        let mode = fs::metadata(password_file(secrets.path(), OWNER)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
