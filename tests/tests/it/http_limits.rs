//! Rate limits over HTTP, and whose address a request has behind a proxy.

use std::net::Ipv4Addr;

use reqwest::{Client, StatusCode};
use schemas::values::Role;
use serde_json::json;

use crate::app::{Answer, PATIENCE, TestApp};

/// What a header field says: `"read";r=4;t=12`.
#[track_caller]
fn parameter(answer: &Answer, field: &str, name: &str) -> u64 {
    let text = answer.header(field);
    let value = text.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{field}: {text} has no {name}"))
}

#[track_caller]
fn limited(answer: Answer) -> u64 {
    let answer = answer.refused(429, "ERR-RATE-429", "rate_limited");
    answer.header("retry-after").parse().expect("whole seconds")
}

/// Asks for what needs no credentials, in vain.
async fn refresh(app: &TestApp, client: &Client, for_whom: Option<&str>) -> Answer {
    let call = app.post_by(client, "/auth/refresh", json!({"refresh_token": "tr_AAAA"}));
    match for_whom {
        Some(address) => call.header("x-forwarded-for", address).send().await,
        None => call.send().await,
    }
}

/// ERR-RATE-429
#[tokio::test]
async fn a_caller_is_told_what_is_left_and_over_it_is_refused_while_others_are_served() {
    let app = TestApp::with(&["--rate-write", "4/1h"]).await;
    let (acme, other) = (app.provision("acme").await, app.provision("other").await);
    let (ann, ben) = (
        app.token_of(acme.owner, Role::Owner, Some(acme.id)),
        app.token_of(other.owner, Role::Owner, Some(other.id)),
    );
    let rename = |token: &str| app.patch("/api/v1/tenants/me", json!({"name": "Renamed"})).by(token).send();
    for left in [3, 2, 1, 0] {
        let answer = rename(&ann).await.is(StatusCode::OK);
        assert_eq!(answer.header("ratelimit-policy"), "\"write\";q=4;w=3600");
        assert!(answer.header("ratelimit").starts_with("\"write\";r="), "{}", answer.header("ratelimit"));
        assert_eq!(parameter(&answer, "ratelimit", "r"), left);
        let full_in = (4 - left) * 900;
        assert!((full_in - 60..=full_in).contains(&parameter(&answer, "ratelimit", "t")));
    }
    let refused = rename(&ann).await;
    assert_eq!(parameter(&refused, "ratelimit", "r"), 0);
    let trace = refused.trace;
    let wait = limited(refused);
    assert!((840..=900).contains(&wait), "{wait}");
    // Reading is another class, and others are others.
    app.get("/api/v1/tenants/me").by(&ann).send().await.is(StatusCode::OK);
    rename(&ben).await.is(StatusCode::OK);
    app.get("/health").send().await.is(StatusCode::OK);
    let told = async {
        loop {
            if let [entry] = &app.entries(&[trace]).await[..] {
                return entry.clone();
            }
        }
    };
    let entry = tokio::time::timeout(PATIENCE, told).await.expect("it is audited");
    assert_eq!((entry.status, entry.outcome.as_str(), entry.tenant), (Some(429), "failure", Some(acme.id)));
}

#[tokio::test]
async fn whoever_waits_is_let_in_again_and_another_address_was_never_kept_out() {
    let app = TestApp::with(&["--rate-sign-in", "2/2s"]).await;
    let (one, two) = (app.http.clone(), TestApp::client_at(Ipv4Addr::new(127, 0, 0, 2)));
    let refused = async {
        loop {
            let answer = refresh(&app, &one, None).await;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                return limited(answer);
            }
            answer.refused(401, "ERR-AUTH-401", "invalid_token");
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, refused).await.expect("a flood is refused"), 1);
    refresh(&app, &two, None).await.refused(401, "ERR-AUTH-401", "invalid_token");
    let again = async { while refresh(&app, &one, None).await.status == StatusCode::TOO_MANY_REQUESTS {} };
    tokio::time::timeout(PATIENCE, again).await.expect("asking in vain makes the wait no longer");
}

#[tokio::test]
async fn a_tenants_people_share_its_limit_and_another_tenant_has_its_own() {
    let app = TestApp::with(&["--rate-tenant", "6/1h"]).await;
    let (acme, other) = (app.provision("acme").await, app.provision("other").await);
    let look = async |token: String| app.get("/api/v1/tenants/me").by(&token).send().await;
    let owner = app.token_of(acme.owner, Role::Owner, Some(acme.id));
    let administrator = app.token(Role::Administrator, Some(acme.id));
    for _ in 0..3 {
        look(owner.clone()).await.is(StatusCode::OK);
        look(administrator.clone()).await.is(StatusCode::OK);
    }
    for token in [&owner, &administrator] {
        let refused = look(token.clone()).await;
        assert_eq!(refused.header("ratelimit-policy"), "\"tenant\";q=6;w=3600");
        limited(refused);
    }
    look(app.token(Role::Owner, Some(other.id))).await.is(StatusCode::OK);
    // An operator can do something about it.
    let suspend =
        app.post(&format!("/api/operator/tenants/{}/suspend", acme.id), json!({"reason": "a flood"}));
    suspend.by(&app.token(Role::Operator, None)).send().await.is(StatusCode::OK);
}

/// CC-SEC-001: behind a proxy of ours everybody has an address of their own, and nobody another's.
#[tokio::test]
async fn behind_a_trusted_proxy_each_address_has_its_own_limit_and_none_can_be_forged() {
    let app = TestApp::with(&["--rate-address", "30/1h", "--trusted-proxies", "127.0.0.1,10.0.0.0/8"]).await;
    let proxy = app.http.clone();
    let mut n = 0;
    let flood = async {
        loop {
            n += 1;
            // What the stranger claims is another address each time.
            let claim = format!("198.51.100.{n}, 203.0.113.7, 10.1.2.3");
            let answer = refresh(&app, &proxy, Some(&claim)).await;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                return limited(answer);
            }
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("a flood is refused");
    assert_eq!(n, 31);
    refresh(&app, &proxy, Some("203.0.113.8")).await.refused(401, "ERR-AUTH-401", "invalid_token");
    // Who comes directly is no proxy of ours: nothing that they say is believed, and they harm nobody else.
    let stranger = TestApp::client_at(Ipv4Addr::new(127, 0, 0, 2));
    refresh(&app, &stranger, Some("203.0.113.7")).await.refused(401, "ERR-AUTH-401", "invalid_token");
}

#[tokio::test]
async fn the_address_that_a_trusted_proxy_names_is_the_origin_everywhere() {
    let app = TestApp::with(&["--trusted-proxies", "127.0.0.1", "--sign-in-risk", "record"]).await;
    let tenant = app.provision_only("acme", json!({})).await;
    let token = app.invitation(tenant.id, tenant.owner).await;
    let password = "correct horse battery staple";
    let accept = app.post("/auth/invitations/accept", json!({"token": token, "password": password}));
    accept.send().await.is(StatusCode::OK);
    let log_in = |password: &str, from: &str| {
        let body = json!({"email": "owner@acme.example", "password": password});
        app.post("/auth/login", body).header("x-forwarded-for", from).send()
    };
    let session = log_in(password, "192.0.2.1, 2001:db8::7").await.is(StatusCode::OK);
    let access = session.body["access_token"].as_str().expect("a token");
    let sessions = app.get("/api/v1/users/me/sessions").by(access).send().await.is(StatusCode::OK);
    assert_eq!(sessions.body["items"][0]["address"], "2001:db8::7");
    // The ladder goes by it too: one address guesses itself out, another one does not notice.
    let mut guesses = 0;
    while log_in("wrong", "203.0.113.7").await.status == StatusCode::UNAUTHORIZED {
        guesses += 1;
        assert!(guesses < 20, "guessing is slowed");
    }
    log_in(password, "203.0.113.7").await.refused(429, "ERR-RATE-429", "slow_down");
    log_in(password, "203.0.113.8").await.is(StatusCode::OK);
}
