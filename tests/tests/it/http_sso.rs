//! Single sign-on by a tenant's own OpenID provider: who may say which, and what it is asked first.

pub mod browser;
mod hostile;
mod reach;
mod sign_in;

use aggregates::tenant::{ConfigureSso, SsoCommand};
use aggregates::{Tenant, TenantCommand};
use reqwest::StatusCode;
use schemas::events::SsoRules;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::TestApp;
use crate::engine_postgres::context;
use crate::http_sign_in::Acme;
use crate::openid_provider::{CLIENT, Manner, Provider, SECRET};

pub const SSO: &str = "/api/v1/tenants/me/sso";
/// Providers of tests are on this machine, and speak no TLS.
pub const PRIVATE: [&str; 2] = ["--sso-private-networks", "on"];

/// Configures a provider that nobody asks first, which no endpoint does.
pub async fn configured(app: &TestApp, tenant: Uuid, issuer: &str) -> Uuid {
    let state = &app.server.state;
    let id = state.ids.fresh();
    let wish = ConfigureSso {
        provider: id.into(),
        name: "Acme ID".parse().expect("a name"),
        issuer: issuer.parse().expect("an issuer"),
        client_id: id.to_string().parse().expect("a client"),
        client_secret: SECRET.parse().expect("a secret"),
        rules: SsoRules::default(),
    };
    let command = TenantCommand::Sso(SsoCommand::Configure(Box::new(wish)));
    let receipt = state.engine.dispatch::<Tenant>(tenant, command, context(None)).await.expect("configured");
    let position = receipt.position.expect("it is new");
    state.access.handle.wait_for(position, crate::app::PATIENCE).await.expect("memory follows");
    id
}

impl Acme {
    /// With a server that reaches providers of this machine.
    pub async fn with_private_providers() -> Self {
        let app = TestApp::with(&PRIVATE).await;
        let tenant = Self::tenant(&app, "acme").await;
        Self { app, tenant }
    }
}

/// FR-AUTH-003, UC-TENANT-SSO
#[tokio::test]
async fn an_owner_says_by_whom_people_sign_in_and_nobody_reads_the_secret_again() {
    let acme = Acme::with_private_providers().await;
    let provider = Provider::open().await;
    let owner = acme.session().await.access;
    let made = acme.app.post(SSO, provider.wish()).by(&owner).send().await.is(StatusCode::CREATED);
    let path = format!("{SSO}/{}", made.id());
    assert_eq!(made.header("location"), path);
    let shown = acme.app.get(&path).by(&owner).send().await.is(StatusCode::OK);
    let public = acme.app.server.state.keys.tokens.issuer();
    assert_eq!(
        shown.body,
        json!({
            "id": made.id(), "name": "Acme ID", "issuer": provider.issuer, "client_id": CLIENT,
            "provision": false, "trusts_mfa": false, "required": false,
            "redirect_uri": format!("{public}/auth/sso/callback"),
        })
    );
    let list = acme.app.get(SSO).by(&owner).send().await.is(StatusCode::OK);
    assert_eq!(list.body, json!({"items": [shown.body]}));
    let verified = acme.app.post(&format!("{path}/verify"), json!({})).by(&owner).send().await;
    assert_eq!(
        verified.is(StatusCode::OK).body,
        json!({
            "issuer": provider.issuer, "authorization_endpoint": format!("{}/authorize", provider.issuer),
            "token_endpoint": format!("{}/token", provider.issuer), "algorithms": ["ES256"], "keys": 1,
        })
    );

    let etag = shown.header("etag").to_owned();
    let patch = |body: Value| acme.app.patch(&path, body).by(&owner);
    patch(json!({"required": true, "name": "Acme Login"}))
        .header("if-match", &etag)
        .send()
        .await
        .is(StatusCode::OK);
    let stale = patch(json!({"required": false})).header("if-match", &etag).send().await;
    stale.refused(412, "ERR-VAL-409", "precondition_failed");
    patch(json!({"client_secret": "another-s3cret"})).send().await.is(StatusCode::OK);
    patch(json!({"issuer": "https://id.example"})).send().await.refused(400, "ERR-VAL-400", "invalid_fields");
    let shown = acme.app.get(&path).by(&owner).send().await.is(StatusCode::OK).body;
    assert_eq!((&shown["required"], &shown["name"]), (&json!(true), &json!("Acme Login")));

    let written = acme.app.everything_written().await;
    for secret in [SECRET, "another-s3cret", &provider.issuer, "Acme Login"] {
        assert!(!written.contains(secret), "{secret} is readable");
    }
    acme.app.delete(&path).by(&owner).send().await.is(StatusCode::NO_CONTENT);
    acme.app.get(&path).by(&owner).send().await.is(StatusCode::NOT_FOUND);
    acme.app.delete(&path).by(&owner).send().await.is(StatusCode::NOT_FOUND);
    assert_eq!(acme.app.get(SSO).by(&owner).send().await.body, json!({"items": []}));
}

/// REQUIREMENTS §12, ruling 15 and ruling 12
#[tokio::test]
async fn a_provider_is_the_owners_alone_and_another_tenants_is_not_there() {
    let acme = Acme::with_private_providers().await;
    let owner = acme.session().await.access;
    let provider = configured(&acme.app, acme.tenant.id, "https://id.example").await;
    let path = format!("{SSO}/{provider}");
    let admin = acme.app.token(Role::Administrator, Some(acme.tenant.id));
    for path in [SSO, &path] {
        acme.app.get(path).by(&admin).send().await.refused(403, "ERR-AUTH-403", "forbidden");
    }
    let other = acme.app.provision("other").await;
    let theirs = acme.app.token(Role::Owner, Some(other.id));
    acme.app.get(&path).by(&theirs).send().await.is(StatusCode::NOT_FOUND);
    acme.app.patch(&path, json!({"required": true})).by(&theirs).send().await.is(StatusCode::NOT_FOUND);
    acme.app.delete(&path).by(&theirs).send().await.is(StatusCode::NOT_FOUND);
    acme.app.post(&format!("{path}/verify"), json!({})).by(&theirs).send().await.is(StatusCode::NOT_FOUND);
    assert_eq!(acme.app.get(SSO).by(&theirs).send().await.body, json!({"items": []}));
    assert_eq!(acme.app.get(&path).by(&owner).send().await.is(StatusCode::OK).body["required"], json!(false));
}

/// FR-AUTH-003: checked by discovery.
#[tokio::test]
async fn a_provider_that_is_not_what_it_must_be_is_not_configured() {
    let acme = Acme::with_private_providers().await;
    let owner = acme.session().await.access;
    let refused = async |provider: &Provider, detail: &str| {
        let answer = acme.app.post(SSO, provider.wish()).by(&owner).send().await;
        answer.refused(422, "ERR-VAL-422", detail);
    };
    let provider = Provider::open().await;
    let decent = provider.does().document.clone();
    for (member, value, detail) in [
        ("issuer", json!("https://another.example"), "sso_issuer_mismatch"),
        ("issuer", json!(format!("{}/", provider.issuer)), "sso_issuer_mismatch"),
        ("response_types_supported", json!(["id_token"]), "sso_unsupported"),
        ("id_token_signing_alg_values_supported", json!(["HS256", "none"]), "sso_unsupported"),
        ("token_endpoint", Value::Null, "sso_unsupported"),
        ("token_endpoint", json!("file:///etc/passwd"), "sso_invalid_document"),
        ("authorization_endpoint", json!("javascript:alert(1)"), "sso_invalid_document"),
        ("jwks_uri", json!("no URL"), "sso_invalid_document"),
    ] {
        let mut document = decent.clone();
        document[member] = value.clone();
        provider.does().document = document;
        refused(&provider, detail).await;
    }
    provider.does().document = decent;
    let elsewhere = Provider::open().await;
    for (manner, detail) in [
        (
            Manner::Redirect(format!("{}/.well-known/openid-configuration", elsewhere.issuer)),
            "sso_unreachable",
        ),
        (Manner::Giant, "sso_unreachable"),
        (Manner::Status(404), "sso_unreachable"),
        (Manner::Text("no JSON"), "sso_invalid_document"),
        (Manner::Never, "sso_unreachable"),
    ] {
        provider.does().manner = manner;
        refused(&provider, detail).await;
    }
    assert!(elsewhere.does().asked.is_empty(), "a redirect was followed");
    let gone = json!({"name": "x", "issuer": "http://127.0.0.1:9", "client_id": "x", "client_secret": "x"});
    acme.app.post(SSO, gone).by(&owner).send().await.refused(422, "ERR-VAL-422", "sso_unreachable");
    assert_eq!(acme.app.get(SSO).by(&owner).send().await.body, json!({"items": []}));
}

/// CC-SEC-001: unless the deployment says otherwise, nothing of its own network is asked.
#[tokio::test]
async fn a_provider_in_a_private_network_is_never_asked() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let provider = Provider::open().await;
    let configure = async |issuer: &str| {
        let mut wish = provider.wish();
        wish["issuer"] = json!(issuer);
        acme.app.post(SSO, wish).by(&owner).send().await
    };
    let port = provider.issuer.rsplit(':').next().expect("a port").to_owned();
    for issuer in [
        provider.issuer.clone(),
        format!("https://127.0.0.1:{port}"),
        "https://169.254.169.254".to_owned(),
        format!("https://[::ffff:127.0.0.1]:{port}"),
    ] {
        configure(&issuer).await.names(&["/issuer"]);
    }
    // Whose name leads here is found where it leads, and told like one that doesn't answer.
    configure(&format!("https://localhost:{port}")).await.refused(422, "ERR-VAL-422", "sso_unreachable");
    assert!(provider.does().asked.is_empty());
    // One that was configured while it was allowed is not asked either.
    let before = configured(&acme.app, acme.tenant.id, &provider.issuer).await;
    let verify = acme.app.post(&format!("{SSO}/{before}/verify"), json!({})).by(&owner).send().await;
    verify.refused(422, "ERR-VAL-422", "sso_unreachable");
    assert!(provider.does().asked.is_empty());
}

/// CC-DAT-001
#[tokio::test]
async fn a_retry_configures_nothing_more_although_the_provider_is_gone_meanwhile() {
    let acme = Acme::with_private_providers().await;
    let owner = acme.session().await.access;
    let provider = Provider::open().await;
    let configure = || acme.app.post(SSO, provider.wish()).by(&owner);
    let first = configure().idempotency_key("one").send().await.is(StatusCode::CREATED);
    provider.does().manner = Manner::Status(500);
    let again = configure().idempotency_key("one").send().await.is(StatusCode::CREATED);
    assert_eq!((first.id(), again.header("idempotent-replayed")), (again.id(), "true"));
    provider.does().manner = Manner::Decent;
    configure().send().await.refused(409, "ERR-VAL-409", "sso_already_configured");
    for _ in 0..4 {
        configured(&acme.app, acme.tenant.id, "https://id.example").await;
    }
    let other = Provider::open().await;
    let sixth = acme.app.post(SSO, other.wish()).by(&owner).send().await;
    sixth.refused(422, "ERR-VAL-422", "too_many_sso_providers");
}
