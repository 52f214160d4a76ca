//! Commands per second: Tenantry's write path against stock cqrs-es with postgres-es.
//!
//! Both carry out the same commands of the same aggregate on the same durable PostgreSQL server, in alternating rounds
//! of one run. The peer gets tables of its own, the pool that serves it best of those tried, and a fresh database
//! each round, so that its streams, which it reads anew for each command, stay as short as they can be.

mod check;
mod load;
mod machine;
mod ours;
mod progress;
mod report;
mod round;
mod server;
mod stock;
mod summary;
mod usage;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use engine::clock::SystemClock;
use kernel::Clock;

use crate::machine::Machine;
use crate::progress::Progress;
use crate::report::Report;
use crate::round::{Effort, Side};
use crate::server::Server;
use crate::stock::StockPool;
use crate::summary::{Level, Trial};

/// In flight along the curve.
const CURVE: [usize; 5] = [1, 8, 64, 256, 1024];
/// The share of a round that passes before anything is counted.
const WARM_UP: f64 = 0.2;
/// The share of a round that each pool of the peer is tried for.
const TRIAL: f64 = 0.3;

/// Commands per second, ours against stock cqrs-es and postgres-es.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Two rounds of two seconds and fewer pools tried: to see that it works, not to be quoted
    #[arg(long)]
    quick: bool,
    /// Rounds of each contender [default: 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Measured seconds of a round [default: 10]
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Commands under way at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2048))]
    in_flight: u32,
    /// Aggregates the commands go to
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    aggregates: u32,
    /// Also 1, 8, 64 and 1024 in flight
    #[arg(long)]
    curve: bool,
    /// Every worker keeps to aggregates of its own, so that no two commands meet
    #[arg(long)]
    apart: bool,
    /// Ours carry a command id each, as with an Idempotency-Key
    #[arg(long)]
    with_ids: bool,
    /// One contender alone, as for a profiler; there is no ratio then
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Where the benchmark's PostgreSQL lives [default: the server's data directory with -bench after it]
    #[arg(long, env = "TENANTRY_BENCH_CLUSTER")]
    data_dir: Option<PathBuf>,
    /// Where latest.json and latest.md go [default: results beside the benchmark's manifest]
    #[arg(long)]
    results: Option<PathBuf>,
    /// Leave the benchmark's PostgreSQL running
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Ours,
    Stock,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.1 to 3600".to_owned()) }
}

impl Arguments {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }) as usize
    }

    fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 2.0 } else { 10.0 })
    }

    fn levels(&self) -> Vec<usize> {
        let asked = self.in_flight as usize;
        let mut levels = if self.curve { CURVE.to_vec() } else { vec![] };
        if !levels.contains(&asked) {
            levels.push(asked);
        }
        levels.sort_unstable();
        levels
    }

    fn pools(&self) -> &'static [StockPool] {
        match (self.only, self.quick) {
            (Some(Only::Ours), _) => &[],
            (_, true) => StockPool::TRIED_QUICK,
            (_, false) => StockPool::TRIED,
        }
    }

    fn effort(&self, in_flight: usize, share: f64) -> Effort {
        Effort {
            in_flight,
            tenants: self.aggregates as usize,
            warm_up: Duration::from_secs_f64(self.seconds() * share * WARM_UP),
            measured: Duration::from_secs_f64(self.seconds() * share),
            apart: self.apart,
        }
    }

    /// All the load there will be.
    fn total(&self) -> Duration {
        let sides = if self.only.is_some() { 1 } else { 2 };
        let level = self.effort(1, 1.0).length() * u32::try_from(self.rounds() * sides).unwrap_or(u32::MAX)
            + self.effort(1, TRIAL).length() * u32::try_from(self.pools().len()).unwrap_or(u32::MAX);
        level * u32::try_from(self.levels().len()).unwrap_or(u32::MAX)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let data_dir = arguments.data_dir.clone().unwrap_or_else(|| {
        let mut name = cluster::default_data_dir().into_os_string();
        name.push("-bench");
        name.into()
    });
    let results = arguments.results.clone().unwrap_or_else(|| {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| "benches".into(), PathBuf::from);
        manifest.join("results")
    });
    let server = Server::start(&data_dir, |message| eprintln!("{message}")).await?;
    let outcome = run(&arguments, &server, &data_dir).await;
    if !arguments.keep {
        server.stop().await.context("the benchmark's PostgreSQL could not be stopped")?;
    }
    let report = outcome?;
    println!("{}", report.markdown());
    report.write(&results)?;
    eprintln!("Written to {}", results.display());
    Ok(())
}

async fn run(arguments: &Arguments, server: &Server, data_dir: &std::path::Path) -> Result<Report> {
    let machine = Machine::describe(server, data_dir).await?;
    let mut progress = Progress::new(arguments.total());
    let mut levels = Vec::new();
    for in_flight in arguments.levels() {
        levels.push(level(arguments, server, in_flight, &mut progress).await?);
    }
    progress.finish();
    Ok(Report {
        at: SystemClock.now(),
        quick: arguments.quick,
        tenants: arguments.aggregates as usize,
        rounds: arguments.rounds(),
        seconds: arguments.seconds(),
        apart: arguments.apart,
        with_ids: arguments.with_ids,
        machine,
        levels,
    })
}

/// Finds the peer's best pool, then lets both work in turn; who begins changes from round to round.
async fn level(
    arguments: &Arguments,
    server: &Server,
    in_flight: usize,
    progress: &mut Progress,
) -> Result<Level> {
    let mut trials = Vec::new();
    for &pool in arguments.pools() {
        let round = Side::Stock(pool).run(server, arguments.effort(in_flight, TRIAL), 0, progress).await?;
        let commands_per_second = round.commands_per_second;
        progress.say(&format!(
            "{in_flight} in flight, the peer with {pool}: {commands_per_second:.0} commands/s"
        ));
        trials.push(Trial { pool, commands_per_second });
    }
    let best = trials.iter().max_by(|a, b| a.commands_per_second.total_cmp(&b.commands_per_second));
    let pool = best.map(|trial| trial.pool);
    let ours = (arguments.only != Some(Only::Stock)).then_some(Side::Ours { with_ids: arguments.with_ids });
    let sides: Vec<Side> = ours.into_iter().chain(pool.map(Side::Stock)).collect();
    let mut level = Level { in_flight, trials, pool, ours: Vec::new(), stock: Vec::new() };
    for number in 1..=arguments.rounds() {
        let mut order = sides.clone();
        order.rotate_left((number - 1) % sides.len().max(1));
        for side in order {
            let round = side.run(server, arguments.effort(in_flight, 1.0), number as u64, progress).await?;
            progress.say(&format!(
                "{in_flight} in flight, round {number} of {}, {}: {:.0} commands/s, p50 {:.2} ms, p99 {:.2} ms",
                arguments.rounds(),
                side.name(),
                round.commands_per_second,
                round.p50_ms,
                round.p99_ms
            ));
            match side {
                Side::Ours { .. } => level.ours.push(round),
                Side::Stock(_) => level.stock.push(round),
            }
        }
    }
    Ok(level)
}
