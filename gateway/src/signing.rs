//! What access tokens are signed with.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use clap::ValueEnum;
use jsonwebtoken::{Algorithm, EncodingKey};
use zeroize::Zeroizing;

use crate::keys::{KeyError, new_rsa_key};

/// The algorithms that a deployment may choose from (RFC 7518 §3.1, RFC 8037). To sign with RS256 takes ten times as long as with
/// ES256, and longer yet than with EdDSA; whatever can't verify the latter two has RS256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum SigningAlgorithm {
    /// RSA-2048, PKCS #1 v1.5 with SHA-256.
    #[default]
    #[value(name = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[value(name = "ES256")]
    Es256,
    /// Ed25519.
    #[value(name = "EdDSA")]
    EdDsa,
}

/// `AlgorithmIdentifier`s in DER, as they stand at the beginning of a PKCS #8 key.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// Where they may stand: behind two lengths and a version.
const WITHIN_BYTES: usize = 40;

impl SigningAlgorithm {
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// As the `alg` of a token calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub const fn jwt(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }

    /// What a key in PKCS #8 is for; `None`: nothing of ours.
    pub fn of(pkcs8: &[u8]) -> Option<Self> {
        let head = &pkcs8[..pkcs8.len().min(WITHIN_BYTES)];
        let holds = |identifier: &[u8]| head.windows(identifier.len()).any(|window| window == identifier);
        [(RSA, Self::Rs256), (P256, Self::Es256), (ED25519, Self::EdDsa)]
            .into_iter()
            .find_map(|(identifier, algorithm)| holds(identifier).then_some(algorithm))
    }

    /// A new key, PKCS #8.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn generate(self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let random = SystemRandom::new();
        let no_randomness = |_| KeyError::NoRandomness;
        let document = match self {
            Self::Rs256 => return new_rsa_key(),
            Self::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
            // Version 1, of the seed alone: what has the public key beside it is longer than a JWT library expects.
            Self::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random),
        };
        Ok(Zeroizing::new(document.map_err(no_randomness)?.as_ref().to_vec()))
    }

    pub(crate) fn encoding_key(self, pem: &[u8]) -> Result<EncodingKey, jsonwebtoken::errors::Error> {
        match self {
            Self::Rs256 => EncodingKey::from_rsa_pem(pem),
            Self::Es256 => EncodingKey::from_ec_pem(pem),
            Self::EdDsa => EncodingKey::from_ed_pem(pem),
        }
    }
}

/// A private key, read once: to read an RSA key, which checks it too, takes longer than to sign with it.
pub(crate) enum SigningKey {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    /// `None`: it is no PKCS #8 key of a [`SigningAlgorithm`].
    pub fn read(pkcs8: &[u8]) -> Option<Self> {
        match SigningAlgorithm::of(pkcs8)? {
            SigningAlgorithm::Rs256 => RsaKeyPair::from_pkcs8(pkcs8).ok().map(Self::Rs256),
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok().map(Self::Es256)
            }
            SigningAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(Self::EdDsa),
        }
    }

    /// A signature as a JWS carries it (RFC 7518 §3.3 and §3.4, RFC 8037 §3.1); `None`: the library refuses.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
            Self::Es256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Self::EdDsa(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_is_for() {
        for algorithm in SigningAlgorithm::ALL {
            let key = algorithm.generate().unwrap();
            assert_eq!(SigningAlgorithm::of(&key), Some(algorithm));
            assert_ne!(*key, *algorithm.generate().unwrap(), "each is another");
        }
        for nothing in [&[][..], &[0x30; 100]] {
            assert_eq!(SigningAlgorithm::of(nothing), None);
        }
    }
}
