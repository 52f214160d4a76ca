//! Access tokens: JWT, RS256 unless the deployment chose otherwise, at most 15 minutes (REQUIREMENTS §3).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use kernel::{Position, TenantId};
use schemas::values::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::signing::SigningAlgorithm;

/// The longest life of a token.
pub const TTL_MAX: Duration = Duration::from_secs(15 * 60);
/// Who tokens are for.
pub const AUDIENCE: &str = "tenantry";
/// The longest token that is looked at, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;
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
    #[error("the token can't be signed")]
    Jwt(#[from] jsonwebtoken::errors::Error),
}

/// A key as it is used. The newest signs; older ones verify until what they signed has lapsed.
pub struct TokenKey {
    pub kid: String,
    pub private_pkcs8: zeroize::Zeroizing<Vec<u8>>,
    /// `None`: it signs. Else until when it verifies.
    pub verifies_until: Option<DateTime<Utc>>,
}

#[derive(Default)]
struct Keys {
    signing: Option<(String, SigningAlgorithm, EncodingKey)>,
    /// Decoding keys are made once, not for each token.
    verifying: HashMap<String, Verifying>,
    jwks: Vec<(Jwk, Option<DateTime<Utc>>)>,
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

    /// Takes another set of keys.
    ///
    /// # Errors
    /// A key is none in PKCS#8 of a [`SigningAlgorithm`]; then the former set stays.
    pub fn replace(&self, keys: &[TokenKey]) -> Result<(), SigningError> {
        let mut next = Keys::default();
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
                next.signing = Some((key.kid.clone(), algorithm, encoding));
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
        let (kid, algorithm, key) = keys.signing.as_ref().ok_or(SigningError::NoKey)?;
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
        let header =
            Header { kid: Some(kid.clone()), typ: Some(TYPE.to_owned()), ..Header::new(algorithm.jwt()) };
        Ok((jsonwebtoken::encode(&header, &claims, key)?, claims))
    }

    /// What a token says, if one of our keys signed it for us and it is within its time.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::Invalid);
        }
        let keys = self.keys();
        let known = header.kid.and_then(|kid| keys.verifying.get(&kid)).ok_or(TokenError::Invalid)?;
        // The key says by which algorithm, not the token.
        if header.alg != known.algorithm.jwt() || known.until.is_some_and(|until| until <= now) {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &known.key, &known.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let now = now.timestamp();
        let lives_s = claims.exp.saturating_sub(claims.iat);
        if claims.nbf > now + SKEW_S || lives_s > TTL_MAX.as_secs() as i64 {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

pub(crate) fn pem(pkcs8: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    use base64::Engine as _;
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
mod tests {
    use super::*;
    use crate::keys::new_rsa_key;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::Algorithm;
    use proptest::prelude::*;
    use serde_json::json;

    const ISSUER: &str = "http://127.0.0.1:8080";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn later(seconds: i64) -> DateTime<Utc> {
        now() + chrono::TimeDelta::seconds(seconds)
    }

    /// Making an RSA key takes long: two serve all tests.
    fn rsa(index: usize) -> Vec<u8> {
        static KEYS: std::sync::LazyLock<[Vec<u8>; 2]> =
            std::sync::LazyLock::new(|| [new_rsa_key().unwrap().to_vec(), new_rsa_key().unwrap().to_vec()]);
        KEYS[index].clone()
    }

    fn key(kid: &str, index: usize, until: Option<DateTime<Utc>>) -> TokenKey {
        TokenKey { kid: kid.to_owned(), private_pkcs8: rsa(index).into(), verifies_until: until }
    }

    fn tokens(kid: &str, index: usize) -> Tokens {
        let tokens = Tokens::new(ISSUER);
        tokens.replace(&[key(kid, index, None)]).unwrap();
        tokens
    }

    fn grant(ttl_s: u64) -> Grant {
        Grant {
            subject: "local:0".to_owned(),
            session: Uuid::from_u128(1),
            token_id: Uuid::from_u128(2),
            tenant: None,
            role: Some(Role::Operator),
            scopes: vec![],
            began_at: Position(7),
            authenticated_at: now(),
            methods: vec![],
            ttl: Duration::from_secs(ttl_s),
        }
    }

    /// A token of our key with another header or claims.
    fn forged(header: serde_json::Value, change: impl FnOnce(&mut serde_json::Value)) -> String {
        let (_, claims) = tokens("a", 0).sign(grant(60), now()).unwrap();
        let mut claims = serde_json::to_value(claims).unwrap();
        change(&mut claims);
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let key = EncodingKey::from_rsa_pem(&pem(&rsa(0))).unwrap();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
        format!("{message}.{signature}")
    }

    fn header() -> serde_json::Value {
        json!({"alg": "RS256", "typ": "at+jwt", "kid": "a"})
    }

    #[test]
    fn a_token_says_what_was_granted() {
        let tokens = tokens("a", 0);
        let (token, claims) = tokens.sign(grant(60), now()).unwrap();
        assert_eq!(tokens.verify(&token, now()), Ok(claims));
        // The forger's own way of signing makes good tokens too, so that its refusals below are no accident.
        assert!(tokens.verify(&forged(header(), |_| {}), now()).is_ok());
    }

    /// CC-AUTH-002
    #[test]
    fn a_token_ends_to_the_second_and_never_lives_longer_than_15_minutes() {
        let tokens = tokens("a", 0);
        let (token, claims) = tokens.sign(grant(86_400), now()).unwrap();
        assert_eq!(claims.exp - claims.iat, 900);
        assert!(tokens.verify(&token, later(899)).is_ok());
        assert_eq!(tokens.verify(&token, later(900)), Err(TokenError::Expired));
        for (iat, exp) in [(now().timestamp(), now().timestamp() + 901), (i64::MIN, i64::MAX)] {
            let long = forged(header(), |claims| {
                claims["iat"] = json!(iat);
                claims["exp"] = json!(exp);
            });
            assert_eq!(tokens.verify(&long, now()), Err(TokenError::Invalid), "{iat} {exp}");
        }
    }

    #[test]
    fn a_token_of_another_key_issuer_or_audience_is_refused() {
        let tokens = tokens("a", 0);
        let verify = |token: String| tokens.verify(&token, now());
        let (other_key, _) = self::tokens("a", 1).sign(grant(60), now()).unwrap();
        assert_eq!(verify(other_key), Err(TokenError::Invalid));
        let (other_kid, _) = self::tokens("b", 0).sign(grant(60), now()).unwrap();
        assert_eq!(verify(other_kid), Err(TokenError::Invalid));
        for (claim, value) in [
            ("iss", json!("https://evil")),
            ("aud", json!("other")),
            ("ver", json!("7")),
            ("role", json!("root")),
        ] {
            let token = forged(header(), |claims| claims[claim] = value);
            assert_eq!(verify(token), Err(TokenError::Invalid), "{claim}");
        }
        let early = forged(header(), |claims| claims["nbf"] = json!(now().timestamp() + 60));
        assert_eq!(verify(early), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_without_a_claim_is_refused() {
        let tokens = tokens("a", 0);
        for claim in ["iss", "aud", "sub", "exp", "iat", "nbf", "sid", "ver", "auth_time", "jti"] {
            let token = forged(header(), |claims| drop(claims.as_object_mut().unwrap().remove(claim)));
            assert_eq!(tokens.verify(&token, now()), Err(TokenError::Invalid), "{claim}");
        }
    }

    #[test]
    fn a_token_that_names_its_own_algorithm_is_refused() {
        let tokens = tokens("a", 0);
        for alg in ["none", "HS256", "RS512", "ES256", ""] {
            let mut header = header();
            header["alg"] = json!(alg);
            assert_eq!(tokens.verify(&forged(header, |_| {}), now()), Err(TokenError::Invalid), "{alg}");
        }
        let mut header = header();
        header["alg"] = json!("none");
        let token = forged(header, |_| {});
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(tokens.verify(&unsigned, now()), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_of_another_type_or_without_a_key_id_is_refused() {
        let tokens = tokens("a", 0);
        for header in [
            json!({"alg": "RS256", "typ": "JWT", "kid": "a"}),
            json!({"alg": "RS256", "kid": "a"}),
            json!({"alg": "RS256", "typ": "at+jwt"}),
        ] {
            assert_eq!(tokens.verify(&forged(header, |_| {}), now()), Err(TokenError::Invalid));
        }
    }

    /// CC-AUTH-002: whichever algorithm signs, what the token says of it is not believed.
    #[test]
    fn each_algorithm_signs_and_no_key_verifies_by_another() {
        let of = |kid: &str, algorithm: SigningAlgorithm| TokenKey {
            kid: kid.to_owned(),
            private_pkcs8: algorithm.generate().unwrap(),
            verifies_until: None,
        };
        for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
            let tokens = Tokens::new(ISSUER);
            tokens.replace(&[key("a", 0, Some(later(600))), of("b", algorithm)]).unwrap();
            let (token, claims) = tokens.sign(grant(60), now()).unwrap();
            let header = jsonwebtoken::decode_header(&token).unwrap();
            assert_eq!((header.kid.as_deref(), header.alg), (Some("b"), algorithm.jwt()));
            assert_eq!(tokens.verify(&token, now()), Ok(claims));
            let (old, _) = self::tokens("a", 0).sign(grant(60), now()).unwrap();
            assert!(tokens.verify(&old, now()).is_ok(), "the former one verifies beside it");
            // A good RSA signature under a header that names the other key, or the other algorithm.
            for header in [
                json!({"alg": "RS256", "typ": "at+jwt", "kid": "b"}),
                json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": "a"}),
                json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": "b"}),
            ] {
                assert_eq!(tokens.verify(&forged(header, |_| {}), now()), Err(TokenError::Invalid));
            }
            let jwks = serde_json::to_value(tokens.jwks(now())).unwrap();
            let published = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == "b").unwrap();
            assert_eq!(published["alg"], algorithm.as_str());
            assert!(published.get("d").is_none(), "nothing private is published");
        }
    }

    /// NFR-SEC-004
    #[test]
    fn a_retired_key_verifies_until_its_tokens_have_lapsed_and_signs_nothing() {
        let tokens = tokens("a", 0);
        let (old, _) = tokens.sign(grant(900), now()).unwrap();
        tokens.replace(&[key("b", 1, None), key("a", 0, Some(later(600)))]).unwrap();
        let (new, _) = tokens.sign(grant(900), now()).unwrap();
        assert_eq!(jsonwebtoken::decode_header(&new).unwrap().kid.as_deref(), Some("b"));
        assert!(tokens.verify(&old, later(599)).is_ok() && tokens.verify(&new, later(599)).is_ok());
        assert_eq!(tokens.jwks(later(599)).keys.len(), 2);
        assert_eq!(tokens.verify(&old, later(600)), Err(TokenError::Invalid));
        assert_eq!(tokens.jwks(later(600)).keys.len(), 1);
    }

    #[test]
    fn published_keys_hold_nothing_private() {
        let jwks = serde_json::to_value(tokens("a", 0).jwks(now())).unwrap();
        let key = &jwks["keys"][0];
        assert_eq!((&key["kid"], &key["kty"], &key["alg"]), (&json!("a"), &json!("RSA"), &json!("RS256")));
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_text_breaks_the_verifier(text in "[A-Za-z0-9_.-]{0,200}") {
            prop_assert!(tokens("a", 0).verify(&text, now()).is_err());
        }

        #[test]
        fn a_token_changed_anywhere_is_refused(at in 0_usize..2000, flip in 1_u8..64) {
            let tokens = tokens("a", 0);
            let (token, _) = tokens.sign(grant(60), now()).unwrap();
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let mut bytes = token.clone().into_bytes();
            let at = at % bytes.len();
            if let Some(place) = ALPHABET.iter().position(|byte| *byte == bytes[at]) {
                bytes[at] = ALPHABET[(place + flip as usize) % 64];
                let changed = String::from_utf8(bytes).unwrap();
                prop_assert!(tokens.verify(&changed, now()).is_err());
            }
        }
    }
}
