//! API keys: `tk_<key id>_<secret>`. The secret is shown once and stored hashed (FR-SYS-002).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::KeyId;
use schemas::values::{KeyPrefix, SecretHash};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What every key begins with, so that scanners for leaked secrets know it.
pub const PREFIX: &str = "tk_";
/// The random bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// How many of a secret's characters are kept to tell keys apart.
const SHOWN_CHARS: usize = 6;

/// A key as its holder has it.
#[derive(Clone)]
pub struct ApiKey {
    pub id: KeyId,
    secret: Zeroizing<String>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}, …)", self.id)
    }
}

impl ApiKey {
    /// A new key of a secret's bytes.
    pub fn new(id: KeyId, secret: &[u8; SECRET_BYTES]) -> Self {
        Self { id, secret: Zeroizing::new(URL_SAFE_NO_PAD.encode(secret)) }
    }

    /// Reads what a caller sent; `None` if it can't be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        let fits = secret.len() == 43
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| {
            Some(Self { id: KeyId(Uuid::try_parse(id).ok()?), secret: Zeroizing::new(secret.to_owned()) })
        })?
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}_{}", self.id.0.simple(), *self.secret))
    }

    /// The SHA-256 of the secret: 256 random bits need no slower hash.
    pub fn hash(&self) -> SecretHash {
        hex::encode(Sha256::digest(self.secret.as_bytes())).parse().expect("64 lower-case hex digits")
    }

    /// The first characters of the secret.
    pub fn prefix(&self) -> KeyPrefix {
        self.secret[..SHOWN_CHARS].parse().expect("URL-safe base64 is made of a prefix's characters")
    }

    /// True if the stored hash is this key's; takes the same time either way.
    pub fn matches(&self, hash: &SecretHash) -> bool {
        self.hash().as_str().as_bytes().ct_eq(hash.as_str().as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// FR-SYS-002
        #[test]
        fn a_key_survives_the_wire_and_opens_only_itself(id: u128, secret: [u8; 32], other: [u8; 32]) {
            let key = ApiKey::new(KeyId(Uuid::from_u128(id)), &secret);
            let read = ApiKey::parse(&key.reveal()).unwrap();
            prop_assert_eq!(read.id, key.id);
            prop_assert!(read.matches(&key.hash()));
            prop_assert!(key.reveal().contains(key.prefix().as_str()));
            let stranger = ApiKey::new(key.id, &other);
            prop_assert_eq!(stranger.matches(&key.hash()), other == secret);
        }

        #[test]
        fn no_text_breaks_the_parser(text in ".{0,100}") {
            let _ = ApiKey::parse(&text);
            let _ = ApiKey::parse(&format!("tk_{text}"));
        }
    }

    /// CC-SEC-003
    #[test]
    fn neither_the_stored_nor_the_logged_form_holds_the_secret() {
        let key = ApiKey::new(KeyId(Uuid::from_u128(7)), &[9; 32]);
        let secret = key.reveal().rsplit_once('_').unwrap().1.to_owned();
        assert!(!format!("{key:?}").contains(&secret));
        assert!(!key.hash().as_str().contains(&secret));
    }
}
