//! The engine by the stopwatch: workloads side by side with their peers, in alternating rounds of one run, on one
//! durable PostgreSQL server.
//!
//! `workloads` is the table of what is measured, a file each; `contender` who is measured; `load` how load is made. After
//! each round `check` looks whether what was acknowledged is in the journal.

mod bench;
mod check;
mod contender;
mod cores;
mod fill;
mod finding;
mod load;
mod machine;
mod memory_probe;
mod plot;
mod progress;
mod report;
mod round;
mod server;
mod summary;
mod usage;
mod work;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use engine::clock::SystemClock;
use kernel::Clock;

use crate::bench::{Bench, Thoroughness};
use crate::finding::Table;
use crate::machine::Machine;
use crate::memory_probe::Probe;
use crate::progress::Progress;
use crate::report::{Entry, Outcome, Report};
use crate::server::Private;
use crate::workloads::{ALL, Workload};

/// As in `tenantry`, and for the peer too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Workloads side by side with their peers, in alternating rounds of one run
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Small data, few and short rounds, some five minutes for all: to see that it works, not to be quoted
    #[arg(long)]
    quick: bool,
    /// Only these workloads
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Say which workloads there are, and stop
    #[arg(long)]
    list: bool,
    /// Rounds of each entrant, instead of what each workload has for itself
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Measured seconds of a round, the same
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Where the benchmark's PostgreSQL lives [default: the server's data directory with -bench after it]
    #[arg(long, env = "TENANTRY_BENCH_CLUSTER")]
    data_dir: Option<PathBuf>,
    /// Where the results go [default: results beside the benchmark's manifest]
    #[arg(long)]
    results: Option<PathBuf>,
    /// Leave the benchmark's PostgreSQL running
    #[arg(long)]
    keep: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the benchmark starts processes of its own for.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    MemoryProbe(Probe),
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.1 to 3600".to_owned()) }
}

impl Arguments {
    fn chosen(&self) -> Result<Vec<&'static Workload>> {
        for name in &self.only {
            if !ALL.iter().any(|workload| workload.name == name) {
                let names: Vec<&str> = ALL.iter().map(|workload| workload.name).collect();
                bail!("there is no workload {name}; there are {}", names.join(", "));
            }
        }
        let is_named = |name: &str| self.only.iter().any(|only| only == name);
        let wanted = |workload: &Workload| match self.only.is_empty() {
            true => !workload.optional,
            false => is_named(workload.name),
        };
        Ok(ALL.iter().filter(|workload| wanted(workload)).collect())
    }

    fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| {
            let mut name = cluster::default_data_dir().into_os_string();
            name.push("-bench");
            name.into()
        })
    }

    fn results(&self) -> PathBuf {
        self.results.clone().unwrap_or_else(|| {
            let manifest =
                std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| "benches".into(), PathBuf::from);
            manifest.join("results")
        })
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Part::MemoryProbe(probe)) = &arguments.part {
        println!("{}", serde_json::to_string(&probe.run().await?)?);
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let (chosen, data_dir, results) = (arguments.chosen()?, arguments.data_dir(), arguments.results());
    let server = Private::start(&data_dir, |message| eprintln!("{message}")).await?;
    let machine = Machine::describe(&server, &data_dir).await?;
    let thoroughness =
        Thoroughness { quick: arguments.quick, rounds: arguments.rounds, seconds: arguments.seconds };
    let expected: Duration = chosen.iter().map(|workload| workload.expected(arguments.quick)).sum();
    let bench = Bench::new(server, Progress::new(expected), thoroughness);
    // What is run by itself leaves the run of all as it is.
    let stem = if let [only] = *chosen { only.name } else { "latest" };
    let report =
        Report { stem, at: SystemClock.now(), quick: arguments.quick, machine, workloads: Vec::new() };
    let outcome = run(&bench, &chosen, report, &results).await;
    bench.progress.finish();
    if !arguments.keep {
        bench.server.stop().await.context("the benchmark's PostgreSQL could not be stopped")?;
    }
    let report = outcome?;
    println!("{}", report.overview());
    eprintln!("Written to {}", results.display());
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one after the other; one that fails keeps none of the others from running. Results are written after each.
async fn run(
    bench: &Bench,
    chosen: &[&'static Workload],
    mut report: Report,
    results: &Path,
) -> Result<Report> {
    for (number, workload) in chosen.iter().enumerate() {
        let (began, load_before) = (Instant::now(), machine::load_average());
        bench.progress.begin(workload.name, workload.expected(bench.quick()));
        bench.progress.say(&format!(
            "[{} of {}] {}: {}",
            number + 1,
            chosen.len(),
            workload.name,
            workload.what
        ));
        let outcome = match (workload.run)(bench).await {
            Ok(finding) => {
                for verdict in &finding.verdicts {
                    let word = verdict.reached.word();
                    bench.progress.say(&format!("  {}: {} – {word}", verdict.wanted, verdict.measured));
                }
                Outcome::Found(Box::new(finding))
            }
            Err(error) => {
                bench.progress.say(&format!("  {} FAILED: {error:#}", workload.name));
                Outcome::Failed(format!("{error:#}"))
            }
        };
        let Workload { name, what, peer, .. } = workload;
        let seconds = began.elapsed().as_secs_f64();
        report.workloads.push(Entry { name, what, peer, seconds, load_before, outcome });
        report.write(results)?;
    }
    Ok(report)
}

fn list() {
    let mut table = Table::new("", ["workload", "wanted", "beside it", "seconds, quick", "seconds"]);
    for Workload { name, peer, wanted, expected_s: (quick, full), optional, .. } in ALL {
        let name = format!("{name}{}", if *optional { " (only if named)" } else { "" });
        let texts = [wanted, peer].map(|text| (*text).to_owned());
        table.row([name].into_iter().chain(texts).chain([quick.to_string(), full.to_string()]));
    }
    println!("{}", table.markdown());
}
