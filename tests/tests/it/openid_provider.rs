//! An OpenID provider of a test's own, at a port of this machine. It does as it is told, also what no provider should.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use engine::clock::SystemClock;
use gateway::signing::SigningAlgorithm;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::Clock as _;
use reqwest::Url;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::foreign;

/// As whom it knows the server.
pub const CLIENT: &str = "tenantry";
pub const SECRET: &str = "s3cret-between-the-two";

/// A running provider; it ends with the test's runtime.
#[derive(Clone)]
pub struct Provider {
    pub issuer: String,
    behaviour: Arc<Mutex<Behaviour>>,
}

/// How an answer of its own is given.
#[derive(Clone, Debug, Default)]
pub enum Manner {
    #[default]
    Decent,
    /// To somewhere else.
    Redirect(String),
    /// More than anybody wants to hear.
    Giant,
    Never,
    Status(u16),
    Text(&'static str),
}

/// What ID tokens are signed with.
#[derive(Clone, Debug, Default)]
pub enum Signed {
    /// The key that is published.
    #[default]
    ItsKey,
    /// Another key, under the published one's name.
    AnotherKey,
    /// A new key, which is published from now on.
    ItsNextKey,
    /// `alg: none`
    Nothing,
    /// HS256, with these bytes.
    Secret(Vec<u8>),
}

/// What it does.
pub struct Behaviour {
    pub document: Value,
    pub manner: Manner,
    /// How the token endpoint answers.
    pub token_manner: Manner,
    pub signed: Signed,
    /// Put over the claims of the next ID tokens; `null` leaves one out.
    pub claims: Value,
    /// Codes that were given and not taken yet, with what they were asked for with.
    codes: HashMap<String, HashMap<String, String>>,
    /// If codes are taken more than once.
    pub forgets_codes: bool,
    keys: Vec<(String, EncodingKey)>,
    /// Paths that were asked.
    pub asked: Vec<String>,
    counter: u64,
}

fn new_key() -> EncodingKey {
    EncodingKey::from_ec_der(&SigningAlgorithm::Es256.generate().expect("a key"))
}

impl Provider {
    pub async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("its address"));
        let document = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
            "authorization_response_iss_parameter_supported": true,
        });
        let behaviour = Behaviour {
            document,
            manner: Manner::Decent,
            token_manner: Manner::Decent,
            signed: Signed::ItsKey,
            claims: json!({}),
            codes: HashMap::new(),
            forgets_codes: true,
            keys: vec![("key-0".to_owned(), new_key())],
            asked: Vec::new(),
            counter: 0,
        };
        let provider = Self { issuer, behaviour: Arc::new(Mutex::new(behaviour)) };
        let router = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    pub fn does(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().expect("no test panics with it")
    }

    /// What an owner says to have it.
    pub fn wish(&self) -> Value {
        json!({"name": "Acme ID", "issuer": self.issuer, "client_id": CLIENT, "client_secret": SECRET})
    }

    /// The public half of the key it signs with, as it is published.
    pub fn published(&self) -> Value {
        serde_json::to_value(self.does().jwks()).expect("it is JSON")
    }
}

impl Behaviour {
    fn jwks(&self) -> JwkSet {
        let jwk = |(kid, key): &(String, EncodingKey)| {
            let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES256).expect("it has a public half");
            jwk.common.key_id = Some(kid.clone());
            jwk
        };
        JwkSet { keys: self.keys.iter().map(jwk).collect() }
    }

    fn id_token(&mut self, issuer: &str, asked: &HashMap<String, String>) -> String {
        let now = SystemClock.now();
        let mut claims = json!({
            "iss": issuer, "aud": CLIENT, "sub": "subject-1", "iat": now.timestamp(), "exp": now.timestamp() + 300,
            "nonce": asked.get("nonce"), "email": "ann@acme.example", "email_verified": true,
        });
        for (claim, value) in self.claims.as_object().into_iter().flatten() {
            claims[claim] = value.clone();
            if value.is_null() {
                claims.as_object_mut().expect("an object").remove(claim);
            }
        }
        let header = |algorithm, kid: &str| Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
        if matches!(self.signed, Signed::ItsNextKey) {
            self.signed = Signed::ItsKey;
            self.keys = vec![(format!("key-{}", self.counter), new_key())];
        }
        let (kid, key) = self.keys.last().expect("it has one");
        let signed = match &self.signed {
            Signed::ItsKey | Signed::ItsNextKey => {
                jsonwebtoken::encode(&header(Algorithm::ES256, kid), &claims, key)
            }
            Signed::AnotherKey => jsonwebtoken::encode(&header(Algorithm::ES256, kid), &claims, &new_key()),
            Signed::Secret(secret) => jsonwebtoken::encode(
                &header(Algorithm::HS256, kid),
                &claims,
                &EncodingKey::from_secret(secret),
            ),
            Signed::Nothing => {
                let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                return format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
            }
        };
        signed.expect("it can be signed")
    }

    /// A code in exchange for what somebody was sent with.
    fn authorize(&mut self, issuer: &str, asked: HashMap<String, String>) -> Response {
        self.counter += 1;
        let code = format!("code-{}", self.counter);
        let mut to = Url::parse(&asked["redirect_uri"]).expect("a URL");
        to.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &asked["state"])
            .append_pair("iss", issuer);
        self.codes.insert(code, asked);
        (StatusCode::FOUND, [(header::LOCATION, to.to_string())]).into_response()
    }

    /// RFC 6749 §4.1.3, RFC 7636 §4.6
    fn token(&mut self, issuer: &str, authorization: &str, form: HashMap<String, String>) -> Response {
        let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
        let known = if self.forgets_codes {
            self.codes.remove(&form["code"])
        } else {
            self.codes.get(&form["code"]).cloned()
        };
        let asked = known.filter(|asked| {
            let challenge = challenge_of(form.get("code_verifier").map_or("", String::as_str));
            authorization == basic
                && asked.get("code_challenge") == Some(&challenge)
                && asked.get("code_challenge_method").map(String::as_str) == Some("S256")
                && asked.get("redirect_uri") == form.get("redirect_uri")
        });
        let Some(asked) = asked else {
            let refused = as_json(&json!({"error": "invalid_grant"}));
            return (StatusCode::BAD_REQUEST, refused).into_response();
        };
        let id_token = self.id_token(issuer, &asked);
        let body = json!({
            "access_token": "an access token of the provider", "token_type": "Bearer", "expires_in": 300,
            "id_token": id_token,
        });
        as_json(&body)
    }
}

/// SHA-256 in base64url, as PKCE wants it.
fn challenge_of(verifier: &str) -> String {
    use sha2::Digest as _;
    URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(verifier))
}

fn as_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn pairs(text: &str) -> HashMap<String, String> {
    let url = Url::parse(&format!("http://x/?{text}")).expect("a query");
    url.query_pairs().into_owned().collect()
}

async fn answer(State(provider): State<Provider>, uri: Uri, request: Request<axum::body::Body>) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let authorization = authorization.unwrap_or_default().to_owned();
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 16).await.expect("a small body");
    let manner = {
        let mut does = provider.does();
        does.asked.push(uri.path().to_owned());
        if uri.path() == "/token" { does.token_manner.clone() } else { does.manner.clone() }
    };
    match manner {
        Manner::Decent => {}
        Manner::Redirect(to) => return (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Manner::Giant => return as_json(&json!({"issuer": "x".repeat(1 << 20)})),
        Manner::Never => return std::future::pending().await,
        Manner::Status(status) => {
            return StatusCode::from_u16(status).expect("a status").into_response();
        }
        Manner::Text(text) => {
            return ([(header::CONTENT_TYPE, "application/json")], text).into_response();
        }
    }
    let mut does = provider.does();
    match uri.path() {
        "/.well-known/openid-configuration" => as_json(&does.document),
        "/keys" => as_json(&serde_json::to_value(does.jwks()).expect("it is JSON")),
        "/authorize" => does.authorize(&provider.issuer, pairs(uri.query().unwrap_or_default())),
        "/token" => {
            let form = pairs(std::str::from_utf8(&body).expect("a form"));
            does.token(&provider.issuer, &authorization, form)
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A provider that others wrote, in a process of its own; it ends with the test.
pub struct Foreign {
    pub issuer: String,
    process: Child,
}

impl Foreign {
    /// `people`: whom it knows, as the claims of their ID tokens.
    pub fn open(people: &[Value]) -> Self {
        let mut process = foreign::server("openid")
            .args(people.iter().map(Value::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let mut said = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).expect("it says something");
        let port = said.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("it did not start: {said}"));
        Self { issuer: format!("http://127.0.0.1:{port}"), process }
    }

    /// Fills in its form, as somebody does there; where it sends them.
    pub async fn sign_in(&self, at: &Url, form: &[(&str, &str)]) -> String {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        let body: String = form.iter().map(|(key, value)| format!("{key}={value}&")).collect();
        let sent = client
            .post(at.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .expect("it answers");
        crate::http_sso::browser::back_to(&sent.headers()[header::LOCATION])
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
