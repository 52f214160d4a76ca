//! One version of a subject's key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kernel::Subject;
use zeroize::Zeroizing;

use super::wrap::{Cipher, OVERHEAD, Refused};

/// In front of every sealed field: the key's version, big-endian.
const VERSION_LEN: usize = 4;

/// One version of a subject's key, ready for use. Prints no secret.
#[derive(Debug)]
pub(crate) struct DataKey {
    pub(crate) subject: Subject,
    pub(crate) version: i32,
    cipher: Cipher,
    /// As it is stored.
    pub(crate) wrapped: Vec<u8>,
    pub(crate) wrapped_under: Arc<str>,
    /// False while its row is in no committed transaction: whoever seals under it brings the row along.
    durable: AtomicBool,
}

impl PartialEq for DataKey {
    fn eq(&self, other: &Self) -> bool {
        (self.subject, self.version, &self.wrapped) == (other.subject, other.version, &other.wrapped)
    }
}

impl DataKey {
    pub(super) fn new(
        subject: Subject,
        version: i32,
        bytes: &[u8],
        (wrapped, wrapped_under): (Vec<u8>, Arc<str>),
        durable: bool,
    ) -> Result<Self, Refused> {
        let cipher = Cipher::new(bytes)?;
        Ok(Self { subject, version, cipher, wrapped, wrapped_under, durable: AtomicBool::new(durable) })
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Acquire)
    }

    /// Its row was committed.
    pub(crate) fn became_durable(&self) {
        self.durable.store(true, Ordering::Release);
    }

    /// Goes on with version, nonce, ciphertext and tag, in base64. `bound_to` says where the text stands.
    pub(crate) fn seal(&self, bound_to: &[u8], text: &[u8], into: &mut String) -> Result<(), Refused> {
        let mut sealed = Vec::with_capacity(VERSION_LEN + text.len() + OVERHEAD);
        sealed.extend_from_slice(&self.version.to_be_bytes());
        self.cipher.seal(bound_to, text, &mut sealed)?;
        STANDARD_NO_PAD.encode_string(sealed, into);
        Ok(())
    }
}

/// All versions of a subject's key; the newest seals.
#[derive(Debug)]
pub(crate) struct SubjectKeys {
    /// Ascending, never empty.
    versions: Vec<Arc<DataKey>>,
}

impl SubjectKeys {
    /// `None` without any.
    pub(super) fn new(mut versions: Vec<Arc<DataKey>>) -> Option<Self> {
        versions.sort_by_key(|key| key.version);
        (!versions.is_empty()).then_some(Self { versions })
    }

    pub(crate) fn current(&self) -> &Arc<DataKey> {
        self.versions.last().expect("a subject's keys are never empty")
    }

    /// Opens what [`DataKey::seal`] made under one of the versions.
    pub(crate) fn open(&self, bound_to: &[u8], sealed: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| Refused)?;
        let (version, sealed) = sealed.split_first_chunk::<VERSION_LEN>().ok_or(Refused)?;
        let version = i32::from_be_bytes(*version);
        let key = self.versions.iter().rfind(|key| key.version == version).ok_or(Refused)?;
        key.cipher.open(bound_to, sealed)
    }

    pub(super) fn versions(&self) -> &[Arc<DataKey>] {
        &self.versions
    }
}
