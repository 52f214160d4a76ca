//! A hundred tenants that look alike: whatever one of them asks, no answer holds anything of another's (CON-SEC-007).

use std::collections::BTreeSet;

use futures::StreamExt;
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;
use uuid::Uuid;

use crate::app::{PATIENCE, TestApp};

const TENANTS: usize = 100;
const AT_ONCE: usize = 8;
const PASSWORD: &str = "correct horse battery staple";

/// A tenant with the same name, the same names of people and the same flags as all others; only domains differ.
#[derive(Clone, Debug)]
struct House {
    tenant: Uuid,
    owner: Uuid,
    member: Uuid,
    application: Uuid,
    session: Uuid,
    domain: String,
    /// The owner's access token.
    token: String,
}

impl House {
    /// What may stand in no answer to another tenant.
    fn marks(&self) -> Vec<String> {
        let membership = |person: Uuid| aggregates::membership::id_of(self.tenant.into(), person.into()).0;
        let ids = [self.tenant, self.owner, self.member, self.application, self.session];
        let ids = ids.into_iter().chain([membership(self.owner), membership(self.member)]);
        // E-mail addresses end with the domain, and the flag's value is it.
        ids.map(|id| id.to_string()).chain([self.domain.clone(), self.slug()]).collect()
    }

    fn slug(&self) -> String {
        self.domain.replace('.', "-")
    }

    /// Ids that a path may name.
    fn ids(&self) -> [Uuid; 4] {
        let membership = aggregates::membership::id_of(self.tenant.into(), self.member.into()).0;
        [self.owner, self.member, membership, self.session]
    }
}

fn domain(n: usize) -> String {
    format!("tenant-{n:03}.example")
}

/// Provisioned, not yet accepted: tenant and application.
async fn provision(app: &TestApp, n: usize) -> (Uuid, Uuid) {
    let domain = domain(n);
    let body = json!({
        "name": "Acme", "domain": domain, "plan": "pro", "owner_email": format!("owner@{domain}"),
        "application": {"name": format!("Portal {n}"), "environment": "production"},
    });
    let operator = app.token(Role::Operator, None);
    let made = app.post("/api/operator/tenants", body).by(&operator).send().await.is(StatusCode::CREATED);
    let application =
        made.body["application"].as_str().and_then(|id| id.parse().ok()).expect("an application");
    (made.id(), application)
}

/// Waits until all are provisioned to the end, without asking for each.
async fn all_provisioned(app: &TestApp) {
    let all = async {
        loop {
            let client = app.db.server.get().await.expect("a connection");
            let sql = "SELECT count(*) FROM events WHERE event_type = 'tenant.provisioning_completed'";
            let done: i64 = client.query_one(sql, &[]).await.expect("it answers").get(0);
            if usize::try_from(done).expect("a number") == TENANTS {
                return;
            }
        }
    };
    tokio::time::timeout(3 * PATIENCE, all).await.expect("provisioning ends");
    app.settled().await;
}

async fn accept(app: &TestApp, tenant: Uuid, person: Uuid) {
    let body = json!({
        "token": app.invitation(tenant, person).await, "password": PASSWORD, "first_name": "Ann", "last_name": "Smith",
    });
    app.post("/auth/invitations/accept", body).send().await.is(StatusCode::OK);
}

/// The owner accepts, signs in and invites somebody, who accepts; an operator sets a flag.
async fn furnish(app: &TestApp, n: usize, tenant: Uuid, application: Uuid) -> House {
    let (domain, operator) = (domain(n), app.token(Role::Operator, None));
    let shown =
        app.get(&format!("/api/operator/tenants/{tenant}")).by(&operator).send().await.is(StatusCode::OK);
    let owner = shown.body["owners"][0].as_str().and_then(|id| id.parse().ok()).expect("an owner");
    accept(app, tenant, owner).await;
    let body = json!({"email": format!("owner@{domain}"), "password": PASSWORD});
    let session = app.post("/auth/login", body).send().await.is(StatusCode::OK).body;
    let text = |name: &str| session[name].as_str().expect("a text").to_owned();
    let token = text("access_token");
    let body = json!({"email": format!("ann@{domain}"), "role": "user"});
    let member = app.post("/api/v1/users", body).by(&token).send().await.is(StatusCode::CREATED).id();
    accept(app, tenant, member).await;
    let flag = format!("/api/operator/tenants/{tenant}/flags/theme");
    app.put(&flag, json!({"value": domain})).by(&operator).send().await.is(StatusCode::OK);
    let session = text("session").parse().expect("an id");
    House { tenant, owner, member, application, session, domain, token }
}

/// Every GET of the document below `/api/v1` and `/auth`, and whether an application asks it.
fn endpoints() -> Vec<(String, bool)> {
    let document = gateway::openapi::document();
    let paths = document["paths"].as_object().expect("paths").iter();
    let ours = paths.filter(|(path, _)| path.starts_with("/api/v1/") || path.starts_with("/auth/"));
    let reads =
        ours.filter_map(|(path, item)| Some((path.clone(), item.get("get")?.get("x-scope").is_some())));
    reads.collect()
}

/// No mark of another's is in it, neither in the body nor in a header.
#[track_caller]
fn holds_nothing_of(others: &[(usize, Vec<String>)], own: usize, what: &str, answer: &crate::app::Answer) {
    let headers = format!("{:?}", answer.headers);
    for (n, marks) in others.iter().filter(|(n, _)| *n != own) {
        for mark in marks {
            assert!(
                !answer.text.contains(mark),
                "{what} tells tenant {own} of {n}'s {mark}: {}",
                answer.text
            );
            assert!(!headers.contains(mark), "{what} tells tenant {own} of {n}'s {mark}: {headers}");
        }
    }
}

/// CON-SEC-007, CC-SEC-001
#[tokio::test]
async fn a_hundred_tenants_that_look_alike_see_nothing_of_each_other() {
    let app = TestApp::new().await;
    let app = &app;
    let made: Vec<(usize, (Uuid, Uuid))> = futures::stream::iter(0..TENANTS)
        .map(async |n| (n, provision(app, n).await))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    all_provisioned(app).await;
    let mut houses: Vec<(usize, House)> = futures::stream::iter(made)
        .map(async |(n, (tenant, application))| (n, furnish(app, n, tenant, application).await))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    houses.sort_by_key(|(n, _)| *n);
    app.settled().await;
    let marks: Vec<(usize, Vec<String>)> = houses.iter().map(|(n, house)| (*n, house.marks())).collect();
    let distinct: BTreeSet<&String> = marks.iter().flat_map(|(_, marks)| marks).collect();
    assert_eq!(
        distinct.len(),
        marks.iter().map(|(_, marks)| marks.len()).sum::<usize>(),
        "nothing is shared"
    );

    let endpoints = endpoints();
    assert!(endpoints.len() >= 8, "{endpoints:?}");
    for own in [0, TENANTS / 2, TENANTS - 1] {
        let house = &houses[own].1;
        let mut told = String::new();
        let (key, _) = app.issue_key(house.application, &["flag:read"]).await;
        let key = &key;
        for (path, by_application) in &endpoints {
            let credentials = if *by_application { key } else { &house.token };
            for path in paths(path, house) {
                let answer = app.get(&path).by(credentials).send().await;
                holds_nothing_of(&marks, own, &path, &answer);
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{path}: {}", answer.text);
                told.push_str(&answer.text);
            }
        }
        // The walk has seen what there is of its own.
        for mark in house.marks() {
            // Applications are the developers'.
            let is_elsewhere = mark == house.application.to_string();
            assert!(told.contains(&mark) || is_elsewhere, "the walk did not see {own}'s {mark}: {told}");
        }

        // And by name: what is another's is not there, however it is asked for.
        let others: Vec<&House> =
            houses.iter().filter(|(n, _)| *n != own).map(|(_, house)| house).step_by(TENANTS / 4).collect();
        for (path, by_application) in &endpoints {
            let credentials = if *by_application { key } else { &house.token };
            for other in &others {
                let named = app.get(path).by(credentials).header("x-org", &other.tenant.to_string());
                if !path.contains('{') {
                    let answer = named.send().await;
                    assert!(answer.status.is_client_error(), "{path}: {}", answer.text);
                    holds_nothing_of(&marks, own, path, &answer);
                    continue;
                }
                for id in other.ids() {
                    let path = naming(path, id);
                    let answer = app.get(&path).by(credentials).send().await;
                    let answer = answer.refused(404, "ERR-RES-404", "not_found");
                    holds_nothing_of(&marks, own, &path, &answer);
                }
            }
        }
    }
}

/// A path as it stands, with each of the tenant's own ids, and, where there is a list, with what filters it.
fn paths(path: &str, house: &House) -> Vec<String> {
    if path.contains('{') {
        return house.ids().map(|id| naming(path, id)).to_vec();
    }
    vec![
        path.to_owned(),
        format!("{path}?limit=100"),
        format!("{path}?sort=-id"),
        format!("{path}?tenant={}", house.tenant),
    ]
}

/// A path that names one thing, naming this one.
fn naming(path: &str, id: Uuid) -> String {
    let named = path.replace("{id}", &id.to_string()).replace("{job_id}", &id.to_string());
    assert!(!named.contains('{'), "{path} names something else than an id");
    named
}
