//! Tokens that are almost ours: signed by our own key over what we never say, or over what we say by nobody we know.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use engine::keyring::{MASTER_KEY_FILE, MasterKey};
use gateway::signing::SigningAlgorithm;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::app::TestApp;

/// Makes them out of a good one.
pub struct Forger {
    header: Value,
    claims: Value,
    signature: String,
    ours: EncodingKey,
    theirs: EncodingKey,
    /// Our public key in the forms that somebody might take for a shared secret.
    published: Vec<Vec<u8>>,
}

impl Forger {
    pub async fn of(app: &TestApp, token: &str) -> Self {
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("a token has three parts")
        };
        let read = |part: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
        };
        let client = app.db.server.get().await.expect("a connection");
        let sql = "SELECT kid, purpose, wrapped FROM wrapped_keys WHERE purpose = 'token_signing'";
        let row = client.query_one(sql, &[]).await.expect("one key signs");
        let master = MasterKey::read(&app.data_dir().join(MASTER_KEY_FILE)).expect("the master key");
        let ours = master.unwrap_key(row.get(0), row.get(1), row.get(2)).expect("it opens");
        let theirs = SigningAlgorithm::Rs256.generate().expect("a key");
        let key = |pkcs8: &[u8]| EncodingKey::from_rsa_pem(pem("PRIVATE", pkcs8).as_bytes()).expect("a key");
        let jwks = app.get("/.well-known/jwks.json").send().await.body;
        let number = |name: &str| {
            let text = jwks["keys"][0][name].as_str().expect("a number");
            URL_SAFE_NO_PAD.decode(text).expect("base64")
        };
        let spki = spki(&number("n"), &number("e"));
        let text = pem("PUBLIC", &spki).into_bytes();
        Self {
            header: read(header),
            claims: read(claims),
            signature: signature.to_owned(),
            ours: key(&ours),
            theirs: key(&theirs),
            published: vec![text, spki, number("n"), jwks["keys"][0].to_string().into_bytes()],
        }
    }

    /// Nothing changed but who wrote it down: it is good, so that what is refused below is refused for its change.
    pub fn good(&self) -> String {
        self.by_us(&self.header, &self.claims)
    }

    /// Each with what is wrong with it.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        let message = message(&self.header, &self.claims);
        let mut all = vec![
            ("signed by another key with our key's id", signed(&message, &self.theirs, Algorithm::RS256)),
            ("not signed", format!("{message}.")),
            ("of algorithm none", {
                let header = self.with_header("alg", json!("none"));
                format!("{}.", self::message(&header, &self.claims))
            }),
            ("of algorithm none, with our signature", {
                let header = self.with_header("alg", json!("none"));
                format!("{}.{}", self::message(&header, &self.claims), self.signature)
            }),
            ("of another key's id", self.by_us(&self.with_header("kid", json!("another")), &self.claims)),
            ("of another type", self.by_us(&self.with_header("typ", json!("JWT")), &self.claims)),
            ("cut short", format!("{message}.{}", &self.signature[..self.signature.len() - 4])),
        ];
        for (what, claim, value) in [
            ("with another subject", "sub", json!("local:1")),
            ("with another role", "role", json!("operator")),
            ("with another tenant", "tid", json!("00000000-0000-0000-0000-000000000001")),
            ("with another end", "exp", json!(i64::MAX)),
        ] {
            let message = self::message(&self.header, &self.with_claim(claim, value));
            all.push((what, format!("{message}.{}", self.signature)));
        }
        let iat = self.claims["iat"].as_i64().expect("a time");
        for (what, claim, value) in [
            ("for another audience", "aud", json!("somebody else")),
            ("of another issuer", "iss", json!("https://evil.example")),
            ("that lives too long", "exp", json!(iat + 901)),
            ("that has not begun", "nbf", json!(iat + 3600)),
            ("of a machine", "role", json!("application")),
            ("of a tenant's role in no tenant", "tid", Value::Null),
        ] {
            all.push((what, self.by_us(&self.header, &self.with_claim(claim, value))));
        }
        let header = self.with_header("alg", json!("HS256"));
        let message = self::message(&header, &self.claims);
        for secret in &self.published {
            let token = signed(&message, &EncodingKey::from_secret(secret), Algorithm::HS256);
            all.push(("signed with our public key as a secret", token));
        }
        all
    }

    fn by_us(&self, header: &Value, claims: &Value) -> String {
        signed(&message(header, claims), &self.ours, Algorithm::RS256)
    }

    fn with_header(&self, name: &str, value: Value) -> Value {
        with(&self.header, name, value)
    }

    fn with_claim(&self, name: &str, value: Value) -> Value {
        with(&self.claims, name, value)
    }
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[name] = value;
    assert_ne!(&changed, object, "{name} is another");
    changed
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn signed(message: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("it signs");
    format!("{message}.{signature}")
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----\n", lines.join("\n"))
}

/// An RSA key as X.509 tells of it (RFC 8017 §A.1).
fn spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| der(0x02, &[&[0], bytes]);
    let key = der(0x30, &[&integer(modulus), &der(0x02, &[exponent])]);
    let rsa = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    der(0x30, &[&der(0x30, &[&rsa]), &der(0x03, &[&[0], &key])])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).expect("a key is short").to_be_bytes();
    let head = if content.len() < 128 { vec![tag, length[1]] } else { vec![tag, 0x82, length[0], length[1]] };
    [head, content].concat()
}
