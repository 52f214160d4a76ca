//! A process of its own that works on many aggregates and says how much memory that took: what earlier workloads left in
//! this process would blur it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use cluster::Cluster;
use serde::{Deserialize, Serialize};

use crate::contender::{Journal, JournalOptions};
use crate::load::closed;
use crate::machine;
use crate::work::{self, Wish};

/// How long the actors over the cap may take to leave.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to work on.
#[derive(Clone, Debug, Args)]
pub struct Probe {
    #[arg(long)]
    pub cluster: std::path::PathBuf,
    #[arg(long)]
    pub database: String,
    #[arg(long)]
    pub aggregates: usize,
    /// Live actors at most.
    #[arg(long)]
    pub cap: usize,
}

/// What it took. Bytes are resident memory (proc(5), `VmRSS` and `VmHWM`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub aggregates: usize,
    pub cap: usize,
    /// With an engine that has worked on a few.
    pub before_bytes: u64,
    pub after_bytes: u64,
    pub peak_bytes: u64,
    pub live: usize,
    pub commands_per_second: f64,
}

impl Probe {
    /// Gives every aggregate its first event, and looks.
    pub async fn run(&self) -> Result<Memory> {
        let cluster = Cluster::open(&self.cluster)?.context("the benchmark's PostgreSQL is not there")?;
        let options = JournalOptions { actors_live_max: Some(self.cap), ..JournalOptions::default() };
        let journal = Journal::open(&cluster.server().with_database(&self.database), options).await?;
        // Buffers and caches take what they take.
        let few = work::tenants(1_000);
        closed::provision(&journal, &few).await?;
        for round in 0..20 {
            closed::each(&journal, &few, |index| Wish::SetFlag(round << 48 | index as u64)).await?;
        }
        let before_bytes = machine::resident_bytes("VmRSS");
        let tenants = work::tenants(self.aggregates);
        let began = Instant::now();
        closed::provision(&journal, &tenants).await?;
        let commands_per_second = self.aggregates as f64 / began.elapsed().as_secs_f64();
        let given_up_at = Instant::now() + PATIENCE;
        while journal.engine.health().actors_live > self.cap && Instant::now() < given_up_at {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let memory = Memory {
            aggregates: self.aggregates,
            cap: self.cap,
            before_bytes,
            after_bytes: machine::resident_bytes("VmRSS"),
            peak_bytes: machine::resident_bytes("VmHWM"),
            live: journal.engine.health().actors_live,
            commands_per_second,
        };
        journal.close().await;
        Ok(memory)
    }
}
