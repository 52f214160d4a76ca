//! What a provider must not get away with, nor somebody between it and us.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;

use super::browser::{Away, refused};
use crate::app::Answer;
use crate::http_sign_in::Acme;
use crate::openid_provider::{Manner, Provider, SECRET, Signed};

const ANN: &str = "ann@acme.example";

async fn acme() -> (Acme, Provider, uuid::Uuid) {
    let (acme, provider, id) = Acme::with_provider(json!({})).await;
    let owner = acme.session().await.access;
    acme.member(&owner, ANN, Role::User).await;
    (acme, provider, id)
}

/// OpenID Connect Core 1.0, §3.1.3.7
#[tokio::test]
async fn an_id_token_that_is_not_what_it_must_be_signs_nobody_in() {
    let (acme, provider, id) = acme().await;
    let now = acme.app.server.state.clock.now().timestamp();
    for (what, claims) in [
        ("another nonce", json!({"nonce": "another"})),
        ("no nonce", json!({"nonce": null})),
        ("another audience", json!({"aud": "another"})),
        ("a further audience", json!({"aud": ["tenantry", "another"], "azp": "tenantry"})),
        ("another party", json!({"azp": "another"})),
        ("another issuer", json!({"iss": "https://another.example"})),
        ("no issuer", json!({"iss": null})),
        ("no end", json!({"exp": null})),
        ("its end", json!({"exp": now - 1})),
        ("the future", json!({"iat": now + 3600, "exp": now + 7200})),
        ("long ago", json!({"iat": now - 3600})),
        ("no subject", json!({"sub": null})),
        ("a giant subject", json!({"sub": "x".repeat(256)})),
        ("another access token", json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"})),
        ("no address", json!({"email": null})),
    ] {
        provider.does().claims = claims;
        let answer = acme.sso(id).await;
        assert_eq!(answer.body["detail"], "invalid_credentials", "{what}: {}", answer.text);
        refused(answer);
    }
    // The same with nothing wrong, so that none of these was refused by accident.
    provider.does().claims = json!({"aud": ["tenantry"], "azp": "tenantry"});
    acme.sso(id).await.is(StatusCode::OK);
}

/// CC-AUTH-002
#[tokio::test]
async fn an_id_token_that_the_providers_key_did_not_sign_signs_nobody_in() {
    let (acme, provider, id) = acme().await;
    let published = provider.published().to_string();
    for signed in
        [Signed::AnotherKey, Signed::Nothing, Signed::Secret(SECRET.into()), Signed::Secret(published.into())]
    {
        provider.does().signed = signed.clone();
        let answer = acme.sso(id).await;
        assert_eq!(answer.body["detail"], "invalid_credentials", "{signed:?}: {}", answer.text);
    }
    provider.does().signed = Signed::ItsKey;
    acme.sso(id).await.is(StatusCode::OK);
}

/// A provider that signs with another key is asked for it, and not without end.
#[tokio::test]
async fn a_provider_may_take_another_key_and_is_asked_for_it_once_in_a_while() {
    let (acme, provider, id) = acme().await;
    acme.sso(id).await.is(StatusCode::OK);
    provider.does().signed = Signed::ItsNextKey;
    acme.sso(id).await.is(StatusCode::OK);
    let asked = || provider.does().asked.iter().filter(|path| *path == "/keys").count();
    let before = asked();
    for _ in 0..3 {
        provider.does().signed = Signed::ItsNextKey;
        refused(acme.sso(id).await);
    }
    assert_eq!(asked(), before);
}

/// RFC 9207, RFC 7636
#[tokio::test]
async fn a_code_of_another_provider_or_of_another_sign_in_is_worth_nothing() {
    let (acme, provider, id) = acme().await;
    let away = Away::begin(&acme.app, id).await;
    let back = away.at_provider().await;
    let mixed = back.replace("&iss=", "&iss=https%3A%2F%2Fanother.example&x=");
    refused(away.come_back(&acme.app, &mixed).await);
    assert!(!provider.does().asked.contains(&"/token".to_owned()), "the code went nowhere");
    // Somebody's stolen code, brought by another browser in its own sign-in: its verifier is another.
    let victim = Away::begin(&acme.app, id).await;
    let code = code_of(&victim.at_provider().await);
    let thief = Away::begin(&acme.app, id).await;
    let path = format!("/auth/sso/callback?code={code}&state={}", thief.asked("state"));
    refused(thief.come_back(&acme.app, &path).await);
    let nothing = format!("/auth/sso/callback?state={}", thief.asked("state"));
    thief.come_back(&acme.app, &nothing).await.refused(401, "ERR-AUTH-401", "sso_denied");
}

fn code_of(back: &str) -> String {
    let (_, rest) = back.split_once("code=").expect("a code");
    rest.split('&').next().expect("its text").to_owned()
}

/// CC-SEC-001
#[tokio::test]
async fn a_token_endpoint_that_misbehaves_signs_nobody_in_and_leads_nowhere() {
    let (acme, provider, id) = acme().await;
    let elsewhere = Provider::open().await;
    let unreachable = |answer: Answer| {
        answer.refused(503, "ERR-SYS-503", "sso_unreachable");
    };
    let with = async |manner: Manner| {
        provider.does().token_manner = manner;
        acme.sso(id).await
    };
    unreachable(with(Manner::Giant).await);
    unreachable(with(Manner::Never).await);
    refused(with(Manner::Redirect(format!("{}/token", elsewhere.issuer))).await);
    assert!(elsewhere.does().asked.is_empty(), "a redirect was followed");
    refused(with(Manner::Status(500)).await);
    refused(with(Manner::Text("no JSON")).await);
    refused(with(Manner::Text(r#"{"access_token": "a", "token_type": "Bearer"}"#)).await);
    refused(
        with(Manner::Text(r#"{"access_token": "a", "token_type": "Bearer", "id_token": "a.b.c"}"#)).await,
    );
    with(Manner::Decent).await.is(StatusCode::OK);
}

/// CC-LOG-003: what came of a provider's answer is in the audit trail.
#[tokio::test]
async fn a_sign_in_by_a_provider_is_audited_like_a_login_and_so_is_a_refusal() {
    let (acme, provider, id) = acme().await;
    let done = acme.sso(id).await.is(StatusCode::OK);
    provider.does().claims = json!({"sub": "another"});
    let failed = acme.sso(id).await;
    refused(failed.clone());
    acme.app.server.state.audit.flush().await;
    let entries = acme.app.entries(&[done.trace]).await;
    let found: Vec<_> = entries.iter().filter(|entry| entry.action == "sign_in:sso").collect();
    assert_eq!(found.len(), 1, "{entries:?}");
    assert_eq!((found[0].outcome.as_str(), found[0].tenant), ("success", Some(acme.tenant.id)));
    // Strangers' refusals are counted, so that they can't fill the disk.
    acme.app.settled().await;
    let client = acme.app.db.server.get().await.expect("a connection");
    let sql = "SELECT count(*) FROM read_model.audit_trail_v4 \
               WHERE action = 'sign_in:sso' AND outcome = 'denied' AND code = 'ERR-AUTH-401' AND tenant = $1";
    let denied: i64 = client.query_one(sql, &[&acme.tenant.id]).await.expect("it answers").get(0);
    assert_eq!(denied, 1);
}
