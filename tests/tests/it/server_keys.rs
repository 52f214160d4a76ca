//! The deployment's keys in the database: made once, whoever comes first, opened by their master key only, and rotated.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::clock::SystemIds;
use gateway::keys::{KeyError, KeyStore, MasterKey, Rotation};
use gateway::signing::SigningAlgorithm;
use gateway::token::{Grant, Tokens};
use kernel::Clock;
use schemas::values::Role;
use uuid::Uuid;

use crate::db::TestDb;

const ISSUER: &str = "http://127.0.0.1:8080";

#[derive(Debug)]
struct StoppedClock(Mutex<DateTime<Utc>>);

impl StoppedClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).expect("a time"))))
    }

    fn advance(&self, by: TimeDelta) {
        *self.0.lock().expect("nobody panicked") += by;
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("nobody panicked")
    }
}

fn store(db: &TestDb, digit: &str, clock: &Arc<StoppedClock>) -> KeyStore {
    let text = digit.repeat(64);
    let master = Arc::new(move || MasterKey::parse(&text, "test"));
    KeyStore::new(db.server.clone(), master, clock.clone(), Arc::new(SystemIds))
}

fn sign(tokens: &Tokens, now: DateTime<Utc>) -> String {
    let grant = Grant {
        subject: "local:0".to_owned(),
        session: Uuid::from_u128(1),
        token_id: Uuid::from_u128(2),
        tenant: None,
        role: Some(Role::Operator),
        scopes: Vec::new(),
        began_at: kernel::Position(1),
        authenticated_at: now,
        methods: Vec::new(),
        ttl: Duration::from_secs(900),
    };
    tokens.sign(grant, now).expect("there is a key").0
}

#[tokio::test]
async fn two_nodes_that_start_at_once_have_the_same_keys() {
    let (db, clock) = (TestDb::new().await, StoppedClock::new());
    let (one, two) = (store(&db, "1", &clock), store(&db, "1", &clock));
    let (one, two) = futures::join!(one.open(ISSUER), two.open(ISSUER));
    let ((one, one_claims), (two, two_claims)) = (one.expect("it opens"), two.expect("it opens"));
    assert_eq!(*one_claims, *two_claims);
    assert_eq!(*one.derive_secret(&[b"x"]), *two.derive_secret(&[b"x"]));
    let token = sign(&one.tokens, clock.now());
    assert!(two.tokens.verify(&token, clock.now()).is_ok());
}

/// NFR-SEC-004: what is stolen with the database alone is worth nothing.
#[tokio::test]
async fn another_master_key_opens_nothing_and_nothing_lies_open() {
    let (db, clock) = (TestDb::new().await, StoppedClock::new());
    let (_, claims) = store(&db, "1", &clock).open(ISSUER).await.expect("it opens");
    let refused = store(&db, "2", &clock).open(ISSUER).await;
    assert!(matches!(refused, Err(KeyError::Wrap(_))));
    let client = db.server.get().await.expect("a connection");
    for row in client.query("SELECT wrapped FROM wrapped_keys", &[]).await.expect("it answers") {
        let wrapped: Vec<u8> = row.get(0);
        assert!(!wrapped.windows(claims.len()).any(|window| window == &claims[..]));
    }
}

#[tokio::test]
async fn a_wrapped_key_cannot_stand_in_for_another() {
    let (db, clock) = (TestDb::new().await, StoppedClock::new());
    store(&db, "1", &clock).open(ISSUER).await.expect("it opens");
    let owner = db.owner.get().await.expect("a connection");
    let swap = "UPDATE wrapped_keys SET wrapped = (SELECT wrapped FROM wrapped_keys WHERE purpose = 'cursor') \
                WHERE purpose = 'claim_hash'";
    assert_eq!(owner.execute(swap, &[]).await.expect("it answers"), 1);
    assert!(matches!(store(&db, "1", &clock).open(ISSUER).await, Err(KeyError::Wrap(_))));
}

#[tokio::test]
async fn a_lost_claim_key_is_told_and_not_replaced() {
    let (db, clock) = (TestDb::new().await, StoppedClock::new());
    store(&db, "1", &clock).open(ISSUER).await.expect("it opens");
    let owner = db.owner.get().await.expect("a connection");
    let lose = "DELETE FROM wrapped_keys WHERE purpose = 'claim_hash'; \
                INSERT INTO claims (kind, value_hash, aggregate_type, aggregate_id) VALUES ('k', 'h', 'a', 'i')";
    owner.batch_execute(lose).await.expect("it answers");
    assert!(matches!(store(&db, "1", &clock).open(ISSUER).await, Err(KeyError::ClaimKeyLost)));
}

/// NFR-SEC-004
#[tokio::test]
async fn a_signing_key_rotates_within_a_year_and_what_it_signed_lives_on() {
    let (db, clock) = (TestDb::new().await, StoppedClock::new());
    let (one, two) = (store(&db, "1", &clock), store(&db, "1", &clock));
    let (keys, _) = one.open(ISSUER).await.expect("it opens");
    let (other, _) = two.open(ISSUER).await.expect("it opens");
    assert_eq!(one.refresh(&keys.tokens).await.expect("it refreshes"), Rotation::Kept);
    clock.advance(TimeDelta::days(335));
    let old = sign(&keys.tokens, clock.now());
    let (first, second) = futures::join!(one.refresh(&keys.tokens), two.refresh(&other.tokens));
    // The slower one may find it done.
    let rotations = [first.expect("it refreshes"), second.expect("it refreshes")];
    assert!(rotations.contains(&Rotation::Rotated));
    let new = sign(&keys.tokens, clock.now());
    let now = clock.now();
    assert!(keys.tokens.verify(&old, now).is_ok() && other.tokens.verify(&old, now).is_ok());
    assert!(other.tokens.verify(&new, now).is_ok(), "the other node took the same new key over");
    assert_eq!(keys.tokens.jwks(now).keys.len(), 2);
    clock.advance(TimeDelta::hours(24));
    assert_eq!(keys.tokens.jwks(clock.now()).keys.len(), 1);
}

/// NFR-SEC-004, CON-SEC-006: another algorithm takes over at a start, and what the former signed lives on.
#[tokio::test]
async fn another_algorithm_takes_over_at_the_start_and_no_sooner() {
    let (db, clock) = (TestDb::new().await, StoppedClock::new());
    let (keys, _) = store(&db, "1", &clock).open(ISSUER).await.expect("it opens");
    let old = sign(&keys.tokens, clock.now());
    let modern = store(&db, "1", &clock).signing_with(SigningAlgorithm::EdDsa);
    // A node that runs with other settings goes on with the key there is.
    assert_eq!(modern.refresh(&keys.tokens).await.expect("it refreshes"), Rotation::Kept);
    let (other, _) = modern.open(ISSUER).await.expect("it opens");
    let new = sign(&other.tokens, clock.now());
    assert!(other.tokens.verify(&old, clock.now()).is_ok() && other.tokens.verify(&new, clock.now()).is_ok());
    let algorithms = |tokens: &Tokens| -> Vec<String> {
        let jwks = serde_json::to_value(tokens.jwks(clock.now())).expect("it is JSON");
        let keys = jwks["keys"].as_array().expect("a list").iter();
        let mut all: Vec<_> = keys.map(|key| key["alg"].as_str().expect("a word").to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(algorithms(&other.tokens), ["EdDSA", "RS256"]);
    assert_eq!(store(&db, "1", &clock).refresh(&keys.tokens).await.expect("it refreshes"), Rotation::Kept);
    assert!(keys.tokens.verify(&new, clock.now()).is_ok(), "the node with the former settings verifies it");
}
