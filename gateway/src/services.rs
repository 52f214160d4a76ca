//! Internal services: each signs its own short tokens with its own key, and we know the public ones only, so that there is
//! no secret to share (REQUIREMENTS §2, §3).
//!
//! A token is a JWT of type `JWT`; `at+jwt` is our access tokens' alone, so that neither passes as the other. Which key, says
//! its `kid`; by which algorithm, says the key.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{DecodingKey, Validation};
use kernel::{Actor, ActorKind};
use schemas::values::Permission;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::signing::SigningAlgorithm;
use crate::token::{SKEW_S, TOKEN_BYTES_MAX, TokenError};

/// The longest life of a service's token, in seconds.
pub const TTL_MAX_S: i64 = 5 * 60;
/// What the actor's id of a service begins with; its name follows.
pub const ACTOR_PREFIX: &str = "service:";
/// RFC 7519 §5.1
const TYPE: &str = "JWT";
/// The longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 128;
/// The longest name of a service and id of a key, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The shortest RSA key, in bits (RFC 7518 §3.3).
const RSA_BITS_MIN: usize = 2048;
/// What a JWK has that is private or shared (RFC 7518 §6): it is nobody's but the service's.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A service that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    /// What policies may ask for, such as `access:read`.
    pub scopes: Vec<String>,
}

impl Service {
    /// As the audit trail names it.
    pub fn actor(&self) -> Actor {
        Actor { kind: ActorKind::System, id: format!("{ACTOR_PREFIX}{}", self.name) }
    }
}

/// The services that are known, and their public keys. Read once, at the start.
#[derive(Default)]
pub struct Services {
    /// The deployment's issuer URL.
    audience: String,
    by_kid: HashMap<String, Known>,
}

struct Known {
    service: Arc<Service>,
    algorithm: SigningAlgorithm,
    key: DecodingKey,
    validation: Validation,
}

/// Why a file of service keys is not taken. Nothing of the file's contents is in it but names: a private key may stand there
/// by mistake.
#[derive(Debug, thiserror::Error)]
pub enum ServiceKeysError {
    #[error("the service keys {} can't be read", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error(
        "the service keys are not {{\"services\": [{{\"name\", \"scopes\", \"keys\"}}]}} in JSON (line {line}, column {column})"
    )]
    Malformed { line: usize, column: usize },
    #[error("service {number} has no name of 1 to 64 of a-z, 0-9, _ and -")]
    Name { number: usize },
    #[error("the service {0} is there twice")]
    NameTwice(String),
    #[error("scope {number} of the service {service} is not a resource and an action, such as access:read")]
    Scope { service: String, number: usize },
    #[error("the service {0} has no key")]
    NoKey(String),
    #[error("key {number} of the service {service}: {problem}")]
    Key { service: String, number: usize, problem: KeyProblem },
}

/// What is wrong with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error(
        "it holds private or shared key material, which nobody but the service may have: replace the key"
    )]
    Private,
    #[error("it has no kid of 1 to 64 printable characters")]
    Kid,
    #[error("its kid is another key's too")]
    KidTwice,
    #[error("it is of no known algorithm: RSA (RS256), EC on P-256 (ES256) or OKP on Ed25519 (EdDSA)")]
    Algorithm,
    #[error("its alg is not that of its kty and crv")]
    OtherAlgorithm,
    #[error("its use is not sig")]
    Use,
    #[error(
        "a member that its algorithm needs is missing, malformed or of the wrong length; RSA has at least 2048 bits"
    )]
    Members,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    keys: Vec<Map<String, Value>>,
}

/// What a service's token says (RFC 7519).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    /// One, and no list: what is for somebody else too, they could pass on.
    aud: String,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    jti: String,
}

impl Services {
    /// Reads a file. `audience`: the deployment's issuer URL.
    ///
    /// # Errors
    /// [`ServiceKeysError`]
    pub fn read(path: &Path, audience: &str) -> Result<Self, ServiceKeysError> {
        let unreadable = |error| ServiceKeysError::Unreadable(path.to_owned(), error);
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?, audience)
    }

    /// # Errors
    /// [`ServiceKeysError`]
    pub fn parse(text: &str, audience: &str) -> Result<Self, ServiceKeysError> {
        let File { services } = serde_json::from_str(text)
            .map_err(|error| ServiceKeysError::Malformed { line: error.line(), column: error.column() })?;
        let mut known = Self { audience: audience.to_owned(), by_kid: HashMap::new() };
        let mut names = BTreeSet::new();
        for (number, Listed { name, scopes, keys }) in (1..).zip(services) {
            if !is_name(&name) {
                return Err(ServiceKeysError::Name { number });
            }
            if !names.insert(name.clone()) {
                return Err(ServiceKeysError::NameTwice(name));
            }
            if let Some(wrong) = scopes.iter().position(|scope| !is_scope(scope)) {
                return Err(ServiceKeysError::Scope { service: name, number: wrong + 1 });
            }
            if keys.is_empty() {
                return Err(ServiceKeysError::NoKey(name));
            }
            let service = Arc::new(Service { name, scopes });
            for (number, jwk) in (1..).zip(keys) {
                known.add(&service, &jwk).map_err(|problem| ServiceKeysError::Key {
                    service: service.name.clone(),
                    number,
                    problem,
                })?;
            }
        }
        Ok(known)
    }

    fn add(&mut self, service: &Arc<Service>, jwk: &Map<String, Value>) -> Result<(), KeyProblem> {
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return Err(KeyProblem::Private);
        }
        let kid = text(jwk, "kid").filter(|kid| {
            (1..=NAME_BYTES_MAX).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let kid = kid.ok_or(KeyProblem::Kid)?;
        if self.by_kid.contains_key(kid) {
            return Err(KeyProblem::KidTwice);
        }
        if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
            return Err(KeyProblem::Use);
        }
        let algorithm = match (text(jwk, "kty"), text(jwk, "crv")) {
            (Some("RSA"), None) => SigningAlgorithm::Rs256,
            (Some("EC"), Some("P-256")) => SigningAlgorithm::Es256,
            (Some("OKP"), Some("Ed25519")) => SigningAlgorithm::EdDsa,
            _ => return Err(KeyProblem::Algorithm),
        };
        if jwk.get("alg").is_some_and(|named| named != algorithm.as_str()) {
            return Err(KeyProblem::OtherAlgorithm);
        }
        let key = decoding_key(algorithm, jwk).ok_or(KeyProblem::Members)?;
        let mut validation = Validation::new(algorithm.jwt());
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&service.name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The times are compared with our own clock, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let known = Known { service: service.clone(), algorithm, key, validation };
        self.by_kid.insert(kid.to_owned(), known);
        Ok(())
    }

    /// Who signed a token, if one of the services that are known did, for us and within its time.
    ///
    /// # Errors
    /// [`TokenError::Invalid`], whatever is wrong with it.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<&Service, TokenError> {
        if self.by_kid.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        // What must be understood and isn't refuses (RFC 7515 §4.1.11).
        if header.typ.as_deref() != Some(TYPE) || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let known = header.kid.and_then(|kid| self.by_kid.get(&kid)).ok_or(TokenError::Invalid)?;
        if header.alg != known.algorithm.jwt() {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &known.key, &known.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let name = &known.service.name;
        let named = claims.iss == *name && claims.sub == *name && claims.aud == self.audience;
        let now = now.timestamp();
        let latest = now + SKEW_S;
        let begun = claims.iat <= latest && claims.nbf.is_none_or(|begin| begin <= latest);
        let short = (1..=TTL_MAX_S).contains(&claims.exp.saturating_sub(claims.iat));
        let unique = (1..=JTI_BYTES_MAX).contains(&claims.jti.len());
        if named && begun && short && unique && now < claims.exp {
            Ok(&known.service)
        } else {
            Err(TokenError::Invalid)
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

/// The same form as a permission's, without wildcards: policies ask for exactly one.
fn is_scope(scope: &str) -> bool {
    scope.parse::<Permission>().is_ok_and(|read| read.as_str() == scope && !scope.contains('*'))
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member).and_then(Value::as_str)
}

/// The public key that a JWK's members make; `None`: they make none.
fn decoding_key(algorithm: SigningAlgorithm, jwk: &Map<String, Value>) -> Option<DecodingKey> {
    let bytes = |member| URL_SAFE_NO_PAD.decode(text(jwk, member)?).ok();
    // Coordinates and keys on both curves have 32 bytes.
    let coordinate = |member| {
        let bytes: Option<Vec<u8>> = bytes(member);
        bytes.filter(|bytes| bytes.len() == 32).and_then(|_| text(jwk, member))
    };
    match algorithm {
        SigningAlgorithm::Rs256 => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let unused = zeros * 8 + modulus.get(zeros)?.leading_zeros() as usize;
            let long = modulus.len() * 8 - unused >= RSA_BITS_MIN;
            let fits = long && !exponent.is_empty();
            fits.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        SigningAlgorithm::Es256 => DecodingKey::from_ec_components(coordinate("x")?, coordinate("y")?).ok(),
        SigningAlgorithm::EdDsa => DecodingKey::from_ed_components(coordinate("x")?).ok(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
