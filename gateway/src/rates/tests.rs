//! What the limits promise: at the gate, and by address.

use std::net::IpAddr;

use chrono::TimeDelta;
use schemas::values::{MembershipKind, Role};

use super::*;
use crate::state::Limits;
use crate::testing::{Answer, Ask, House, OTHER, TENANT};
use crate::url_map::url_map;

fn rate(text: &str) -> Limited {
    text.parse().unwrap()
}

/// No limit but those that a test sets.
fn unlimited() -> RateSettings {
    let none = Limited(None);
    RateSettings {
        rate_sign_in: none,
        rate_read: none,
        rate_write: none,
        rate_poll: none,
        rate_tenant: none,
        rate_address: none,
        ..RateSettings::default()
    }
}

async fn house(rates: RateSettings) -> House {
    House::with_limits(Limits { rates, ..Limits::default() }).await
}

async fn ask(house: &House, method: &str, path: &str, token: &str) -> Answer {
    Ask::new(&house.router(url_map()), method, path).bearer(token).send().await
}

const READ: &str = "/api/operator/policies";

#[tokio::test]
async fn a_caller_over_the_limit_is_refused_until_there_is_room_and_nobody_else_is() {
    let house = house(RateSettings { rate_read: rate("3/30s"), ..unlimited() }).await;
    let (one, two) = (house.operator(), house.token(Role::Operator, None, "local:1"));
    for left in ["\"read\";r=2;t=10", "\"read\";r=1;t=20", "\"read\";r=0;t=30"] {
        let answer = ask(&house, "GET", READ, &one).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["ratelimit"], left);
        assert_eq!(answer.headers["ratelimit-policy"], "\"read\";q=3;w=30");
    }
    house.audit.take();
    for _ in 0..2 {
        let answer = ask(&house, "GET", READ, &one).await;
        assert_eq!(answer.problem(), (429, "ERR-RATE-429", "rate_limited"));
        assert_eq!(answer.headers["retry-after"], "10");
        assert_eq!(answer.headers["ratelimit"], "\"read\";r=0;t=30");
    }
    let entries = house.audit.take();
    assert_eq!(entries.len(), 2, "each is audited, like whatever there is no room for");
    assert_eq!(entries[0].fact.detail.as_deref(), Some("rate_limited"));
    assert_eq!(entries[0].metadata.actor.id, "local:0");
    assert_eq!(ask(&house, "GET", READ, &two).await.status, 200);
    // What changes something is another class, which has no limit here.
    let other = ask(&house, "DELETE", &format!("{READ}/{}", OTHER.0), &one).await;
    assert_ne!(other.status, 429);
    assert!(!other.headers.contains_key("ratelimit"));
    house.clock.advance(TimeDelta::seconds(10));
    assert_eq!(ask(&house, "GET", READ, &one).await.status, 200);
    assert_eq!(ask(&house, "GET", READ, &one).await.status, 429);
}

#[tokio::test]
async fn a_tenant_over_its_limit_leaves_operators_and_neighbours_alone() {
    let house = house(RateSettings { rate_tenant: rate("2/1m"), ..unlimited() }).await;
    house.tenant(TENANT).await;
    let member = house.member(Role::Owner, MembershipKind::Staff);
    let of_other = house.token(Role::Owner, Some(OTHER), "local:1");
    let own = "/api/v1/tenants/me";
    for _ in 0..2 {
        assert_ne!(ask(&house, "GET", own, &member).await.status, 429);
    }
    let answer = ask(&house, "GET", own, &member).await;
    assert_eq!(answer.problem(), (429, "ERR-RATE-429", "rate_limited"));
    assert_eq!(answer.headers["ratelimit-policy"], "\"tenant\";q=2;w=60");
    assert_ne!(ask(&house, "GET", own, &of_other).await.status, 429);
    let suspend = format!("/api/operator/tenants/{TENANT}/suspend");
    let suspend = Ask::new(&house.router(url_map()), "POST", &suspend).bearer(&house.operator());
    assert_eq!(suspend.json(&serde_json::json!({"reason": "a flood"})).send().await.status, 200);
}

/// Nobody can use up a tenant's limit by asking for what is not theirs.
#[tokio::test]
async fn a_stranger_to_a_tenant_takes_nothing_of_its_limit() {
    let house = house(RateSettings { rate_tenant: rate("1/1m"), ..unlimited() }).await;
    house.tenant(TENANT).await;
    let member = house.member(Role::Owner, MembershipKind::Staff);
    let of_other = house.token(Role::Owner, Some(OTHER), "local:1");
    for _ in 0..3 {
        let router = house.router(url_map());
        let asked = Ask::new(&router, "GET", "/api/v1/tenants/me").bearer(&of_other);
        asked.header("x-org", &TENANT.to_string()).send().await;
    }
    assert_ne!(ask(&house, "GET", "/api/v1/tenants/me", &member).await.status, 429);
}

#[tokio::test]
async fn strangers_are_counted_by_the_class_of_what_they_ask_and_probes_not_at_all() {
    let house = house(RateSettings { rate_sign_in: rate("1/1m"), ..unlimited() }).await;
    let router = house.router(url_map());
    let refresh = || {
        let body = serde_json::json!({"refresh_token": "tr_AAAA"});
        Ask::new(&router, "POST", "/auth/refresh").json(&body).send()
    };
    assert_eq!(refresh().await.problem().0, 401);
    assert_eq!(refresh().await.problem(), (429, "ERR-RATE-429", "rate_limited"));
    assert_eq!(house.audit.take(), [], "a stranger's are counted");
    for path in ["/health", "/health", "/openapi.json", "/.well-known/jwks.json"] {
        let answer = Ask::new(&router, "GET", path).send().await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("ratelimit"), "{path}");
    }
}

#[test]
fn every_endpoint_that_is_audited_has_a_class() {
    let map = url_map();
    let class = |action: &str| {
        map.endpoints().find(|known| known.action == action).and_then(|known| Class::of(known))
    };
    for endpoint in map.endpoints() {
        let is_never = matches!(endpoint.audited, Audited::Never(_));
        assert_eq!(Class::of(endpoint).is_none(), is_never, "{}", endpoint.path);
    }
    assert_eq!(class("health:ready"), None);
    assert_eq!(class("sign_in:log_in"), Some(Class::SignIn));
    assert_eq!(class("sign_in:refresh"), Some(Class::SignIn));
    assert_eq!(class("flags:poll"), Some(Class::Poll));
    assert_eq!(class("platform:health"), Some(Class::Read));
    assert_eq!(class("users:list"), Some(Class::Read));
    assert_eq!(class("users:invite"), Some(Class::Write));
}

#[test]
fn an_address_is_a_whole_network_of_ipv6_and_one_that_is_not_known_has_no_limit() {
    let rates = Rates::new(&RateSettings { rate_address: rate("2/1m"), ..unlimited() });
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let arrives = |address: &str| rates.arrives(Some(address.parse::<IpAddr>().unwrap()), now).is_ok();
    assert!(arrives("2001:db8::1") && arrives("2001:db8::2:3"));
    assert!(!arrives("2001:db8::4"), "the same /64");
    assert!(arrives("2001:db8:0:1::1"), "another");
    assert!(arrives("192.0.2.1") && arrives("::ffff:192.0.2.1") && !arrives("192.0.2.1"));
    for _ in 0..10 {
        assert!(rates.arrives(None, now).is_ok());
    }
}
