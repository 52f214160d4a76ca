//! Access tokens: JWT, RS256 unless the deployment chose otherwise, at most 15 minutes (REQUIREMENTS §3).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Header, Validation};
use kernel::{Position, TenantId};
use moka::sync::Cache;
use schemas::values::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::signing::{SigningAlgorithm, SigningKey};
use crate::telemetry;

/// The longest life of a token.
pub const TTL_MAX: Duration = Duration::from_secs(15 * 60);
/// Who tokens are for.
pub const AUDIENCE: &str = "tenantry";
/// The longest token that is looked at, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How many tokens are remembered as verified, some hundred bytes each.
const VERIFIED_MAX: u64 = 10_000;
/// RFC 9068: tells access tokens from whatever else the same keys may sign.
const TYPE: &str = "at+jwt";
/// How far the clocks of two nodes may differ: a token may be used this much before it begins.
pub(crate) const SKEW_S: i64 = 5;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// Who it is about: a person's id, or `local:<uid>` for one issued through the local socket.
    pub sub: String,
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    /// The session.
    pub sid: Uuid,
    /// The tenant, if it is limited to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<TenantId>,
    /// The token's version: where in the journal its session begins. Whatever ends sessions, and stands after it, ends
    /// this one.
    pub ver: u64,
    /// The role in the tenant, or of the platform. A person's token that is good for several tenants has none: the
    /// membership in the tenant that `x-org` picks says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When its holder last proved who they are (RFC 9068 §2.2.1).
    pub auth_time: i64,
    /// How they did (RFC 8176): `pwd`, `otp`, `mfa`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    pub jti: Uuid,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not valid")]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

/// A token can't be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("there is no signing key")]
    NoKey,
    #[error("the key {0} is of no algorithm that tokens are signed with")]
    UnknownKey(String),
    #[error("the key can't be published")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    #[error("the token can't be written down")]
    Json(#[from] serde_json::Error),
    #[error("the key does not sign")]
    Refused,
}

/// A key as it is used. The newest signs; older ones verify until what they signed has lapsed.
pub struct TokenKey {
    pub kid: String,
    pub private_pkcs8: zeroize::Zeroizing<Vec<u8>>,
    /// `None`: it signs. Else until when it verifies.
    pub verifies_until: Option<DateTime<Utc>>,
}

struct Keys {
    /// What they were made of, to know when they are others.
    made_of: Vec<(String, Fingerprint, Option<DateTime<Utc>>)>,
    signing: Option<Signing>,
    /// Decoding keys are made once, not for each token.
    verifying: HashMap<String, Verifying>,
    jwks: Vec<(Jwk, Option<DateTime<Utc>>)>,
    /// Tokens whose signature was verified, by their hash. It ends with the keys that verified them.
    verified: Cache<Fingerprint, Arc<Verified>>,
}

/// SHA-256 of a token or a key: who finds it in memory has no credentials.
type Fingerprint = [u8; 32];

fn fingerprint(of: &[u8]) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(digest(&SHA256, of).as_ref());
    fingerprint
}

/// What is the same each time that a token is looked at. What isn't, is looked at each time.
struct Verified {
    claims: Claims,
    /// Until when its key verifies.
    until: Option<DateTime<Utc>>,
}

impl Verified {
    fn at(&self, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        let Self { claims, until } = self;
        if until.is_some_and(|until| until <= now) {
            return Err(TokenError::Invalid);
        }
        let now = now.timestamp();
        let lives_s = claims.exp.saturating_sub(claims.iat);
        if claims.nbf > now + SKEW_S || lives_s > TTL_MAX.as_secs() as i64 {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(claims.clone())
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            made_of: Vec::new(),
            signing: None,
            verifying: HashMap::new(),
            jwks: Vec::new(),
            verified: Cache::builder().max_capacity(VERIFIED_MAX).time_to_live(TTL_MAX).build(),
        }
    }
}

struct Signing {
    key: SigningKey,
    /// What every token of the key begins with (RFC 7515 §7.1).
    header: String,
}

struct Verifying {
    key: DecodingKey,
    algorithm: SigningAlgorithm,
    /// Of this algorithm and no other: what a token says of itself is not believed.
    validation: Validation,
    until: Option<DateTime<Utc>>,
}

/// Signs and verifies access tokens.
pub struct Tokens {
    issuer: String,
    keys: RwLock<Arc<Keys>>,
}

/// What a new token is to say.
#[derive(Clone, Debug)]
pub struct Grant {
    pub subject: String,
    pub session: Uuid,
    pub token_id: Uuid,
    pub tenant: Option<TenantId>,
    pub role: Option<Role>,
    pub scopes: Vec<String>,
    /// Where in the journal the session begins.
    pub began_at: Position,
    /// When its holder proved who they are, and how.
    pub authenticated_at: DateTime<Utc>,
    pub methods: Vec<String>,
    /// Longer than [`TTL_MAX`] is cut.
    pub ttl: Duration,
}

impl Tokens {
    pub fn new(issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), keys: RwLock::default() }
    }

    fn validation(&self, algorithm: SigningAlgorithm) -> Validation {
        let mut validation = Validation::new(algorithm.jwt());
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[&self.issuer]);
        // aud and iss are only looked at when they are there: require them.
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.leeway = 0;
        // The times are compared with our own clock, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Takes another set of keys. If it is the same, what was verified by it stays known.
    ///
    /// # Errors
    /// A key is none in PKCS#8 of a [`SigningAlgorithm`]; then the former set stays.
    pub fn replace(&self, keys: &[TokenKey]) -> Result<(), SigningError> {
        let of = |key: &TokenKey| (key.kid.clone(), fingerprint(&key.private_pkcs8), key.verifies_until);
        let made_of: Vec<_> = keys.iter().map(of).collect();
        if self.keys().made_of == made_of {
            return Ok(());
        }
        let mut next = Keys { made_of, ..Keys::default() };
        for key in keys {
            let algorithm = SigningAlgorithm::of(&key.private_pkcs8)
                .ok_or_else(|| SigningError::UnknownKey(key.kid.clone()))?;
            let encoding = algorithm.encoding_key(&pem(&key.private_pkcs8))?;
            let mut jwk = Jwk::from_encoding_key(&encoding, algorithm.jwt())?;
            jwk.common.key_id = Some(key.kid.clone());
            jwk.common.public_key_use = Some(PublicKeyUse::Signature);
            let verifying = Verifying {
                key: DecodingKey::from_jwk(&jwk)?,
                algorithm,
                validation: self.validation(algorithm),
                until: key.verifies_until,
            };
            next.verifying.insert(key.kid.clone(), verifying);
            next.jwks.push((jwk, key.verifies_until));
            if key.verifies_until.is_none() {
                let read = SigningKey::read(&key.private_pkcs8);
                let header = Header {
                    kid: Some(key.kid.clone()),
                    typ: Some(TYPE.to_owned()),
                    ..Header::new(algorithm.jwt())
                };
                next.signing = Some(Signing {
                    key: read.ok_or_else(|| SigningError::UnknownKey(key.kid.clone()))?,
                    header: part(&header)?,
                });
            }
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The public keys that verify at `now` (RFC 7517).
    pub fn jwks(&self, now: DateTime<Utc>) -> JwkSet {
        let keys = self.keys();
        let current = keys.jwks.iter().filter(|(_, until)| until.is_none_or(|until| now < until));
        JwkSet { keys: current.map(|(jwk, _)| jwk.clone()).collect() }
    }

    /// Signs a token.
    ///
    /// # Errors
    /// There is no key, or it can't sign.
    pub fn sign(&self, grant: Grant, now: DateTime<Utc>) -> Result<(String, Claims), SigningError> {
        let keys = self.keys();
        let signing = keys.signing.as_ref().ok_or(SigningError::NoKey)?;
        let ttl = i64::try_from(grant.ttl.min(TTL_MAX).as_secs()).unwrap_or(0);
        let now = now.timestamp();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: grant.subject,
            exp: now + ttl,
            iat: now,
            nbf: now,
            sid: grant.session,
            tid: grant.tenant,
            ver: grant.began_at.0,
            role: grant.role,
            scopes: grant.scopes,
            auth_time: grant.authenticated_at.timestamp(),
            amr: grant.methods,
            jti: grant.token_id,
        };
        let mut token = format!("{}.{}", signing.header, part(&claims)?);
        let signature = signing.key.sign(token.as_bytes()).ok_or(SigningError::Refused)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok((token, claims))
    }

    /// What a token says, if one of our keys signed it for us and it is within its time. A signature is verified once,
    /// as long as there is room to remember it.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let keys = self.keys();
        let fingerprint = fingerprint(token.as_bytes());
        if let Some(verified) = keys.verified.get(&fingerprint) {
            return verified.at(now);
        }
        let verified = keys.verify(token);
        telemetry::token_verified(verified.is_ok());
        let verified = verified?;
        let claims = verified.at(now)?;
        // What is not good now isn't remembered: whoever makes up tokens takes no room.
        keys.verified.insert(fingerprint, Arc::new(verified));
        Ok(claims)
    }
}

impl Keys {
    /// What a token says that one of these keys signed, whatever time it is.
    fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::Invalid);
        }
        let known = header.kid.and_then(|kid| self.verifying.get(&kid)).ok_or(TokenError::Invalid)?;
        // The key says by which algorithm, not the token.
        if header.alg != known.algorithm.jwt() {
            return Err(TokenError::Invalid);
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &known.key, &known.validation);
        let claims = decoded.map_err(|_| TokenError::Invalid)?.claims;
        Ok(Verified { claims, until: known.until })
    }
}

/// A part of a token, as it is signed.
fn part(of: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(of)?))
}

pub(crate) fn pem(pkcs8: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let text = zeroize::Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pkcs8));
    let mut pem = zeroize::Zeroizing::new(b"-----BEGIN PRIVATE KEY-----\n".to_vec());
    for line in text.as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests;
