//! The peer `disintegrate`: commands in a closed loop, and the proof that each was stored once.
//!
//! The protocol stands in ../README.md.

mod connect;
mod load;
mod schema;
mod tenants;
mod verify;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use disintegrate::NoSnapshot;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::load::{Load, Worker, fresh_id, lost_race, metadata};
use crate::tenants::{Facts, Provision, Tenants};

const PEER: &str = "disintegrate";
const PROVISIONED_AT_ONCE: usize = 64;

/// As in the benchmark.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The peer disintegrate: commands in a closed loop, and the proof that each was stored once
#[derive(Debug, Parser)]
struct Arguments {
    /// An empty database, as libpq's URL or key-value pairs
    #[arg(long)]
    url: String,
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..1 << 16))]
    in_flight: u64,
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    aggregates: u64,
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    warm_up: Duration,
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Duration,
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 10)]
    pool: u32,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{PEER}: {}", told_once(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes. Many of the library's and the driver's errors repeat their cause in their own text.
fn told_once(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        text if text.contains(&cause) => told,
        _ => format!("{told}: {cause}"),
    })
}

async fn run(arguments: &Arguments) -> Result<String> {
    let to = connect::options(&arguments.url)?;
    let pool = PgPoolOptions::new()
        .max_connections(arguments.pool)
        .test_before_acquire(false)
        .connect_with(to.clone())
        .await
        .context("the pool can't connect")?;
    let store = schema::make(&to, pool.clone()).await?;
    let store = disintegrate_postgres::decision_maker(store, NoSnapshot);
    let tenants: Vec<Uuid> = (0..arguments.aggregates).map(|_| fresh_id()).collect();
    stream::iter(&tenants)
        .map(|tenant| provision(&store, *tenant))
        .buffer_unordered(PROVISIONED_AT_ONCE)
        .try_collect::<()>()
        .await?;
    schema::analyse(&pool).await?;
    let workers =
        Load::run(store, tenants.clone(), arguments.in_flight, arguments.warm_up, arguments.seconds).await?;
    pool.close().await;
    let stale = verify::verify(&to, &tenants, &workers).await?;
    if stale > 0 {
        eprintln!(
            "{PEER}: passed without having seen all events of the tenant: {stale}; see benches/peers/README.md"
        );
    }
    Ok(serde_json::to_string(&Figures::of(&workers, arguments.seconds.as_secs_f64(), stale)?)?)
}

async fn provision(store: &Tenants, tenant: Uuid) -> Result<()> {
    let name = format!("bench-{}", tenant.simple());
    let decision = Provision {
        tenant,
        facts: Facts {
            slug: name.clone(),
            domain: format!("{name}.example"),
            plan: "free".to_owned(),
            region: "eu".to_owned(),
            trial_ends_at: "2030-01-01T00:00:00Z".to_owned(),
            owner: tenant,
            owner_email: format!("owner@{name}.example"),
            name,
        },
        metadata: metadata("tenants:provision"),
    };
    loop {
        match store.make(decision.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if lost_race(&error) => {}
            Err(error) => return Err(error).context("a tenant was not provisioned"),
        }
    }
}

#[derive(Serialize)]
struct Figures {
    peer: &'static str,
    version: &'static str,
    commands: u64,
    seconds: f64,
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    repeats: u64,
    /// This peer's own: decisions that the library let pass although they had not seen all events.
    stale: u64,
}

impl Figures {
    fn of(workers: &[Worker], seconds: f64, stale: u64) -> Result<Self> {
        let commands = workers.iter().map(|worker| worker.counted).sum();
        let mut latencies: Vec<Duration> =
            workers.iter().flat_map(|worker| &worker.latencies).copied().collect();
        latencies.sort_unstable();
        Ok(Self {
            peer: PEER,
            version: library_version().context("the lock names no version of the library")?,
            commands,
            seconds,
            per_second: rounded(commands as f64 / seconds, 1),
            p50_ms: quantile_ms(&latencies, 0.5),
            p99_ms: quantile_ms(&latencies, 0.99),
            repeats: workers.iter().map(|worker| worker.repeats).sum(),
            stale,
        })
    }
}

/// The library does not tell its version; the lock names the one that was built in.
fn library_version() -> Option<&'static str> {
    let (_, package) =
        include_str!("../Cargo.lock").split_once("name = \"disintegrate-postgres\"\nversion = \"")?;
    package.split('"').next()
}

fn quantile_ms(sorted: &[Duration], quantile: f64) -> Option<f64> {
    let at = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map(|latency| rounded(latency.as_secs_f64() * 1000.0, 3))
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
