//! One round of one contender: a fresh database, tenants, load, and the check that nothing acknowledged is missing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::check;
use crate::load::{self, Outcome, Plan};
use crate::ours::Ours;
use crate::progress::Progress;
use crate::server::Server;
use crate::stock::{Stock, StockPool};
use crate::usage::CpuTime;
use crate::workload::{self, Contender};

/// The database of a round; dropped after it.
const DATABASE: &str = "bench_round";

/// Who works.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    Ours { with_ids: bool },
    Stock(StockPool),
}

/// How much work, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub in_flight: usize,
    pub tenants: usize,
    pub warm_up: Duration,
    pub measured: Duration,
    pub apart: bool,
}

impl Effort {
    pub fn length(&self) -> Duration {
        self.warm_up + self.measured
    }
}

/// The figures of a round. Latencies are in milliseconds.
#[derive(Clone, Debug, Serialize)]
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
}

impl Side {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ours { .. } => "Tenantry",
            Self::Stock(_) => "cqrs-es + postgres-es",
        }
    }

    /// Runs a round. The same `seed` draws the same tenants in the same order.
    pub async fn run(
        self,
        server: &Server,
        effort: Effort,
        seed: u64,
        progress: &mut Progress,
    ) -> Result<Round> {
        let migrated = matches!(self, Self::Ours { .. });
        server.fresh_database(DATABASE, migrated).await?;
        let plan = Plan {
            in_flight: effort.in_flight,
            tenants: workload::tenants(effort.tenants).into(),
            warm_up: effort.warm_up,
            measured: effort.measured,
            seed,
            apart: effort.apart,
        };
        let what = format!("{} at {} in flight", self.name(), effort.in_flight);
        let (outcome, usage) = match self {
            Self::Ours { with_ids } => {
                let ours = Arc::new(Ours::open(&server.as_server(DATABASE), with_ids).await?);
                let measured = measure(server, ours.clone(), plan, &what, progress).await;
                ours.close().await;
                measured
            }
            Self::Stock(pool) => {
                let stock = Arc::new(Stock::open(&server.as_owner(DATABASE), pool).await?);
                let measured = measure(server, stock.clone(), plan, &what, progress).await;
                stock.close().await;
                measured
            }
        }
        .with_context(|| what.clone())?;
        progress.passed(effort.length());
        let checked =
            check::check(&server.as_owner(DATABASE), effort.tenants, outcome.acknowledged, migrated)
                .await
                .with_context(|| format!("the journal of {what} is not as it should be"))?;
        server.drop_database(DATABASE).await?;
        Ok(Round::of(&outcome, usage, checked))
    }
}

/// What the measured time cost.
#[derive(Clone, Copy)]
struct Usage {
    cpu: CpuTime,
    wal_bytes: u64,
}

async fn measure<C: Contender>(
    server: &Server,
    contender: Arc<C>,
    plan: Plan,
    what: &str,
    progress: &Progress,
) -> Result<(Outcome, Usage)> {
    load::provision(&*contender, &plan.tenants).await.context("the tenants can't be provisioned")?;
    server.checkpoint().await?;
    let edge = async || {
        let wal_bytes = server.wal_bytes().await?;
        Ok(Usage { cpu: CpuTime::now(server.postmaster_pid()), wal_bytes })
    };
    let tick = |elapsed, commands| progress.tick(what, elapsed, commands);
    let (outcome, before, after) = load::run(contender, plan, edge, tick).await?;
    let usage = Usage { cpu: after.cpu.since(before.cpu), wal_bytes: after.wal_bytes - before.wal_bytes };
    Ok((outcome, usage))
}

impl Round {
    fn of(outcome: &Outcome, usage: Usage, checked: check::Checked) -> Self {
        let commands = outcome.counted.max(1) as f64;
        let ms = |quantile| outcome.latencies.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            commands: outcome.counted,
            commands_per_second: outcome.per_second(),
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p99_9_ms: ms(0.999),
            max_ms: outcome.latencies.max() as f64 / 1e3,
            p99_corrected_ms: outcome.corrected.value_at_quantile(0.99) as f64 / 1e3,
            repeats_per_command: outcome.repeats as f64 / commands,
            commands_per_commit: checked.commands_per_commit,
            wal_bytes_per_command: usage.wal_bytes as f64 / commands,
            client_cpu_us_per_command: usage.cpu.client.as_secs_f64() * 1e6 / commands,
            server_cpu_us_per_command: usage.cpu.server.as_secs_f64() * 1e6 / commands,
        }
    }
}
