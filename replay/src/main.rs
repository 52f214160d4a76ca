//! `replay`: rebuilds and verifies read models from the journal, and shows what a stream holds, while a server runs.

mod args;
mod connect;
mod dead_letters;
mod inspect;
mod leftovers;
mod progress;
mod rebuild;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Verb};
use crate::connect::House;

/// As in `tenantry`: most of a replay is making and dropping small values.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run came to, apart from errors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// A difference was found, or something is still parked: exit code 1.
    Differs,
}

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("TENANTRY_LOG").unwrap_or_else(|_| "error".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("replay: the runtime can't be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(args)) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Differs) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<Outcome> {
    let house = House::open(&args.settings).await?;
    match args.verb {
        Verb::Rebuild { names, all: _, drop_former, fresh, accept_differences, batch } => {
            let settings = engine::projection::RebuildSettings {
                batch_events: batch.events as usize,
                fresh,
                accept_differences,
            };
            rebuild::rebuild(&house, &args::chosen(&names), settings, drop_former).await
        }
        Verb::Rollback { name } => rebuild::rollback(&house, &*args::chosen(&[name])[0]).await,
        Verb::Verify { names, batch } => {
            let settings = engine::projection::RebuildSettings {
                batch_events: batch.events as usize,
                ..Default::default()
            };
            rebuild::verify(&house, &args::chosen(&names), settings).await
        }
        Verb::Inspect { stream, at, pretty } => inspect::inspect(&house, &stream, at, pretty).await,
        Verb::DeadLetters { retry: Some(name) } => {
            dead_letters::retry(&house, &*args::chosen(&[name])[0]).await
        }
        Verb::DeadLetters { retry: None } => dead_letters::list(&house, &args::chosen(&[])).await,
        Verb::Leftovers { drop: false } => leftovers::list(&house).await,
        Verb::Leftovers { drop: true } => leftovers::drop(&house).await,
    }
}
