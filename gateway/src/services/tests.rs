//! Who is known, what a token of theirs must say, and that nothing else passes.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::pem;

const ISSUER: &str = "http://127.0.0.1:8080";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A service's key pair: the private key it signs with, and the JWK it gives away.
pub(crate) struct Pair {
    algorithm: SigningAlgorithm,
    private: EncodingKey,
    pub public: Value,
}

pub(crate) fn pair(algorithm: SigningAlgorithm, kid: &str) -> Pair {
    let private = algorithm.encoding_key(&pem(&algorithm.generate().unwrap())).unwrap();
    let mut public =
        serde_json::to_value(Jwk::from_encoding_key(&private, algorithm.jwt()).unwrap()).unwrap();
    public["kid"] = json!(kid);
    Pair { algorithm, private, public }
}

pub(crate) fn file(keys: &[&Value]) -> String {
    json!({"services": [{"name": "billing", "scopes": ["access:read"], "keys": keys}]}).to_string()
}

fn services(pair: &Pair) -> Services {
    Services::parse(&file(&[&pair.public]), ISSUER).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn header(pair: &Pair) -> Value {
    json!({"alg": pair.algorithm.as_str(), "typ": "JWT", "kid": pair.public["kid"]})
}

pub(crate) fn claims() -> Value {
    let now = now().timestamp();
    json!({
        "iss": "billing", "sub": "billing", "aud": ISSUER, "iat": now, "nbf": now, "exp": now + 60, "jti": "1",
    })
}

pub(crate) fn signed(pair: &Pair, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &pair.private, pair.algorithm.jwt()).unwrap();
    format!("{message}.{signature}")
}

/// What comes of a good token with other claims.
fn changed(pair: &Pair, change: impl FnOnce(&mut Value)) -> Result<String, TokenError> {
    let mut claims = claims();
    change(&mut claims);
    let services = services(pair);
    let service = services.verify(&signed(pair, &header(pair), &claims), now());
    service.map(|service| service.name.clone())
}

#[test]
fn a_service_is_known_by_what_it_signed_with_either_algorithm() {
    for algorithm in SigningAlgorithm::ALL {
        let pair = pair(algorithm, "k");
        let services = services(&pair);
        let service = services.verify(&signed(&pair, &header(&pair), &claims()), now()).unwrap();
        assert_eq!(
            (service.name.as_str(), &service.scopes[..]),
            ("billing", &["access:read".to_owned()][..])
        );
        assert_eq!(service.actor().id, "service:billing");
    }
}

#[test]
fn a_token_says_who_and_for_whom_or_is_refused() {
    let pair = pair(SigningAlgorithm::EdDsa, "k");
    assert_eq!(changed(&pair, |_| {}), Ok("billing".to_owned()));
    for (claim, value) in [
        ("iss", json!("shipping")),
        ("sub", json!("shipping")),
        ("aud", json!("tenantry")),
        ("aud", json!([ISSUER])),
        ("aud", json!([ISSUER, "https://other.example"])),
        ("jti", json!("")),
        ("jti", json!("1".repeat(129))),
        ("exp", json!("soon")),
    ] {
        let refused = changed(&pair, |claims| claims[claim] = value.clone());
        assert_eq!(refused, Err(TokenError::Invalid), "{claim} {value}");
    }
    for claim in ["iss", "sub", "aud", "exp", "iat", "jti"] {
        let refused = changed(&pair, |claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        assert_eq!(refused, Err(TokenError::Invalid), "without {claim}");
    }
    assert!(changed(&pair, |claims| drop(claims.as_object_mut().unwrap().remove("nbf"))).is_ok());
}

#[test]
fn a_token_is_good_in_its_time_and_lives_for_five_minutes_at_most() {
    let pair = pair(SigningAlgorithm::Es256, "k");
    let at = |iat: i64, exp: i64| {
        changed(&pair, |claims| {
            let now = now().timestamp();
            claims["iat"] = json!(now + iat);
            claims["nbf"] = json!(now + iat);
            claims["exp"] = json!(now + exp);
        })
    };
    for (iat, exp) in [(0, 300), (-299, 1), (5, 60)] {
        assert!(at(iat, exp).is_ok(), "{iat} {exp}");
    }
    // Expired to the second, too long, begun too late, the wrong way round.
    for (iat, exp) in [(-60, 0), (0, 301), (-300, 1), (6, 60), (0, 0), (5, 4)] {
        assert_eq!(at(iat, exp), Err(TokenError::Invalid), "{iat} {exp}");
    }
    let begins_later = changed(&pair, |claims| claims["nbf"] = json!(now().timestamp() + 6));
    assert_eq!(begins_later, Err(TokenError::Invalid));
    for (iat, exp) in [(i64::MIN, i64::MAX), (i64::MIN, 0), (0, i64::MAX)] {
        let refused = changed(&pair, |claims| (claims["iat"], claims["exp"]) = (json!(iat), json!(exp)));
        assert_eq!(refused, Err(TokenError::Invalid), "{iat} {exp}");
    }
}

#[test]
fn neither_another_key_nor_another_algorithm_nor_another_type_passes() {
    let pair = pair(SigningAlgorithm::Rs256, "k");
    let services = services(&pair);
    let verify = |token: &str| services.verify(token, now()).map(|service| service.name.clone());
    let other = self::pair(SigningAlgorithm::Rs256, "k");
    assert_eq!(verify(&signed(&other, &header(&other), &claims())), Err(TokenError::Invalid));
    for header in [
        json!({"alg": "none", "typ": "JWT", "kid": "k"}),
        json!({"alg": "HS256", "typ": "JWT", "kid": "k"}),
        json!({"alg": "RS512", "typ": "JWT", "kid": "k"}),
        json!({"alg": "ES256", "typ": "JWT", "kid": "k"}),
        json!({"alg": "RS256", "typ": "at+jwt", "kid": "k"}),
        json!({"alg": "RS256", "kid": "k"}),
        json!({"alg": "RS256", "typ": "JWT"}),
        json!({"alg": "RS256", "typ": "JWT", "kid": "x"}),
        json!({"alg": "RS256", "typ": "JWT", "kid": "k", "crit": ["exp"]}),
    ] {
        assert_eq!(verify(&signed(&pair, &header, &claims())), Err(TokenError::Invalid), "{header}");
    }
    // The public key, used as if it were a shared secret.
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "k"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims()));
    for secret in [pair.public["n"].as_str().unwrap().as_bytes(), pair.public.to_string().as_bytes()] {
        let secret = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
        assert_eq!(verify(&format!("{message}.{signature}")), Err(TokenError::Invalid));
    }
    assert_eq!(verify(&format!("{message}.")), Err(TokenError::Invalid));
}

#[test]
fn a_key_speaks_for_its_own_service_only() {
    let (one, two) = (pair(SigningAlgorithm::EdDsa, "1"), pair(SigningAlgorithm::EdDsa, "2"));
    let text = json!({"services": [
        {"name": "billing", "keys": [one.public]}, {"name": "shipping", "scopes": [], "keys": [two.public]},
    ]});
    let services = Services::parse(&text.to_string(), ISSUER).unwrap();
    let by = |pair: &Pair| services.verify(&signed(pair, &header(pair), &claims()), now());
    assert_eq!(by(&one).unwrap().name, "billing");
    assert!(by(&two).is_err(), "shipping can't say it is billing");
    assert!(Services::default().verify(&signed(&one, &header(&one), &claims()), now()).is_err());
}

/// Two keys beside each other: so a service changes its key.
#[test]
fn a_service_may_have_several_keys() {
    let (old, new) = (pair(SigningAlgorithm::Es256, "old"), pair(SigningAlgorithm::EdDsa, "new"));
    let services = Services::parse(&file(&[&old.public, &new.public]), ISSUER).unwrap();
    for pair in [&old, &new] {
        assert!(services.verify(&signed(pair, &header(pair), &claims()), now()).is_ok());
    }
}

/// CC-SEC-003
#[test]
fn a_file_that_is_not_as_it_must_be_is_refused_with_the_place() {
    let key = pair(SigningAlgorithm::EdDsa, "k").public;
    let rsa = pair(SigningAlgorithm::Rs256, "r").public;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut key = key.clone();
        change(&mut key);
        file(&[&key])
    };
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    for (text, told) in [
        ("{".to_owned(), "line 1"),
        (json!({"services": [], "more": 1}).to_string(), "line 1"),
        (json!({"services": [{"name": "Billing", "keys": [key]}]}).to_string(), "service 1 has no name"),
        (json!({"services": [{"name": "billing", "keys": []}]}).to_string(), "billing has no key"),
        (
            json!({"services": [{"name": "a", "scopes": ["x:y", "*:y"], "keys": [key]}]}).to_string(),
            "scope 2",
        ),
        (
            json!({"services": [{"name": "a", "keys": [key]}, {"name": "a", "keys": [rsa]}]}).to_string(),
            "twice",
        ),
        (file(&[&key, &key]), "key 2 of the service billing: its kid"),
        (with(&|key| drop(key.as_object_mut().unwrap().remove("kid"))), "no kid"),
        (with(&|key| key["d"] = json!("AAAA")), "private"),
        (
            json!({"services": [{"name": "a", "keys": [{"kid": "k", "kty": "oct", "k": "AAAA"}]}]})
                .to_string(),
            "private",
        ),
        (with(&|key| key["crv"] = json!("X25519")), "no known algorithm"),
        (with(&|key| key["kty"] = json!("AKP")), "no known algorithm"),
        (with(&|key| key["alg"] = json!("RS256")), "its alg"),
        (with(&|key| key["use"] = json!("enc")), "its use"),
        (with(&|key| key["x"] = json!("AAAA")), "wrong length"),
        (with(&|key| key["x"] = json!("!")), "malformed"),
        (file(&[&json!({"kid": "r", "kty": "RSA", "n": short, "e": "AQAB"})]), "2048 bits"),
        (file(&[&json!({"kid": "r", "kty": "RSA", "n": rsa["n"]})]), "missing"),
    ] {
        let refused = Services::parse(&text, ISSUER).err().unwrap_or_else(|| panic!("it was taken: {text}"));
        assert!(refused.to_string().contains(told), "{told}: {refused}");
        assert!(!refused.to_string().contains("AAAA"), "{refused}");
    }
    let missing = Services::read(Path::new("/nowhere/services.json"), ISSUER).err().unwrap();
    assert!(missing.to_string().contains("/nowhere/services.json"));
    assert!(Services::parse(&file(&[&key, &rsa]), ISSUER).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_breaks_the_verifier(text in "[A-Za-z0-9_.-]{0,200}") {
        static KNOWN: std::sync::LazyLock<Services> =
            std::sync::LazyLock::new(|| services(&pair(SigningAlgorithm::EdDsa, "k")));
        prop_assert!(KNOWN.verify(&text, now()).is_err());
    }
}
