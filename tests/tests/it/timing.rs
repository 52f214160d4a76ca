//! How long a login that fails takes tells nobody why it failed (CON-SEC-009).
//!
//! Not a test of how fast anything is: of whether four kinds of failure can be told apart by a clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::{Client, StatusCode};
use schemas::values::Role;
use serde_json::json;
use uuid::Uuid;

use crate::app::{TestApp, TestTenant};

const PASSWORD: &str = "correct horse battery staple";
/// Accounts of each kind.
const ACCOUNTS: usize = 10;
/// Logins at each account: with all tries together fewer than strangers have free at one account (20).
const ROUNDS: usize = 6;
const TRIES: usize = 3;
/// An address tries so many accounts of each kind, so that all four make what an address has free (20).
const ACCOUNTS_EACH: usize = 5;
/// How far the medians may be apart. Without the work that nobody's password costs they are apart by a factor.
const APART_MAX: f64 = 1.25;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Unknown,
    WrongPassword,
    Disabled,
    WithoutPassword,
}

const KINDS: [Kind; 4] = [Kind::Unknown, Kind::WrongPassword, Kind::Disabled, Kind::WithoutPassword];

impl Kind {
    fn email(self, n: usize) -> String {
        let name = match self {
            Self::Unknown => "unknown",
            Self::WrongPassword => "wrong",
            Self::Disabled => "disabled",
            Self::WithoutPassword => "without",
        };
        format!("{name}-{n}@acme.example")
    }
}

/// Everybody there is; nothing is made for [`Kind::Unknown`].
async fn people(app: &TestApp, tenant: &TestTenant) {
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    let wanted = KINDS[1..].iter().flat_map(|kind| (0..ACCOUNTS).map(move |n| (*kind, n)));
    let made = wanted.map(async |(kind, n)| {
        let body = json!({"email": kind.email(n), "role": "user"});
        let invited = app.post("/api/v1/users", body).by(&owner).send().await.is(StatusCode::CREATED).id();
        if kind == Kind::WithoutPassword {
            return;
        }
        accept(app, tenant.id, invited).await;
        if kind == Kind::WrongPassword {
            // Whoever signed in before is known without a look at the database.
            let body = json!({"email": kind.email(n), "password": PASSWORD});
            app.post("/auth/login", body).send().await.is(StatusCode::OK);
        }
        if kind == Kind::Disabled {
            app.disable(invited).await;
        }
    });
    futures::stream::iter(made).buffer_unordered(4).collect::<Vec<()>>().await;
}

async fn accept(app: &TestApp, tenant: Uuid, person: Uuid) {
    let token = app.invitation(tenant, person).await;
    let body = json!({"token": token, "password": PASSWORD});
    app.post("/auth/invitations/accept", body).send().await.is(StatusCode::OK);
}

async fn fails(app: &TestApp, from: &Client, kind: Kind, n: usize) -> Duration {
    // Whoever is disabled, or has none, knows the right one.
    let password = if kind == Kind::WrongPassword { "quiet otters juggle lanterns" } else { PASSWORD };
    let call = app.post_by(from, "/auth/login", json!({"email": kind.email(n), "password": password}));
    let begun = Instant::now();
    let answer = call.send().await;
    let took = begun.elapsed();
    answer.refused(401, "ERR-AUTH-401", "invalid_credentials");
    took
}

/// The median of each kind, all of them in turn, so that whatever else the machine does falls on all alike.
async fn medians(app: &TestApp, attempt: usize) -> BTreeMap<Kind, Duration> {
    let mut took: BTreeMap<Kind, Vec<Duration>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for first in (0..ACCOUNTS).step_by(ACCOUNTS_EACH) {
            let place = u8::try_from(1 + round * ACCOUNTS + first).expect("a small number");
            let from =
                TestApp::client_at(Ipv4Addr::new(127, 0, 10 + u8::try_from(attempt).expect("few"), place));
            // The connection is there before anything is measured.
            let url = format!("http://{}/health", app.server.public);
            from.get(url).send().await.expect("the server answers").text().await.expect("all of it");
            for n in first..first + ACCOUNTS_EACH {
                for turn in 0..KINDS.len() {
                    let kind = KINDS[(turn + n + round) % KINDS.len()];
                    took.entry(kind).or_default().push(fails(app, &from, kind, n).await);
                }
            }
        }
    }
    let median = |mut all: Vec<Duration>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    took.into_iter().map(|(kind, all)| (kind, median(all))).collect()
}

/// CON-SEC-009
#[tokio::test]
async fn an_unknown_address_a_wrong_password_a_disabled_person_and_one_without_password_take_as_long() {
    let app = TestApp::with(&["--password-memory-kib", "8192", "--password-passes", "1"]).await;
    let tenant = app.provision("acme").await;
    people(&app, &tenant).await;
    let mut seen = Vec::new();
    // Once is enough: a machine that is busy makes them differ by chance, but no chance makes them alike.
    for attempt in 0..TRIES {
        let medians = medians(&app, attempt).await;
        let (shortest, longest) =
            (medians.values().min().expect("four"), medians.values().max().expect("four"));
        if longest.as_secs_f64() <= shortest.as_secs_f64() * APART_MAX {
            return;
        }
        seen.push(medians);
    }
    panic!("they can be told apart: {seen:?}");
}
