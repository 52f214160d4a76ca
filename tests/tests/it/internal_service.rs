//! An internal service with a key of its own, and the file that makes it known to a server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway::signing::SigningAlgorithm;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::TestApp;

pub struct Service {
    name: &'static str,
    pub key: EncodingKey,
    pub public: Value,
}

impl Service {
    pub fn new(name: &'static str) -> Self {
        let der = SigningAlgorithm::Es256.generate().expect("a key is made");
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&*der));
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("it is a key");
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("it has a public half");
        let mut public = serde_json::to_value(jwk).expect("a JWK is JSON");
        public["kid"] = json!(format!("{name}-1"));
        Self { name, key, public }
    }

    pub fn claims(&self, app: &TestApp) -> Value {
        let state = &app.server.state;
        let now = state.clock.now().timestamp();
        json!({
            "iss": self.name, "sub": self.name, "aud": state.keys.tokens.issuer(), "iat": now, "nbf": now,
            "exp": now + 60, "jti": state.ids.fresh(),
        })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let kid = self.public["kid"].as_str().map(str::to_owned);
        let header = Header { kid, ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("it is signed")
    }

    pub fn token(&self, app: &TestApp) -> String {
        self.sign(&self.claims(app))
    }
}

/// The file that names services, what each may do, and their keys.
pub struct KnownServices(TempDir);

impl KnownServices {
    pub fn of(services: &[(&Service, &[&str])]) -> Self {
        let all = services.iter().map(
            |(service, scopes)| json!({"name": service.name, "scopes": scopes, "keys": [service.public]}),
        );
        let content = json!({"services": all.collect::<Vec<_>>()});
        let directory = tempfile::tempdir().expect("a directory is made");
        std::fs::write(directory.path().join("services.json"), content.to_string()).expect("it is written");
        Self(directory)
    }

    pub fn file(&self) -> String {
        self.0.path().join("services.json").to_str().expect("the path is text").to_owned()
    }
}
