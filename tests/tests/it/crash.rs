//! The crash suite: rounds of a server under load whose process, database or connection is taken away.
//!
//! `make test` runs one round of each fault; `make crash ARGS='--rounds N --seed S'` runs many, with progress.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::{Cluster, Options, StopMode};
use engine::codec::Codec;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use uuid::Uuid;

use crate::caller::{Acknowledged, Caller};
use crate::invariants;
use crate::process::{Node, POLL, Server};
use crate::proxy::{Proxy, Strike};

/// How long anything may take that must happen by itself.
const PATIENCE: Duration = Duration::from_secs(90);
/// Who sets flags, and who wants the same few names.
const SETTERS: usize = 24;
const CLAIMANTS: usize = 6;
const TENANTS: usize = 8;

/// What is taken away.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9` of the server.
    ServerKilled,
    /// `kill -9` of PostgreSQL and all its processes.
    PostgresKilled,
    /// `pg_ctl stop -m immediate`
    PostgresStopped,
    /// The journal's connection, around a commit.
    Cut(Strike),
}

const FAULTS: [Fault; 7] = [
    Fault::ServerKilled,
    Fault::PostgresStopped,
    Fault::Cut(Strike::Answered),
    Fault::Cut(Strike::Sent),
    Fault::Cut(Strike::Unsent),
    Fault::Cut(Strike::Held),
    Fault::PostgresKilled,
];

/// REQUIREMENTS §1, rule 7: an acknowledged write survives a crash at any instant; a retry never does a thing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_taken_away_nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds = number("TENANTRY_CRASH_ROUNDS").unwrap_or(FAULTS.len() as u64);
    let seed = number("TENANTRY_CRASH_SEED").unwrap_or(1);
    let _told = TellSeed { rounds, seed };
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults = Vec::new();
    let mut world = World::new().await;
    for round in 1..=rounds {
        if faults.is_empty() {
            // Each of them once, in an order of the seed's, then all of them again.
            faults = FAULTS.to_vec();
            faults.shuffle(&mut random);
        }
        let fault = faults.pop().expect("it was just filled");
        let load = random.random_range(40..300);
        let begun = Instant::now();
        let recovered = world.round(round, fault, load).await;
        let events = world.check().await;
        eprintln!(
            "round {round}/{rounds}, seed {seed}: {fault:?} after {load} answers, answered again after {} ms; {} answers \
             in all, {events} events, everything holds ({:.1} s)",
            recovered.as_millis(),
            world.acknowledged.lock().expect("nobody panicked").len(),
            begun.elapsed().as_secs_f64(),
        );
    }
    world.end().await;
}

/// A failing run says how to run it again.
struct TellSeed {
    rounds: u64,
    seed: u64,
}

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { rounds, seed } = self;
            eprintln!("to run it again: make crash ARGS='--rounds {rounds} --seed {seed}'");
        }
    }
}

/// A server in a process of its own, on a PostgreSQL of its own, with a proxy between the two.
struct World {
    postgres: TempDir,
    cluster: Cluster,
    proxy: Proxy,
    server: Server,
    tenants: Vec<Uuid>,
    codec: Codec,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    data: TempDir,
}

impl World {
    async fn new() -> Self {
        let (postgres, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cluster = Cluster::ensure(postgres.path(), Options::default()).await.unwrap();
        let proxy = Proxy::before(&cluster.server());
        let node = Node::new(data.path())
            .with("DATABASE_URL", proxy.way_to(&cluster.server()).url())
            .with("TENANTRY_OWNER_DATABASE_URL", cluster.owner().url());
        let server = node.start().await;
        let caller = Caller::new(&node.token(), &[server.url()], Duration::from_secs(60));
        let tenants = caller.tenants(TENANTS).await;
        let codec = invariants::codec_of(&cluster.server(), data.path()).await;
        let acknowledged = Arc::default();
        Self { postgres, cluster, proxy, server, tenants, codec, acknowledged, data }
    }

    /// Load, the fault in the middle of it, and load until answers come again; returns how long that took.
    async fn round(&mut self, round: u64, fault: Fault, load: usize) -> Duration {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let workers = self.workers(round, &stop, &answered);
        answers(&answered, load).await;
        let taken = Instant::now();
        let mut held = None;
        match fault {
            Fault::ServerKilled => {
                self.server.kill();
                let node = self.server.node.clone();
                self.server = node.start().await;
            }
            Fault::PostgresStopped => assert!(self.cluster.stop(StopMode::Immediate).await.unwrap()),
            Fault::PostgresKilled => assert!(self.cluster.kill_hard().await.unwrap()),
            Fault::Cut(strike) => {
                let struck = tokio::time::timeout(PATIENCE, self.proxy.strike(strike)).await;
                held = struck.expect("the load goes on").expect("the proxy lives").held;
            }
        }
        if matches!(fault, Fault::PostgresStopped | Fault::PostgresKilled) {
            self.cluster = Cluster::ensure(self.postgres.path(), Options::default()).await.unwrap();
        }
        // Those who asked before the fault may have been answered a moment ago: their number is bounded.
        let before = answered.load(Ordering::Acquire);
        answers(&answered, before + 1).await;
        let recovered = taken.elapsed();
        answers(&answered, before + SETTERS + CLAIMANTS + 20).await;
        if let Some(mut held) = held {
            let refused = tokio::time::timeout(PATIENCE, held.let_through()).await.expect("it is answered");
            assert_eq!(refused, Err("TN001".to_owned()), "an append that was given up for lost is fenced");
        }
        stop.store(true, Ordering::Release);
        for worker in join_all(workers).await {
            worker.expect("nobody was refused what must be granted");
        }
        recovered
    }

    fn workers(
        &self,
        round: u64,
        stop: &Arc<AtomicBool>,
        answered: &Arc<AtomicUsize>,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let caller = Caller::new(&self.server.node.token(), &[self.server.url()], Duration::from_secs(60));
        (0..SETTERS + CLAIMANTS)
            .map(|worker| {
                let (caller, tenant) = (caller.clone(), self.tenants[worker % TENANTS]);
                let (stop, answered, all) = (stop.clone(), answered.clone(), self.acknowledged.clone());
                tokio::spawn(async move {
                    let mut n = 0;
                    while !stop.load(Ordering::Acquire) {
                        n += 1;
                        let asked = format!("{round}-{worker}-{n}");
                        let answer = if worker < SETTERS {
                            let value = i64::try_from(round << 32 | n).expect("rounds are few");
                            Some(caller.set_flag(tenant, &format!("flag-{worker}"), value, &asked).await)
                        } else {
                            // All of them want the same name: one gets it.
                            caller.provision(&format!("c{round}-{n}"), &asked).await
                        };
                        all.lock().expect("nobody panicked").extend(answer);
                        answered.fetch_add(1, Ordering::AcqRel);
                    }
                })
            })
            .collect()
    }

    /// Everything that must hold between two rounds; returns how many events there are.
    async fn check(&self) -> usize {
        let owner = self.cluster.owner();
        let sound = invariants::hold(&owner, &self.codec).await;
        sound.holds(&self.acknowledged.lock().expect("nobody panicked"));
        invariants::read_models_are_what_replay_makes(&owner, self.data.path());
        sound.events.len()
    }

    async fn end(self) {
        self.server.stop();
        self.cluster.destroy().await.unwrap();
    }
}

/// Waits until there were so many answers.
async fn answers(answered: &AtomicUsize, wanted: usize) {
    let mut tick = tokio::time::interval(POLL);
    let waiting = async {
        while answered.load(Ordering::Acquire) < wanted {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("answers come again");
}
