//! Keys under the master key: AES-256-GCM, bound to key id and purpose, so that no row can stand in for another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::{MasterKey, Purpose};

/// A key out of its wrapping.
pub struct Unwrapped {
    pub kid: String,
    pub purpose: Purpose,
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The master key doesn't open it, or it was changed.
#[derive(Debug, thiserror::Error)]
#[error("the master key does not open the key {kid} ({purpose}): it is not the one that was used before")]
pub struct WrapError {
    pub kid: String,
    pub purpose: &'static str,
}

fn aad(kid: &str, purpose: Purpose) -> Vec<u8> {
    // A key id holds no NUL.
    [b"tenantry key\0", kid.as_bytes(), b"\0", purpose.as_str().as_bytes()].concat()
}

impl MasterKey {
    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, self.bytes()).expect("a master key has 32 bytes")
    }

    /// Nonce, ciphertext and tag.
    ///
    /// # Errors
    /// The operating system gives no nonce.
    pub fn wrap(&self, kid: &str, purpose: Purpose, bytes: &[u8]) -> Result<Vec<u8>, WrapError> {
        let mut sealed = bytes.to_vec();
        let nonce = self
            .cipher()
            .seal_in_place_append_tag(Aad::from(aad(kid, purpose)), &mut sealed)
            .map_err(|_| WrapError { kid: kid.to_owned(), purpose: purpose.as_str() })?;
        let mut wrapped = nonce.as_ref().to_vec();
        wrapped.extend_from_slice(&sealed);
        Ok(wrapped)
    }

    /// # Errors
    /// [`WrapError`]
    pub fn unwrap_key(&self, kid: &str, purpose: Purpose, wrapped: &[u8]) -> Result<Unwrapped, WrapError> {
        let refused = || WrapError { kid: kid.to_owned(), purpose: purpose.as_str() };
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let length = self
            .cipher()
            .open_in_place(nonce, Aad::from(aad(kid, purpose)), &mut bytes)
            .map_err(|_| refused())?
            .len();
        bytes.truncate(length);
        Ok(Unwrapped { kid: kid.to_owned(), purpose, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(digit: &str) -> MasterKey {
        MasterKey::parse(&digit.repeat(64), "test").unwrap()
    }

    #[test]
    fn a_key_comes_out_as_it_went_in() {
        let wrapped = master("1").wrap("k", Purpose::Cursor, b"secret").unwrap();
        assert!(!wrapped.windows(6).any(|window| window == b"secret"));
        assert_eq!(*master("1").unwrap_key("k", Purpose::Cursor, &wrapped).unwrap().bytes, b"secret");
        assert_ne!(wrapped, master("1").wrap("k", Purpose::Cursor, b"secret").unwrap());
    }

    #[test]
    fn a_key_opens_for_its_master_id_and_purpose_only() {
        let wrapped = master("1").wrap("k", Purpose::Cursor, b"secret").unwrap();
        assert!(master("2").unwrap_key("k", Purpose::Cursor, &wrapped).is_err());
        assert!(master("1").unwrap_key("l", Purpose::Cursor, &wrapped).is_err());
        assert!(master("1").unwrap_key("k", Purpose::ClaimHash, &wrapped).is_err());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(master("1").unwrap_key("k", Purpose::Cursor, &changed).is_err(), "{at}");
        }
        assert!(master("1").unwrap_key("k", Purpose::Cursor, &wrapped[..5]).is_err());
    }
}
