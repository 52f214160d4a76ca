//! What every workload works with: the database server, how much effort to make, and how to tell how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;

use crate::contender::StockPool;
use crate::progress::Progress;
use crate::round::{Effort, Entrant, Ground, Round, Side};
use crate::server::Private;
use crate::summary::{Entry, Trial};

/// The share of a round that passes before anything is counted.
const WARM_UP: f64 = 0.2;
/// The share of a round that each pool of the peer is tried for.
const TRIAL: f64 = 0.3;
/// Shorter, and the peer would not carry out a single command where histories are long.
const TRIAL_MIN: Duration = Duration::from_secs(1);

/// How much effort a run makes.
#[derive(Clone, Copy, Debug)]
pub struct Thoroughness {
    /// Small data, few and short rounds: to see that it works, not to be quoted.
    pub quick: bool,
    /// Instead of what each workload has for itself.
    pub rounds: Option<u32>,
    /// Measured seconds of a round, the same.
    pub seconds: Option<f64>,
}

pub struct Bench {
    pub server: Private,
    pub progress: Progress,
    pub thoroughness: Thoroughness,
    salts: AtomicU64,
}

impl Bench {
    pub fn new(server: Private, progress: Progress, thoroughness: Thoroughness) -> Self {
        Self { server, progress, thoroughness, salts: AtomicU64::new(1) }
    }

    pub fn quick(&self) -> bool {
        self.thoroughness.quick
    }

    /// One thing in a quick run, another in a full one.
    pub fn by_size<T>(&self, quick: T, full: T) -> T {
        if self.quick() { quick } else { full }
    }

    pub fn rounds(&self, full: u32) -> u32 {
        self.thoroughness.rounds.unwrap_or(self.by_size(2, full))
    }

    /// The measured time of a round that takes `full` seconds in a full run.
    pub fn seconds(&self, full: f64) -> f64 {
        self.thoroughness.seconds.unwrap_or(self.by_size((full * 0.3).max(1.0), full))
    }

    pub fn effort(&self, in_flight: usize, full_seconds: f64) -> Effort {
        let seconds = self.seconds(full_seconds);
        Effort {
            in_flight,
            warm_up: Duration::from_secs_f64((seconds * WARM_UP).max(0.5)),
            measured: Duration::from_secs_f64(seconds),
        }
    }

    /// The tenants of [`crate::server::SETTLED`], which is made if it isn't there.
    pub async fn settled(&self) -> Result<Arc<[Uuid]>> {
        self.progress.now("provisioning the tenants that all rounds as shipped begin with, once");
        self.server.settled().await
    }

    /// Never the same twice.
    pub fn salt(&self) -> u64 {
        self.salts.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets all work in turn, round by round; who begins changes from round to round.
    pub async fn compete(&self, entrants: Vec<Entrant>, effort: Effort, rounds: u32) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = entrants.iter().map(Entrant::entry).collect();
        for number in 0..rounds as usize {
            for turn in 0..entrants.len() {
                let index = (number + turn) % entrants.len();
                let round = entrants[index].round(self, effort, number as u64 + 1).await?;
                self.tell(&entrants[index].name, effort, number + 1, rounds, &round);
                entries[index].rounds.push(round);
            }
        }
        Ok(entries)
    }

    fn tell(&self, name: &str, effort: Effort, number: usize, rounds: u32, round: &Round) {
        self.progress.say(&format!(
            "  {name}, {} in flight, round {number} of {rounds}: {:.0} commands/s, p50 {:.2} ms, p99 {:.2} ms",
            effort.in_flight, round.commands_per_second, round.p50_ms, round.p99_ms
        ));
    }

    /// Tries the peer's pools on a ground, and gives the fastest.
    pub async fn best_pool(
        &self,
        ground: &Ground,
        snapshot_size: Option<usize>,
        in_flight: usize,
        full_seconds: f64,
        tried: &[StockPool],
    ) -> Result<(StockPool, Vec<Trial>)> {
        let effort = self.effort(in_flight, full_seconds);
        let effort = Effort {
            warm_up: effort.warm_up / 2,
            measured: effort.measured.mul_f64(TRIAL).max(TRIAL_MIN),
            ..effort
        };
        let mut trials = Vec::new();
        for &pool in tried {
            let side = Side::Stock { pool, snapshot_size };
            let entrant = Entrant { name: format!("the peer with {pool}"), side, ground: ground.clone() };
            let commands_per_second = entrant.round(self, effort, 0).await?.commands_per_second;
            self.progress.say(&format!(
                "  the peer with {pool}, {in_flight} in flight, tried: {commands_per_second:.0} commands/s"
            ));
            trials.push(Trial { pool: pool.to_string(), commands_per_second });
        }
        let best = trials
            .iter()
            .zip(tried)
            .max_by(|(a, _), (b, _)| a.commands_per_second.total_cmp(&b.commands_per_second));
        Ok((best.map_or(StockPool::STOCK, |(_, pool)| *pool), trials))
    }
}
