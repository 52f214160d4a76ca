//! Attacks on sign-in, carried out over HTTP from several addresses: how much they get, who goes on getting in
//! meanwhile, and what the audit trail tells of them (docs/authentication.md, "Guessing is slowed").

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use futures::StreamExt;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{PATIENCE, TestApp};

const PASSWORD: &str = "correct horse battery staple";
/// Guesses at one account from one address before the next has to wait.
const FREE_AT_ONE: usize = 5;
/// Guesses at one account from everywhere, within an hour.
const FREE_FROM_EVERYWHERE: usize = 20;
/// Accounts that one address may try, within ten minutes.
const FREE_ACCOUNTS: usize = 20;
/// Requests under way at once: an attacker doesn't wait for answers.
const AT_ONCE: usize = 16;
/// More guesses than anybody is let in with before the test is over.
const MANY: usize = 200;

/// A tenant, whose owner has signed in before.
struct Town {
    app: TestApp,
    owner: Uuid,
    device: String,
}

/// What became of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    /// The password was looked at.
    LetThrough,
    Slowed,
    /// There was no room for it, and nobody learnt anything.
    NoRoom,
}

impl Town {
    const VICTIM: &str = "owner@acme.example";

    async fn new() -> Self {
        let app = TestApp::new().await;
        let tenant = app.provision_only("acme", json!({})).await;
        let token = app.invitation(tenant.id, tenant.owner).await;
        let accept = json!({"token": token, "password": PASSWORD});
        app.post("/auth/invitations/accept", accept).send().await.is(StatusCode::OK);
        let login = json!({"email": Self::VICTIM, "password": PASSWORD});
        let login = app.post("/auth/login", login).send().await.is(StatusCode::OK);
        let device = login.body["device"].as_str().expect("a device").to_owned();
        Self { app, owner: tenant.owner, device }
    }

    async fn guess(&self, from: &Client, email: &str, password: &str) -> Guess {
        let body = json!({"email": email, "password": password});
        let answer = self.app.post_by(from, "/auth/login", body).send().await;
        match (answer.status.as_u16(), answer.body["detail"].as_str()) {
            (401, Some("invalid_credentials")) => Guess::LetThrough,
            (429, Some("slow_down")) => {
                assert!(answer.header("retry-after").parse::<u64>().expect("whole seconds") >= 1);
                Guess::Slowed
            }
            (429, Some("busy")) => Guess::NoRoom,
            _ => panic!("{}", answer.text),
        }
    }

    /// Makes guesses, many at once; how many were let through.
    async fn guesses(&self, guesses: impl IntoIterator<Item = (&Client, String, String)>) -> usize {
        let made = guesses
            .into_iter()
            .map(async |(from, email, password)| self.guess(from, &email, &password).await);
        let made: Vec<Guess> = futures::stream::iter(made).buffer_unordered(AT_ONCE).collect().await;
        made.into_iter().filter(|guess| *guess == Guess::LetThrough).count()
    }

    /// The owner signs in where they signed in before.
    async fn victim_gets_in(&self, from: &Client) {
        let body = json!({"email": Self::VICTIM, "password": PASSWORD, "device": self.device});
        self.app.post_by(from, "/auth/login", body).send().await.is(StatusCode::OK);
    }

    /// Asks again and again, until one guess more is let through.
    async fn go_on(&self, from: &Client, email: &str) {
        let let_through =
            async { while self.guess(from, email, "and another").await != Guess::LetThrough {} };
        tokio::time::timeout(PATIENCE, let_through).await.expect("it is slowed, and not locked out");
    }

    /// Waits until the audit trail tells of attacks: the findings, and whom they were at.
    async fn told(&self, findings: &[&str]) -> Vec<(String, Option<String>)> {
        let told = async {
            loop {
                self.app.settled().await;
                let client = self.app.db.server.get().await.expect("a connection");
                let sql = "SELECT detail, resource_id, outcome, code FROM read_model.audit_trail_v4 \
                           WHERE action = 'sign_in:attacked' ORDER BY recorded_at";
                let rows = client.query(sql, &[]).await.expect("it answers");
                let entries: Vec<(String, Option<String>)> =
                    rows.iter().map(|row| (row.get(0), row.get(1))).collect();
                let there: BTreeSet<&str> = entries.iter().map(|(finding, _)| &**finding).collect();
                if findings.iter().all(|finding| there.contains(finding)) {
                    for row in &rows {
                        assert_eq!((row.get(2), row.get(3)), ("denied", Some("ERR-RATE-429")));
                    }
                    return entries;
                }
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("the audit trail tells of it")
    }
}

/// Each further guess waits twice as long as the one before it, the first a second: how many fit into a time.
fn beyond(since: Instant) -> usize {
    (0..64).take_while(|n| 2_f64.powi(n + 1) - 1.0 <= since.elapsed().as_secs_f64()).count()
}

fn place(last: u8) -> Client {
    TestApp::client_at(Ipv4Addr::new(127, 0, 1, last))
}

fn password(n: usize) -> String {
    format!("guess number {n}")
}

/// CON-SEC-008, FR-AUTH-001
#[tokio::test]
async fn brute_force_on_one_account_gets_a_handful_of_guesses_and_its_owner_gets_in_all_the_time() {
    let town = Town::new().await;
    let (begun, attacker) = (Instant::now(), place(1));
    let at_victim = |from, n| (from, Town::VICTIM.to_owned(), password(n));

    let flood = town.guesses((0..MANY).map(|n| at_victim(&attacker, n)));
    let owner = async {
        for _ in 0..5 {
            // From the attacker's own address too, as behind one NAT.
            town.victim_gets_in(&town.app.http).await;
            town.victim_gets_in(&attacker).await;
        }
    };
    let (from_one, ()) = tokio::join!(flood, owner);
    let most = FREE_AT_ONE + beyond(begun);
    assert!((FREE_AT_ONE..=most).contains(&from_one), "{from_one} guesses of at most {most}");

    // A thousand addresses gain nothing: each has its own free guesses, and all of them together have few.
    let places: Vec<Client> = (2..=41).map(place).collect();
    let each = places.iter().flat_map(|from| (0..FREE_AT_ONE).map(move |n| at_victim(from, n)));
    let flood = town.guesses(each);
    let (from_many, ()) = tokio::join!(flood, town.victim_gets_in(&attacker));
    let (all, most) = (from_one + from_many, FREE_FROM_EVERYWHERE + beyond(begun));
    assert!((FREE_FROM_EVERYWHERE..=most).contains(&all), "{all} guesses of at most {most}");
    town.victim_gets_in(&attacker).await;

    // Nobody is locked out for ever: after its wait one more is looked at, also the first from a new address.
    town.go_on(&place(50), Town::VICTIM).await;
    town.victim_gets_in(&town.app.http).await;
    let entries = town.told(&["brute_force"]).await;
    let victim = town.owner.to_string();
    assert!(entries.iter().all(|(_, whom)| whom.as_deref() == Some(&*victim)), "{entries:?}");
    assert!(
        entries.iter().filter(|(finding, _)| finding == "brute_force").count() >= 2,
        "from one, and from many"
    );
}

/// CON-SEC-008
#[tokio::test]
async fn stuffing_gets_one_guess_at_a_few_accounts_and_spraying_a_few_at_those() {
    let town = Town::new().await;
    let (begun, stuffer, sprayer) = (Instant::now(), place(1), place(2));

    // Passwords that leaked elsewhere: one for each account, the owner's among them.
    let mut accounts: Vec<String> = (0..MANY).map(|n| format!("person-{n}@elsewhere.example")).collect();
    accounts.insert(7, Town::VICTIM.to_owned());
    let leaked = accounts.iter().enumerate().map(|(n, account)| (&stuffer, account.clone(), password(n)));
    let (stuffed, ()) = tokio::join!(town.guesses(leaked), town.victim_gets_in(&stuffer));
    let most = FREE_ACCOUNTS + beyond(begun);
    assert!((FREE_ACCOUNTS..=most).contains(&stuffed), "{stuffed} guesses of at most {most}");
    town.go_on(&stuffer, "one-more@elsewhere.example").await;
    town.victim_gets_in(&stuffer).await;
    town.told(&["stuffing"]).await;

    // The passwords that are always in use somewhere: each at every account, round by round.
    let begun = Instant::now();
    let (mut sprayed, few) = (0, &accounts[..FREE_ACCOUNTS]);
    for round in 0..2 * FREE_AT_ONE {
        let guesses = few.iter().map(|account| (&sprayer, account.clone(), password(round)));
        let (through, ()) = tokio::join!(town.guesses(guesses), town.victim_gets_in(&sprayer));
        sprayed += through;
    }
    // At each of them as many as anybody has free at one account.
    let most = FREE_ACCOUNTS * (FREE_AT_ONE + beyond(begun));
    assert!((FREE_ACCOUNTS * FREE_AT_ONE..=most).contains(&sprayed), "{sprayed} guesses of at most {most}");
    let wider = accounts[FREE_ACCOUNTS..].iter().map(|account| (&sprayer, account.clone(), password(0)));
    let through = town.guesses(wider).await;
    assert!(through <= beyond(begun), "{through} accounts more");
    town.go_on(&sprayer, "yet-another@elsewhere.example").await;
    town.victim_gets_in(&sprayer).await;
    town.told(&["stuffing", "spraying"]).await;
}

/// CON-SEC-009: the ladder looks nobody up, so that nobody learns by it who exists.
#[tokio::test]
async fn an_account_that_is_not_there_is_slowed_like_one_that_is() {
    let town = Town::new().await;
    for (n, account) in [Town::VICTIM, "nobody@acme.example"].into_iter().enumerate() {
        let (begun, from) = (Instant::now(), place(1 + u8::try_from(n).expect("two")));
        let guesses = (0..3 * FREE_AT_ONE).map(|n| (&from, account.to_owned(), password(n)));
        let through = town.guesses(guesses).await;
        let most = FREE_AT_ONE + beyond(begun);
        assert!((FREE_AT_ONE..=most).contains(&through), "{account}: {through} guesses of at most {most}");
        let body = json!({"email": account, "password": PASSWORD});
        let slowed = async {
            loop {
                let answer =
                    town.app.post_by(&from, "/auth/login", json!({"email": account, "password": "no"}));
                let answer = answer.send().await;
                if answer.status == StatusCode::TOO_MANY_REQUESTS {
                    return answer;
                }
            }
        };
        let slowed = tokio::time::timeout(PATIENCE, slowed).await.expect("guessing is slowed");
        let mut told = slowed.refused(429, "ERR-RATE-429", "slow_down").body;
        told["trace_id"] = Value::Null;
        let expected = json!({
            "type": "urn:tenantry:problem:ERR-RATE-429", "title": "Too many requests", "status": 429,
            "code": "ERR-RATE-429", "detail": "slow_down", "trace_id": null,
        });
        assert_eq!(told, expected);
        // Not even the right password is looked at.
        town.app.post_by(&from, "/auth/login", body).send().await.refused(429, "ERR-RATE-429", "slow_down");
    }
}
