//! Secrets that are shown once, `<prefix><id>_<secret>`, and stored hashed: API keys and personal access tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::values::SecretHash;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The random bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// How long they are in URL-safe base64.
const SECRET_CHARS: usize = 43;

/// A secret as its holder has it. Never shown in `Debug`.
#[derive(Clone)]
pub struct ShownSecret(Zeroizing<String>);

impl ShownSecret {
    pub fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(secret)))
    }

    /// Reads what a caller sent; `None` if it can't be one of ours.
    pub fn parse(prefix: &str, text: &str) -> Option<(Uuid, Self)> {
        let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        let fits = secret.len() == SECRET_CHARS
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !fits {
            return None;
        }
        Some((Uuid::try_parse(id).ok()?, Self(Zeroizing::new(secret.to_owned()))))
    }

    /// The whole, to be shown once.
    pub fn reveal(&self, prefix: &str, id: Uuid) -> Zeroizing<String> {
        Zeroizing::new(format!("{prefix}{}_{}", id.simple(), *self.0))
    }

    /// The first characters of the secret.
    pub fn beginning(&self, chars: usize) -> &str {
        &self.0[..chars.min(SECRET_CHARS)]
    }

    /// The SHA-256 of the secret: 256 random bits need no slower hash.
    pub fn hash(&self) -> SecretHash {
        hex::encode(Sha256::digest(self.0.as_bytes())).parse().expect("64 lower-case hex digits")
    }

    /// True if the stored hash is this secret's; takes the same time either way, and as long if there is none.
    pub fn matches(&self, hash: Option<&SecretHash>) -> bool {
        const NOBODYS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        let known = hash.map_or(NOBODYS, SecretHash::as_str);
        let same: bool = self.hash().as_str().as_bytes().ct_eq(known.as_bytes()).into();
        same & hash.is_some()
    }
}
