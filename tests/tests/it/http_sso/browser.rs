//! A browser that signs in by a provider, as far as that needs one.

use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::SSO;
use crate::app::{Answer, TestApp};
use crate::http_sign_in::{Acme, Session};
use crate::openid_provider::Provider;

/// Somebody on the way to a provider.
pub struct Away {
    pub to: Url,
    /// What the browser sends when it comes back.
    pub cookie: String,
}

impl Away {
    pub async fn begin(app: &TestApp, provider: Uuid) -> Self {
        Self::begin_with(app, provider, "").await
    }

    pub async fn begin_with(app: &TestApp, provider: Uuid, query: &str) -> Self {
        let begun = app.get(&format!("/auth/sso/{provider}/start{query}")).send().await;
        let begun = begun.is(StatusCode::SEE_OTHER);
        assert_eq!(begun.header("cache-control"), "no-store");
        let cookie = begun.header("set-cookie").to_owned();
        for rule in ["HttpOnly", "SameSite=Lax", "Max-Age=600"] {
            assert!(cookie.split("; ").any(|part| part == rule), "{cookie}");
        }
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        Self { to: Url::parse(begun.header("location")).expect("a URL"), cookie }
    }

    pub fn asked(&self, name: &str) -> String {
        let mut all = self.to.query_pairs().filter(|(key, _)| key == name);
        all.next().map(|(_, value)| value.into_owned()).unwrap_or_else(|| panic!("no {name}: {}", self.to))
    }

    /// At the provider, who sends everybody back at once: where to.
    pub async fn at_provider(&self) -> String {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        let sent = client.get(self.to.clone()).send().await.expect("it answers");
        back_to(&sent.headers()[header::LOCATION])
    }

    pub async fn come_back(&self, app: &TestApp, path: &str) -> Answer {
        app.get(path).header("cookie", &self.cookie).send().await
    }
}

/// Where a provider sends to, without the host: the tests' server is elsewhere than it says.
pub fn back_to(location: &header::HeaderValue) -> String {
    let url = Url::parse(location.to_str().expect("text")).expect("a URL");
    format!("{}?{}", url.path(), url.query().expect("with something"))
}

impl Acme {
    /// With a provider that does as it is told.
    pub async fn with_provider(rules: Value) -> (Self, Provider, Uuid) {
        let acme = Self::with_private_providers().await;
        let provider = Provider::open().await;
        let id = acme.configure(&provider, rules).await;
        (acme, provider, id)
    }

    pub async fn configure(&self, provider: &Provider, rules: Value) -> Uuid {
        let owner = self.session().await.access;
        let mut wish = provider.wish();
        for (rule, value) in rules.as_object().expect("an object") {
            wish[rule] = value.clone();
        }
        self.app.post(SSO, wish).by(&owner).send().await.is(StatusCode::CREATED).id()
    }

    pub async fn change(&self, provider: Uuid, change: Value) {
        let owner = self.session().await.access;
        let path = format!("{SSO}/{provider}");
        self.app.patch(&path, change).by(&owner).send().await.is(StatusCode::OK);
    }

    /// The whole way there and back.
    pub async fn sso(&self, provider: Uuid) -> Answer {
        let away = Away::begin(&self.app, provider).await;
        let back = away.at_provider().await;
        away.come_back(&self.app, &back).await
    }

    pub async fn sso_session(&self, provider: Uuid) -> Session {
        Session::of(&self.sso(provider).await.is(StatusCode::OK))
    }

    /// Invites somebody, who has not accepted.
    pub async fn invited(&self, email: &str) -> Uuid {
        let owner = self.session().await.access;
        let body = json!({"email": email, "role": "user"});
        self.app.post("/api/v1/users", body).by(&owner).send().await.is(StatusCode::CREATED).id()
    }
}

/// Let nobody in, for whatever reason.
#[track_caller]
pub fn refused(answer: Answer) {
    answer.refused(401, "ERR-AUTH-401", "invalid_credentials");
}

/// What an access token says.
pub fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let body = token.split('.').nth(1).expect("a JWT");
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).expect("base64url");
    serde_json::from_slice(&body).expect("JSON")
}
