//! What operators publish: in force at once, never over a guard, and refusing when it can't be read.

use std::sync::Arc;

use engine::projection::MemoryProjection;
use kernel::{ShardId, StreamId};
use schemas::events::PolicyEvent;
use schemas::values::{MembershipKind, Role};
use uuid::Uuid;

use crate::policy::{Authorizer, PolicyMemory, Sources};
use crate::readiness::Status;
use crate::testing::{Ask, House, TENANT};
use crate::url_map::url_map;

const ONE: Uuid = Uuid::from_u128(0xf1);
const TWO: Uuid = Uuid::from_u128(0xf2);

fn published(text: &str) -> PolicyEvent {
    PolicyEvent::Published { text: text.parse().unwrap() }
}

const NO_PEOPLE: &str = "forbid (principal is Person, action in Action::\"tenant:people\", resource);";

/// A house with an owner, and what they hear when they ask for their tenant and for its people. There is no database:
/// whoever is let in hears that.
struct Asked {
    house: House,
    router: axum::Router,
    owner: String,
}

impl Asked {
    async fn new() -> Self {
        let house = House::new().await;
        house.tenant(TENANT).await;
        let owner = house.member(Role::Owner, MembershipKind::Staff);
        let router = house.router(url_map());
        Self { house, router, owner }
    }

    async fn hears(&self, path: &str, token: &str) -> String {
        let answer = Ask::new(&self.router, "GET", path).bearer(token).send().await;
        answer.body["detail"].as_str().unwrap_or("let in").replace("database", "let in")
    }

    async fn told(&self) -> [String; 2] {
        [self.hears("/api/v1/tenants/me", &self.owner).await, self.hears("/api/v1/users", &self.owner).await]
    }

    fn component(&self) -> (Status, &'static str) {
        let all = self.house.app.readiness.components();
        let policies = all.into_iter().find(|component| component.name == "policies").unwrap();
        assert!(policies.ready, "it stops no requests altogether");
        (policies.status, policies.detail)
    }
}

#[tokio::test]
async fn a_published_policy_is_in_force_until_it_is_withdrawn() {
    let asked = Asked::new().await;
    assert_eq!(asked.told().await, ["let in", "let in"]);
    asked.house.happened("policy", ONE, &published(NO_PEOPLE));
    assert_eq!(asked.told().await, ["let in", "forbidden"]);
    // Another text under the same id takes its place.
    asked.house.happened("policy", ONE, &published(&NO_PEOPLE.replace("people", "settings")));
    assert_eq!(asked.told().await, ["forbidden", "let in"]);
    asked.house.happened("policy", TWO, &published(NO_PEOPLE));
    assert_eq!(asked.told().await, ["forbidden", "forbidden"]);
    for id in [ONE, TWO] {
        asked.house.happened("policy", id, &PolicyEvent::Withdrawn {});
    }
    assert_eq!(asked.told().await, ["let in", "let in"]);
    assert_eq!(asked.component(), (Status::Ok, "in_force"));
}

#[tokio::test]
async fn one_that_permits_opens_no_blocked_tenant() {
    let asked = Asked::new().await;
    let everybody = "permit (principal, action, resource);";
    asked.house.happened("policy", ONE, &published(everybody));
    let blocked = schemas::events::TenantEvent::AccessModeSet { mode: schemas::values::AccessMode::Blocked };
    asked.house.happened("tenant", TENANT.0, &blocked);
    assert_eq!(asked.told().await, ["blocked", "blocked"]);
    let other = format!("/api/operator/tenants/{}", crate::testing::OTHER);
    let limited = asked.house.token(Role::Operator, Some(TENANT), "local:0");
    assert_eq!(asked.hears(&other, &limited).await, "not_found");
}

#[tokio::test]
async fn one_that_cannot_be_read_refuses_what_it_names_and_health_says_so() {
    let asked = Asked::new().await;
    // Published by a binary whose schema knew more.
    let newer = NO_PEOPLE.replace(';', " when { principal.shoe_size > 9 };");
    asked.house.happened("policy", ONE, &published(&newer));
    assert_eq!(asked.told().await, ["let in", "forbidden"]);
    assert_eq!(asked.component(), (Status::Degraded, "unreadable"));
    // What is no Cedar at all may name anything.
    asked.house.happened("policy", ONE, &published("so be it"));
    assert_eq!(asked.told().await, ["forbidden", "forbidden"]);
    // But for what takes it back, and for probes.
    let (path, operator) = (format!("/api/operator/policies/{ONE}"), asked.house.operator());
    assert_eq!(asked.hears("/api/operator/tenants", &operator).await, "forbidden");
    let shown = Ask::new(&asked.router, "GET", &path).bearer(&operator).send().await;
    assert_eq!((shown.status.as_u16(), shown.body["effect"].as_str()), (200, Some("unreadable")));
    assert!(shown.body["faults"][0].as_str().unwrap().contains("1:"), "{}", shown.body);
    assert_eq!(Ask::new(&asked.router, "GET", "/health").send().await.status, 200);
    asked.house.happened("policy", ONE, &PolicyEvent::Withdrawn {});
    assert_eq!(asked.told().await, ["let in", "let in"]);
    assert_eq!(asked.component(), (Status::Ok, "in_force"));
}

#[tokio::test]
async fn one_that_errs_refuses_and_health_says_so_until_it_is_mended() {
    let asked = Asked::new().await;
    let overflows = NO_PEOPLE.replace(';', " when { 9223372036854775807 + 1 == 0 };");
    asked.house.happened("policy", ONE, &published(&overflows));
    assert_eq!(asked.component(), (Status::Ok, "in_force"));
    assert_eq!(asked.told().await, ["let in", "forbidden"]);
    assert_eq!(asked.component(), (Status::Degraded, "erring"));
    asked.house.happened("policy", ONE, &published(&NO_PEOPLE.replace(';', " when { 1 == 0 };")));
    assert_eq!(asked.told().await, ["let in", "let in"]);
    assert_eq!(asked.component(), (Status::Ok, "in_force"));
}

#[tokio::test]
async fn a_policy_that_locks_everybody_out_can_be_taken_back() {
    let asked = Asked::new().await;
    asked.house.happened("policy", ONE, &published("forbid (principal, action, resource);"));
    let operator = asked.house.operator();
    assert_eq!(asked.hears("/api/operator/tenants", &operator).await, "forbidden");
    let path = format!("/api/operator/policies/{ONE}");
    // It is nowhere in the journal of this house, so that it can't be withdrawn; but the operator is let in.
    let withdrawn = Ask::new(&asked.router, "DELETE", &path).bearer(&operator).send().await;
    assert_eq!(withdrawn.problem(), (404, "ERR-RES-404", "not_found"));
    assert_eq!(asked.hears("/api/operator/policies", &operator).await, "let in");
}

#[test]
fn a_stream_that_cannot_be_folded_closes_what_policies_reach() {
    let authorizer = Arc::new(Authorizer::new(&Sources::builtin()).unwrap());
    let memory = PolicyMemory::new(authorizer.clone());
    assert!(memory.close(ShardId(0), &StreamId::new("policy", ONE)));
    assert_eq!(memory.unreadable(), [ONE]);
    assert!(!super::owners(&authorizer, "own_tenant:read").allowed);
    memory.reset(ShardId(1));
    assert!(!super::owners(&authorizer, "own_tenant:read").allowed);
    memory.reset(ShardId(0));
    assert!(super::owners(&authorizer, "own_tenant:read").allowed);
}

#[test]
fn what_is_published_is_one_policy_that_names_no_tenant_and_no_person() {
    let authorizer = Authorizer::new(&Sources::builtin()).unwrap();
    for (text, told) in [
        ("permit (principal, action, resource == Tenant::\"a\");", "Tenant"),
        ("permit (principal, action, resource) when { principal == Person::\"b\" };", "Person"),
        ("permit (principal, action, resource) unless { principal == Operator::\"local:0\" };", "Operator"),
        ("", "exactly one"),
        ("permit (principal, action, resource); forbid (principal, action, resource);", "exactly one"),
        ("permit (principal == ?principal, action, resource);", "templates"),
        ("permit (principal, action == Action::\"flags:pol\", resource);", "flags:pol"),
        ("permit (principal, action, resource) when { 1 == 0 };", "impossible"),
    ] {
        let faults = authorizer.read_offered(ONE, text).expect_err(text);
        assert!(faults.to_string().contains(told), "{text}: {faults}");
    }
    let policy = authorizer.read_offered(ONE, "@id(\"x\") permit (principal, action, resource);").unwrap();
    assert_eq!(policy.id().to_string(), ONE.to_string(), "its name is its id");
}
