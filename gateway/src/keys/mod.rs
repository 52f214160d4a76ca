//! The deployment's keys. They live in the database, wrapped under the master key, which is a file or a variable.

mod store;

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use zeroize::Zeroizing;

use deadpool_postgres::Pool;
pub use engine::keyring::{Keyring, KeyringError, MasterKey, MasterKeyError, WrapError};
use engine::keyring::{TOMBSTONES_FILE, Tombstones};
use kernel::{Clock, Ids};
pub use store::{KeyError, KeyStore, NewKey, Rotation};

use workflows::Links;

use crate::settings::Store;
use crate::signing::SigningAlgorithm;
use crate::token::Tokens;

/// What a key is for. Part of the storage format: bound into the wrapped key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// PKCS#8, of whichever algorithm was chosen: signs access tokens.
    TokenSigning,
    /// Hashes claims; outlives every claim.
    ClaimHash,
    /// Derives secrets that a retry with the same `Idempotency-Key` must hear again.
    DerivedSecret,
    /// Signs the cursors of lists.
    Cursor,
}

impl Purpose {
    pub const ALL: &'static [Self] =
        &[Self::TokenSigning, Self::ClaimHash, Self::DerivedSecret, Self::Cursor];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenSigning => "token_signing",
            Self::ClaimHash => "claim_hash",
            Self::DerivedSecret => "derived_secret",
            Self::Cursor => "cursor",
        }
    }

    /// New key material; tokens are signed with `signing`.
    fn generate(self, signing: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match self {
            Self::TokenSigning => signing.generate(),
            Self::ClaimHash | Self::DerivedSecret | Self::Cursor => Ok(random::<32>()?.to_vec().into()),
        }
    }
}

/// The keys that the gateway itself uses.
#[derive(Clone)]
pub struct Keys {
    pub tokens: Arc<Tokens>,
    pub cursor: hmac::Key,
    derived: hmac::Key,
}

impl Keys {
    pub fn new(tokens: Arc<Tokens>, cursor: &[u8], derived: &[u8]) -> Self {
        let key = |bytes| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { tokens, cursor: key(cursor), derived: key(derived) }
    }

    /// What makes and reads the tokens of links that are mailed.
    pub fn links(&self) -> Links {
        Links::new(&self.derive_secret(&[b"links"]))
    }

    /// A key of its own for one use of the deployment's.
    pub fn of_use(&self, what: &str) -> Zeroizing<[u8; 32]> {
        self.derive_secret(&[b"use", what.as_bytes()])
    }

    /// A secret that is the same whenever the same command asks for the same thing, and known to nobody else.
    pub fn derive_secret(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.derived);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(context.sign().as_ref());
        secret
    }
}

/// The keys under which personal and confidential fields are sealed. Who is forgotten is written down in the data
/// directory, which whoever calls this has taken.
///
/// # Errors
/// The master key, the tables of keys, or the file of tombstones can't be used.
pub async fn keyring(
    store: &Store,
    pool: &Pool,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn Ids>,
) -> Result<Arc<Keyring>, KeyringError> {
    let tombstones = Tombstones::open(&store.data_dir().join(TOMBSTONES_FILE))?;
    let keyring =
        Keyring::open(pool.clone(), store.master_source(), clock.clone(), ids.clone(), true).await?;
    Ok(Arc::new(keyring.with_tombstones(tombstones)))
}

/// Random bytes from the operating system.
///
/// # Errors
/// It has none to give.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

/// A new RSA-2048 key, PKCS#8.
pub(crate) fn new_rsa_key() -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::NoRandomness)?;
    let der = key.as_der().map_err(|_| KeyError::NoRandomness)?;
    Ok(Zeroizing::new(der.as_ref().to_vec()))
}
