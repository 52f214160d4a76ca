//! AES-256-GCM with a random nonce in front: how keys are wrapped and fields are sealed.
//!
//! Nonces are 96 random bits; NIST SP 800-38D allows 2^32 messages under one key that way. A person or a tenant doesn't get
//! near it, a key-encryption key wraps one key per subject and is rotated.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rand::RngCore;
use zeroize::Zeroizing;

/// AES-256: 32 bytes.
pub(crate) const KEY_LEN: usize = 32;
/// What sealing adds: nonce and tag.
pub(crate) const OVERHEAD: usize = NONCE_LEN + 16;

/// A key ready for use. The library wipes it when it is dropped; it prints nothing.
pub(crate) struct Cipher(LessSafeKey);

/// It was not sealed like this, under this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Cipher {
    pub(crate) fn new(key: &[u8]) -> Result<Self, Refused> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Refused)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Appends nonce, ciphertext and tag to `out`.
    ///
    /// # Errors
    /// The text is too long for AES-GCM (64 GiB).
    pub(crate) fn seal(&self, bound_to: &[u8], text: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        let nonce = fresh_nonce();
        out.reserve(text.len() + OVERHEAD);
        out.extend_from_slice(&nonce);
        let body = out.len();
        out.extend_from_slice(text);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(bound_to), &mut out[body..]);
        out.extend_from_slice(sealed.map_err(|_| Refused)?.as_ref());
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

/// Bytes that were in no nonce before: of the thread's generator (ChaCha, seeded by the operating system), which is at
/// hand in a twentieth of the time that the library's own takes.
///
/// Each field that is sealed takes one. It need not be secret, but must never come twice; a copy that is made of a running
/// machine would draw the same again, so the time is laid over it: what is random stays so, and the two differ.
#[expect(clippy::disallowed_methods, reason = "not a time that anybody is told")]
fn fresh_nonce() -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    for (random, time) in nonce.iter_mut().zip(now.as_nanos().to_le_bytes()) {
        *random ^= time;
    }
    nonce
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
    }

    #[test]
    fn no_nonce_comes_twice_whichever_thread_draws_it() {
        let draw = || (0..10_000).map(|_| fresh_nonce()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        // Each of its bits is drawn.
        for bit in 0..NONCE_LEN * 8 {
            let set = all.iter().filter(|nonce| nonce[bit / 8] >> (bit % 8) & 1 == 1).count();
            assert!((all.len() * 9 / 20..all.len() * 11 / 20).contains(&set), "bit {bit} is set in {set}");
        }
    }

    #[test]
    fn a_key_is_32_bytes_and_prints_nothing() {
        assert!(Cipher::new(&[1; 31]).is_err());
        assert_eq!(format!("{:?}", Cipher::new(&[1; KEY_LEN]).unwrap()), "Cipher(…)");
    }
}
