//! AES-256-GCM with a random nonce in front: how keys are wrapped and fields are sealed.
//!
//! Nonces are 96 random bits from aws-lc-rs; NIST SP 800-38D allows 2^32 messages under one key that way. A person or
//! a tenant doesn't get near it, a key-encryption key wraps one key per subject and is rotated.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// AES-256: 32 bytes.
pub(crate) const KEY_LEN: usize = 32;
/// What sealing adds: nonce and tag.
pub(crate) const OVERHEAD: usize = NONCE_LEN + 16;

/// A key ready for use. The library wipes it when it is dropped; it prints nothing.
pub(crate) struct Cipher(RandomizedNonceKey);

/// It was not sealed like this, under this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Cipher {
    pub(crate) fn new(key: &[u8]) -> Result<Self, Refused> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(|_| Refused)
    }

    /// Appends nonce, ciphertext and tag to `out`.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub(crate) fn seal(&self, bound_to: &[u8], text: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        let nonce_at = out.len();
        out.reserve(text.len() + OVERHEAD);
        out.extend_from_slice(&[0; NONCE_LEN]);
        out.extend_from_slice(text);
        let (head, body) = out.split_at_mut(nonce_at + NONCE_LEN);
        let (nonce, tag) =
            self.0.seal_in_place_separate_tag(Aad::from(bound_to), body).map_err(|_| Refused)?;
        head[nonce_at..].copy_from_slice(nonce.as_ref());
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// # Errors
    /// [`Refused`]
    pub(crate) fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(Refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Refused)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let length = self.0.open_in_place(nonce, Aad::from(bound_to), &mut text).map_err(|_| Refused)?.len();
        text.truncate(length);
        Ok(text)
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(…)")
    }
}

/// Random bytes from the operating system.
///
/// # Errors
/// It has none to give.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Refused> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| Refused)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NFR-SEC-002
    #[test]
    fn what_is_sealed_opens_under_its_key_for_its_place_only() {
        let (ours, other) = (Cipher::new(&[1; 32]).unwrap(), Cipher::new(&[2; 32]).unwrap());
        let mut sealed = Vec::new();
        ours.seal(b"here", b"ann@example.org", &mut sealed).unwrap();
        assert!(!sealed.windows(3).any(|window| window == b"ann"));
        assert_eq!(*ours.open(b"here", &sealed).unwrap(), b"ann@example.org");
        assert!(other.open(b"here", &sealed).is_err());
        assert!(ours.open(b"there", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ours.open(b"here", &changed).is_err(), "{at}");
        }
        assert!(ours.open(b"here", &sealed[..5]).is_err());
        let mut again = Vec::new();
        ours.seal(b"here", b"ann@example.org", &mut again).unwrap();
        assert_ne!(sealed, again, "no nonce twice");
    }

    #[test]
    fn a_key_is_32_bytes_and_prints_nothing() {
        assert!(Cipher::new(&[1; 31]).is_err());
        assert_eq!(format!("{:?}", Cipher::new(&[1; KEY_LEN]).unwrap()), "Cipher(…)");
    }
}
