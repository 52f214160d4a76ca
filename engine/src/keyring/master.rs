//! The master key: the one secret outside the database. Whoever has it and the database has everything.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::wrap::{Cipher, KEY_LEN, random};

/// Where the key lies in a data directory, unless a variable says otherwise.
pub const FILE: &str = "master.key";
/// The variable that holds the key itself.
pub const VARIABLE: &str = "TENANTRY_MASTER_KEY";

/// AES-256: 32 bytes. While it is rotated, the former one beside it opens what is not wrapped anew yet.
pub struct MasterKey {
    current: Zeroizing<[u8; KEY_LEN]>,
    former: Option<Zeroizing<[u8; KEY_LEN]>>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The master key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error(
        "{from} does not hold a master key: 64 hex digits are expected, such as from `openssl rand -hex 32`, and on a \
         second line the former key while it is rotated"
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

/// The master key doesn't open it, or it was changed.
#[derive(Debug, thiserror::Error)]
#[error("the master key does not open the key {kid} ({purpose}): it is not the one that was used before")]
pub struct WrapError {
    pub kid: String,
    pub purpose: String,
}

fn bound(kid: &str, purpose: &str) -> Vec<u8> {
    // A key id holds no NUL.
    [b"tenantry key\0", kid.as_bytes(), b"\0", purpose.as_bytes()].concat()
}

impl MasterKey {
    /// Wraps a key of the deployment: nonce, ciphertext and tag, bound to key id and purpose, so that no row can stand
    /// in for another.
    ///
    /// # Errors
    /// The operating system gives no nonce.
    pub fn wrap(&self, kid: &str, purpose: &str, bytes: &[u8]) -> Result<Vec<u8>, WrapError> {
        let mut wrapped = Vec::new();
        Cipher::new(&*self.current)
            .and_then(|cipher| cipher.seal(&bound(kid, purpose), bytes, &mut wrapped))
            .map_err(|_| WrapError { kid: kid.to_owned(), purpose: purpose.to_owned() })?;
        Ok(wrapped)
    }

    /// # Errors
    /// [`WrapError`]
    pub fn unwrap_key(
        &self,
        kid: &str,
        purpose: &str,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let mut keys = std::iter::once(&self.current).chain(&self.former);
        keys.find_map(|key| Cipher::new(&**key).ok()?.open(&bound(kid, purpose), wrapped).ok())
            .ok_or_else(|| WrapError { kid: kid.to_owned(), purpose: purpose.to_owned() })
    }

    pub(super) fn has_former(&self) -> bool {
        self.former.is_some()
    }

    pub(super) fn followed_by(self, current: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self { current, former: Some(self.current) }
    }

    pub(super) fn without_former(self) -> Self {
        Self { former: None, ..self }
    }

    /// From 64 hex digits; a second line holds the former key while it is rotated. `from` is what an error names.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`]
    pub fn parse(text: &str, from: &str) -> Result<Self, MasterKeyError> {
        let key = |line: &str| {
            let mut key = Zeroizing::new([0; KEY_LEN]);
            hex::decode_to_slice(line.trim(), &mut *key)
                .map(|()| key)
                .map_err(|_| MasterKeyError::Malformed { from: from.to_owned() })
        };
        let mut lines = text.trim().lines();
        let current = key(lines.next().unwrap_or_default())?;
        let former = lines.next().map(key).transpose()?;
        if lines.next().is_some() {
            return Err(MasterKeyError::Malformed { from: from.to_owned() });
        }
        Ok(Self { current, former })
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
        let current = random::<KEY_LEN>().map_err(|_| MasterKeyError::NoRandomness)?;
        let key = Self { current, former: None };
        key.write(&path)?;
        Ok(key)
    }

    /// Where a deployment has its master key: the variable [`VARIABLE`], else the file, else the data directory's own.
    /// `may_make`: that is made if there is none, which is right only while nothing was wrapped with it.
    ///
    /// # Errors
    /// [`MasterKeyError`]
    pub fn find(file: Option<&Path>, data_dir: &Path, may_make: bool) -> Result<Self, MasterKeyError> {
        match std::env::var(VARIABLE).map(Zeroizing::new) {
            Ok(key) if !key.is_empty() => Self::parse(&key, VARIABLE),
            _ => match file {
                Some(path) => Self::read(path),
                None => Self::of_data_dir(data_dir, may_make),
            },
        }
    }

    /// Replaces the file as a whole: written beside and moved, so that a crash leaves no half of a key.
    pub(super) fn write(&self, path: &Path) -> Result<(), MasterKeyError> {
        let io = |source| MasterKeyError::Io { path: path.to_owned(), source };
        let lines = std::iter::once(&self.current).chain(&self.former);
        let text = Zeroizing::new(lines.map(|key| hex::encode(**key) + "\n").collect::<String>());
        let beside = path.with_extension("key.new");
        let _ = std::fs::remove_file(&beside);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        std::fs::rename(&beside, path).map_err(io)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        std::fs::File::open(directory).and_then(|dir| dir.sync_all()).map_err(io)
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
        assert_eq!(*MasterKey::of_data_dir(dir.path(), false).unwrap().current, *first.current);
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(&hex::encode(*first.current)));
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
        let line = "0".repeat(64) + "\n";
        assert!(MasterKey::parse(&line, "x").is_ok());
        assert!(MasterKey::parse(&line.repeat(2), "x").unwrap().has_former());
        assert!(MasterKey::parse(&line.repeat(3), "x").is_err());
    }

    fn master(digit: &str) -> MasterKey {
        MasterKey::parse(&digit.repeat(64), "test").unwrap()
    }

    #[test]
    fn a_key_opens_for_its_master_id_and_purpose_only() {
        let wrapped = master("1").wrap("k", "cursor", b"secret").unwrap();
        assert_eq!(*master("1").unwrap_key("k", "cursor", &wrapped).unwrap(), b"secret");
        assert!(master("2").unwrap_key("k", "cursor", &wrapped).is_err());
        assert!(master("1").unwrap_key("l", "cursor", &wrapped).is_err());
        assert!(master("1").unwrap_key("k", "claim_hash", &wrapped).is_err());
        assert!(master("1").unwrap_key("k", "cursor", &wrapped[..5]).is_err());
    }

    /// NFR-SEC-004
    #[test]
    fn while_a_master_key_is_rotated_the_former_opens_too_and_only_the_new_one_wraps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let old = master("1");
        let wrapped = old.wrap("k", "cursor", b"secret").unwrap();
        old.followed_by(Zeroizing::new([2; KEY_LEN])).write(&path).unwrap();
        let both = MasterKey::read(&path).unwrap();
        assert_eq!(*both.unwrap_key("k", "cursor", &wrapped).unwrap(), b"secret");
        let anew = both.wrap("k", "cursor", b"secret").unwrap();
        assert!(master("1").unwrap_key("k", "cursor", &anew).is_err());
        both.without_former().write(&path).unwrap();
        let new = MasterKey::read(&path).unwrap();
        assert_eq!(*new.unwrap_key("k", "cursor", &anew).unwrap(), b"secret");
        assert!(new.unwrap_key("k", "cursor", &wrapped).is_err());
    }
}
