//! One round of one entrant: its database, load, and the check that nothing acknowledged is missing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use uuid::Uuid;

use crate::bench::Bench;
use crate::check::{Before, Checked};
use crate::contender::{Http, Journal, JournalOptions, Shipped, Stock, StockPool};
use crate::load::closed::{self, Outcome, Plan};
use crate::load::ms;
use crate::server::{MIGRATED, SETTLED};
use crate::summary::Entry;
use crate::usage::CpuTime;
use crate::work::{self, Contender, Wish};

/// The database of a round on fresh ground; dropped after it.
const DATABASE: &str = "bench_round";

/// Who works.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The server's composition, commands dispatched in process.
    Shipped,
    /// The same through HTTP with an access token.
    Http,
    /// The write path alone.
    Journal(JournalOptions),
    /// The same, with what is personal or confidential sealed.
    Sealing(JournalOptions),
    /// The peer, with its snapshots if a size is given.
    Stock { pool: StockPool, snapshot_size: Option<usize> },
}

/// On what.
#[derive(Clone, Debug)]
pub enum Ground {
    /// A database of the round's own, with so many tenants.
    Fresh { tenants: usize },
    /// A database that keeps what each round adds, with tenants that are there already.
    Kept { database: &'static str, tenants: Arc<[Uuid]> },
}

/// A side on its ground, with the name it has in tables.
#[derive(Clone, Debug)]
pub struct Entrant {
    pub name: String,
    pub side: Side,
    pub ground: Ground,
}

/// How much work, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub in_flight: usize,
    pub warm_up: Duration,
    pub measured: Duration,
}

/// The figures of a round. Latencies are in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    pub commands: u64,
    pub commands_per_second: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p99_9_ms: f64,
    pub max_ms: f64,
    /// With what the closed loop did not send during stalls.
    pub p99_corrected_ms: f64,
    /// Repeated after a lost race, per command.
    pub repeats_per_command: f64,
    pub commands_per_commit: f64,
    pub wal_bytes_per_command: f64,
    /// Processor time of this process (contender and load generator), microseconds a command.
    pub client_cpu_us_per_command: f64,
    /// Processor time of PostgreSQL, microseconds a command.
    pub server_cpu_us_per_command: f64,
    /// How many events the slowest read model was behind at the end, where read models follow.
    pub behind_events: Option<u64>,
}

impl Entrant {
    pub fn fresh(name: &str, side: Side, tenants: usize) -> Self {
        Self { name: name.to_owned(), side, ground: Ground::Fresh { tenants } }
    }

    /// Ours twice: as shipped, and the journal alone, which nothing follows, for peers that nothing follows.
    pub fn both(tenants: usize) -> [Self; 2] {
        [
            Self::fresh("Tenantry as shipped", Side::Shipped, tenants),
            Self::fresh("Tenantry, journal alone", Side::Journal(JournalOptions::default()), tenants),
        ]
    }

    /// Where its rounds are gathered.
    pub fn entry(&self) -> Entry {
        Entry { name: self.name.clone(), rounds: Vec::new() }
    }

    /// Runs a round. The same `seed` draws the same tenants in the same order.
    pub async fn round(&self, bench: &Bench, effort: Effort, seed: u64) -> Result<Round> {
        let what = format!("{} at {} in flight", self.name, effort.in_flight);
        let round = self.run(bench, effort, seed).await;
        if let Ground::Fresh { .. } = self.ground {
            bench.server.drop_database(DATABASE).await?;
        }
        round.with_context(|| what)
    }

    async fn run(&self, bench: &Bench, effort: Effort, seed: u64) -> Result<Round> {
        let ours = !matches!(self.side, Side::Stock { .. });
        let (database, tenants, new) = self.prepare(bench).await?;
        let owner = bench.server.as_owner(database);
        let measured = Measured {
            bench,
            name: &self.name,
            owner: owner.clone(),
            new,
            has_positions: ours,
            plan: Plan {
                in_flight: effort.in_flight,
                tenants,
                warm_up: effort.warm_up,
                measured: effort.measured,
                seed,
                salt: bench.salt(),
            },
        };
        match self.side {
            Side::Shipped => {
                let shipped = Arc::new(Shipped::open(&bench.server, database, &[]).await?);
                let done = measured.take(shipped.clone(), Some(&shipped)).await;
                closed(done, shipped).await
            }
            Side::Http => {
                let shipped = Arc::new(Shipped::open(&bench.server, database, &[]).await?);
                let http = Http::open(shipped.clone(), effort.in_flight).await?;
                let done = measured.take(Arc::new(http), Some(&shipped)).await;
                closed(done, shipped).await
            }
            Side::Journal(options) | Side::Sealing(options) => {
                let to = bench.server.as_server(database);
                let journal = match self.side {
                    Side::Sealing(_) => Journal::open_sealing(&to, options, &bench.server.master_key).await?,
                    _ => Journal::open(&to, options).await?,
                };
                let journal = Arc::new(journal);
                let done = measured.take(journal.clone(), None).await;
                journal.close().await;
                done
            }
            Side::Stock { pool, snapshot_size } => {
                let stock = Arc::new(Stock::open(&owner, pool, snapshot_size).await?);
                let done = measured.take(stock.clone(), None).await;
                stock.close().await;
                done
            }
        }
    }

    /// The database, its tenants, and whether they are still to be provisioned.
    async fn prepare(&self, bench: &Bench) -> Result<(&'static str, Arc<[Uuid]>, bool)> {
        let tenants = match &self.ground {
            Ground::Kept { database, tenants } => return Ok((*database, tenants.clone(), false)),
            Ground::Fresh { tenants } => *tenants,
        };
        match self.side {
            Side::Shipped | Side::Http => {
                let settled = bench.settled().await?;
                anyhow::ensure!(tenants <= settled.len(), "at most {} tenants are settled", settled.len());
                bench.server.fresh_database(DATABASE, Some(SETTLED)).await?;
                Ok((DATABASE, settled[..tenants].into(), false))
            }
            Side::Journal(_) | Side::Sealing(_) => {
                bench.server.fresh_database(DATABASE, Some(MIGRATED)).await?;
                Ok((DATABASE, work::tenants(tenants).into(), true))
            }
            Side::Stock { .. } => {
                bench.server.fresh_database(DATABASE, None).await?;
                Ok((DATABASE, work::tenants(tenants).into(), true))
            }
        }
    }
}

/// The server's end, whatever came of the round.
async fn closed(done: Result<Round>, shipped: Arc<Shipped>) -> Result<Round> {
    Arc::into_inner(shipped).context("somebody still holds the server")?.close().await?;
    done
}

struct Measured<'a> {
    bench: &'a Bench,
    name: &'a str,
    owner: cluster::ConnectInfo,
    new: bool,
    has_positions: bool,
    plan: Plan,
}

/// What the measured time cost.
#[derive(Clone, Copy)]
struct Usage {
    cpu: CpuTime,
    wal_bytes: u64,
    behind_events: Option<u64>,
}

impl Measured<'_> {
    /// `followed`: the server whose read models follow.
    async fn take<C: Contender>(self, contender: Arc<C>, followed: Option<&Shipped>) -> Result<Round> {
        let server = &self.bench.server;
        if self.new {
            closed::provision(&*contender, &self.plan.tenants)
                .await
                .context("the tenants can't be provisioned")?;
        }
        // Every aggregate is touched once, so that what is measured is not the first load of each.
        let touching = self.bench.salt();
        closed::each(&*contender, &self.plan.tenants, |index| Wish::SetFlag(touching << 48 | index as u64))
            .await?;
        let before = Before::note(&self.owner, self.has_positions).await?;
        server.checkpoint().await?;
        let edge = async || {
            let behind_events = match followed {
                Some(shipped) => Some(shipped.head().await?.0.saturating_sub(shipped.slowest().0)),
                None => None,
            };
            let wal_bytes = server.wal_bytes().await?;
            Ok(Usage { cpu: CpuTime::now(server.postmaster_pid()), wal_bytes, behind_events })
        };
        let (name, in_flight) = (self.name, self.plan.in_flight);
        let tick = |elapsed: Duration, commands: u64| {
            let per_second = commands as f64 / elapsed.as_secs_f64().max(0.001);
            self.bench.progress.now(&format!("{name}, {in_flight} in flight: {per_second:.0} commands/s"));
        };
        let (outcome, from, to) = closed::run(contender, self.plan, edge, tick).await?;
        let usage = Usage { cpu: to.cpu.since(from.cpu), wal_bytes: to.wal_bytes - from.wal_bytes, ..to };
        let checked = before
            .check(&self.owner, outcome.acknowledged)
            .await
            .context("the journal is not as it should be")?;
        Ok(Round::of(&outcome, usage, checked))
    }
}

impl Round {
    fn of(outcome: &Outcome, usage: Usage, checked: Checked) -> Self {
        let commands = outcome.counted.max(1) as f64;
        let latency = |quantile| ms(&outcome.latencies, quantile);
        Self {
            commands: outcome.counted,
            commands_per_second: outcome.per_second(),
            p50_ms: latency(0.5),
            p90_ms: latency(0.9),
            p99_ms: latency(0.99),
            p99_9_ms: latency(0.999),
            max_ms: latency(1.0),
            p99_corrected_ms: ms(&outcome.corrected, 0.99),
            repeats_per_command: outcome.repeats as f64 / commands,
            commands_per_commit: checked.commands_per_commit,
            wal_bytes_per_command: usage.wal_bytes as f64 / commands,
            client_cpu_us_per_command: usage.cpu.client.as_secs_f64() * 1e6 / commands,
            server_cpu_us_per_command: usage.cpu.server.as_secs_f64() * 1e6 / commands,
            behind_events: usage.behind_events,
        }
    }
}
