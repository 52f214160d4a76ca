//! The master key: the one secret outside the database. Whoever has it and the database has everything.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::random;

/// Where the key lies in a data directory, unless a variable says otherwise.
pub const FILE: &str = "master.key";

/// AES-256: 32 bytes.
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The master key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error(
        "{from} does not hold a master key: 64 hex digits are expected, such as from `openssl rand -hex 32`"
    )]
    Malformed { from: String },
    #[error(
        "{path} may be read by others (mode {mode:o}): make it 0600, as it opens every key of the deployment"
    )]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{path} can't be used")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the master key {path} is gone, and the keys in the database were wrapped with it: restore it from its backup, \
         or give it by TENANTRY_MASTER_KEY or TENANTRY_MASTER_KEY_FILE"
    )]
    Lost { path: PathBuf },
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

impl MasterKey {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 hex digits. `from` is what an error names.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`]
    pub fn parse(text: &str, from: &str) -> Result<Self, MasterKeyError> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), &mut *key)
            .map_err(|_| MasterKeyError::Malformed { from: from.to_owned() })?;
        Ok(Self(key))
    }

    /// From a file that only its owner may read.
    ///
    /// # Errors
    /// It isn't there, is open to others, or holds no key.
    pub fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let io = |source| MasterKeyError::Io { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::TooOpen { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
        Self::parse(&text, &path.display().to_string())
    }

    /// The data directory's own; made if there is none and it may be. Only whoever holds the directory's lock may
    /// call it.
    ///
    /// # Errors
    /// As [`MasterKey::read`], and [`MasterKeyError::Lost`].
    pub fn of_data_dir(data_dir: &Path, may_make: bool) -> Result<Self, MasterKeyError> {
        let path = data_dir.join(FILE);
        if path.exists() {
            return Self::read(&path);
        }
        if !may_make {
            return Err(MasterKeyError::Lost { path });
        }
        let key = random::<32>().map_err(|_| MasterKeyError::NoRandomness)?;
        let text = Zeroizing::new(hex::encode(*key) + "\n");
        let io = |source| MasterKeyError::Io { path: path.clone(), source };
        // Written beside and moved, so that a crash leaves no half of a key.
        let beside = data_dir.join("master.key.new");
        let _ = std::fs::remove_file(&beside);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        std::fs::rename(&beside, &path).map_err(io)?;
        std::fs::File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_data_directory_keeps_its_key_and_shows_it_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(MasterKey::of_data_dir(dir.path(), false), Err(MasterKeyError::Lost { .. })));
        let first = MasterKey::of_data_dir(dir.path(), true).unwrap();
        assert_eq!(MasterKey::of_data_dir(dir.path(), false).unwrap().bytes(), first.bytes());
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(&hex::encode(first.bytes())));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            MasterKey::of_data_dir(dir.path(), true),
            Err(MasterKeyError::TooOpen { mode: 0o640, .. })
        ));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "abc", &"0".repeat(63), &"g".repeat(64), &"0".repeat(66)] {
            assert!(MasterKey::parse(text, "x").is_err(), "{text}");
        }
        assert!(MasterKey::parse(&("0".repeat(64) + "\n"), "x").is_ok());
    }
}
