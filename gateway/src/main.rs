//! `tenantry`: the server, and the developer's command line.

use std::process::ExitCode;

use clap::Parser;
use gateway::cli::{Cli, run};

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
