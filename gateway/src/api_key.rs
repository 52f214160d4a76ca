//! API keys: `tk_<key id>_<secret>`. The secret is shown once and stored hashed (FR-SYS-002).

use kernel::KeyId;
use schemas::values::{KeyPrefix, SecretHash};
use zeroize::Zeroizing;

pub use crate::shown_secret::SECRET_BYTES;
use crate::shown_secret::ShownSecret;

/// What every key begins with, so that scanners for leaked secrets know it.
pub const PREFIX: &str = "tk_";
/// How many of a secret's characters are kept to tell keys apart.
const SHOWN_CHARS: usize = 6;

/// A key as its holder has it.
#[derive(Clone)]
pub struct ApiKey {
    pub id: KeyId,
    secret: ShownSecret,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}, …)", self.id)
    }
}

impl ApiKey {
    /// A new key of a secret's bytes.
    pub fn new(id: KeyId, secret: &[u8; SECRET_BYTES]) -> Self {
        Self { id, secret: ShownSecret::new(secret) }
    }

    /// Reads what a caller sent; `None` if it can't be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = ShownSecret::parse(PREFIX, text)?;
        Some(Self { id: KeyId(id), secret })
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        self.secret.reveal(PREFIX, self.id.0)
    }

    /// What of the secret is stored.
    pub fn hash(&self) -> SecretHash {
        self.secret.hash()
    }

    /// The first characters of the secret.
    pub fn prefix(&self) -> KeyPrefix {
        let shown = self.secret.beginning(SHOWN_CHARS);
        shown.parse().expect("URL-safe base64 is made of a prefix's characters")
    }

    /// True if the stored hash is this key's; takes the same time either way, and as long if there is none.
    pub fn matches(&self, hash: Option<&SecretHash>) -> bool {
        self.secret.matches(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    proptest! {
        /// FR-SYS-002
        #[test]
        fn a_key_survives_the_wire_and_opens_only_itself(id: u128, secret: [u8; 32], other: [u8; 32]) {
            let key = ApiKey::new(KeyId(Uuid::from_u128(id)), &secret);
            let read = ApiKey::parse(&key.reveal()).unwrap();
            prop_assert_eq!(read.id, key.id);
            prop_assert!(read.matches(Some(&key.hash())));
            prop_assert!(key.reveal().contains(key.prefix().as_str()));
            let stranger = ApiKey::new(key.id, &other);
            prop_assert_eq!(stranger.matches(Some(&key.hash())), other == secret);
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
