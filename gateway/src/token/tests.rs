use super::*;
use crate::keys::new_rsa_key;
use jsonwebtoken::{Algorithm, EncodingKey};
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

/// A signature is verified once. Whatever else a token rests on is looked at each time.
#[test]
fn a_token_that_was_good_before_is_refused_when_its_key_or_its_time_is_over_or_it_was_changed() {
    let tokens = tokens("a", 0);
    let (token, claims) = tokens.sign(grant(60), now()).unwrap();
    for _ in 0..3 {
        assert_eq!(tokens.verify(&token, now()), Ok(claims.clone()));
    }
    assert_eq!(tokens.verify(&token, later(-6)), Err(TokenError::Invalid), "before it begins");
    assert_eq!(tokens.verify(&token, later(60)), Err(TokenError::Expired));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    signature[7] ^= 1;
    let changed = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature));
    assert_eq!(tokens.verify(&changed, now()), Err(TokenError::Invalid));
    assert_eq!(tokens.verify(&token, now()), Ok(claims.clone()), "it is still good");

    tokens.replace(&[key("b", 1, None), key("a", 0, Some(later(30)))]).unwrap();
    assert_eq!(tokens.verify(&token, later(29)), Ok(claims.clone()));
    assert_eq!(tokens.verify(&token, later(30)), Err(TokenError::Invalid), "its key is over");
    assert_eq!(tokens.verify(&token, later(29)), Ok(claims));
    // A key that leaked is taken away before its time.
    tokens.replace(&[key("b", 1, None)]).unwrap();
    assert_eq!(tokens.verify(&token, later(29)), Err(TokenError::Invalid));
}
