//! `tenantry`: the server, and the developer's command line.

use std::process::ExitCode;

use clap::Parser;
use gateway::cli::{Cli, run};

/// A command makes and drops hundreds of small values, often on different threads; glibc's allocator took a quarter of
/// the processor for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes, each after a colon; never a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
