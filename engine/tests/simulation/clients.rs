//! The clients of a simulated world: several commands at once, retries, changed bodies, impatience.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::account::Command;
use super::world::{Wish, World, is_passing};

/// Accounts of a world; few, so that clients meet.
const ACCOUNTS: u8 = 5;
const NAMES: [&str; 4] = ["ash", "elm", "fir", "oak"];

/// Sends a few dozen commands.
pub async fn client(world: Arc<World>, number: u128, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut node = random.random_range(0..2);
    let mut sent: Vec<Wish> = Vec::new();
    for round in 0..random.random_range(5..20) {
        let mut burst = Vec::new();
        for n in 0..random.random_range(1..6) {
            let key = (number << 64) | (round << 8) | n;
            let wish = wish(&world, key, &sent, &mut random);
            if wish.key.is_some() {
                sent.push(wish.clone());
            }
            let patience =
                (random.random_range(0..100) < 3).then(|| Duration::from_millis(random.random_range(0..30)));
            burst.push(world.send(node, wish, patience));
        }
        let answers = join_all(burst).await;
        if answers.iter().any(|answer| answer.as_ref().is_none_or(is_passing)) {
            tokio::time::sleep(Duration::from_millis(random.random_range(1..300))).await;
            node = random.random_range(0..2);
        }
        if random.random_range(0..100) < 4 {
            // A habit of crashing.
            let account = account(&mut random);
            for _ in 0..4 {
                let wish = Wish {
                    account,
                    command: Command::Panic,
                    key: None,
                    fingerprint: [0; 32],
                    expected: None,
                };
                world.send(node, wish, None).await;
            }
        }
        if random.random_range(0..100) < 10 {
            // Long enough for idle actors to leave.
            tokio::time::sleep(Duration::from_millis(2_500)).await;
        }
    }
}

fn wish(world: &World, key: u128, sent: &[Wish], random: &mut StdRng) -> Wish {
    let retried = (!sent.is_empty() && random.random_range(0..100) < 25)
        .then(|| sent[random.random_range(0..sent.len())].clone());
    match retried {
        Some(wish) if random.random_range(0..100) < 80 => return wish,
        Some(wish) => {
            // Another body under the same key.
            let (account, command) = (account(random), command(random));
            // A rule that panics never answers, and every key is to have its answer in the end.
            let command = if command == Command::Panic { Command::Unname } else { command };
            let fingerprint = fingerprint(account, &command, wish.expected);
            return Wish { account, command, fingerprint, ..wish };
        }
        None => {}
    }
    let account = account(random);
    let command = command(random);
    let keyed = random.random_range(0..100) < 40 && command != Command::Panic;
    let expected = (random.random_range(0..100) < 15).then(|| {
        let written = world.history();
        let last = written.iter().rev().find_map(|s| match &s.answered {
            Some((_, Ok(receipt))) if s.account == account => Some(receipt.sequence),
            _ => None,
        });
        last.unwrap_or(0) + u64::from(random.random_range(0..4) == 0)
    });
    let fingerprint = fingerprint(account, &command, expected);
    Wish { account, command, key: keyed.then_some(key), fingerprint, expected }
}

/// The same for the same body.
fn fingerprint(account: u8, command: &Command, expected: Option<u64>) -> [u8; 32] {
    let mut hasher = DefaultHasher::new();
    (account, command, expected).hash(&mut hasher);
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&hasher.finish().to_le_bytes());
    fingerprint
}

fn account(random: &mut StdRng) -> u8 {
    random.random_range(1..=ACCOUNTS)
}

fn command(random: &mut StdRng) -> Command {
    let mut name = || NAMES[random.random_range(0..NAMES.len())].to_owned();
    let (one, other) = (name(), name());
    match random.random_range(0..100) {
        0..30 => Command::Add(random.random_range(0..4)),
        30..50 => Command::Name(one),
        50..55 if one != other => Command::NameAndRename(one, other),
        50..65 => Command::Unname,
        65..80 => Command::AtMost(random.random_range(0..40)),
        80..95 => Command::Reach(random.random_range(0..40)),
        95..98 => Command::Unstorable,
        _ => Command::Panic,
    }
}

/// In good weather every account takes commands again, and every key has its answer.
pub async fn settle(world: &World) {
    let mut keyed: BTreeMap<u128, Wish> = BTreeMap::new();
    for sending in world.history() {
        if let Some(key) = sending.key {
            keyed.entry(key).or_insert(Wish {
                account: sending.account,
                command: sending.command,
                key: Some(key),
                fingerprint: sending.fingerprint,
                expected: sending.expected,
            });
        }
    }
    let fresh = (1..=ACCOUNTS).map(|account| {
        let command = Command::Add(1);
        Wish { account, command, key: None, fingerprint: [0; 32], expected: None }
    });
    for wish in fresh.chain(keyed.into_values()) {
        let mut answer = None;
        for attempt in 0..2_000 {
            answer = world.send(attempt % 2, wish.clone(), None).await;
            if answer.as_ref().is_some_and(|answer| !is_passing(answer)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        if answer.as_ref().is_none_or(is_passing) {
            world.hang(format!("{wish:?} never comes to an end in good weather: {answer:?}"));
        }
    }
}
