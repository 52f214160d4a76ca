//! The table of workloads: what each is, what stands beside it, and the function that runs it.

mod aggregates;
mod cold_start;
mod commands;
mod curve;
mod flood;
mod growth;
mod history;
mod hot;
mod http;
mod lag;
mod peers;
mod pgbench;
mod rebuild;
mod replay;
mod sealing;
mod sign_in;

use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use crate::bench::Bench;
use crate::finding::Finding;

/// One workload.
pub struct Workload {
    pub name: &'static str,
    /// A sentence.
    pub what: &'static str,
    /// What runs beside it in the same run.
    pub peer: &'static str,
    /// What is wanted, for the list; the finding judges.
    pub wanted: &'static str,
    /// How long it is expected to take, quick and full, in seconds.
    pub expected_s: (u32, u32),
    /// Run only where it is named: it takes what is not there by itself.
    pub optional: bool,
    pub run: for<'a> fn(&'a Bench) -> LocalBoxFuture<'a, Result<Finding>>,
}

impl Workload {
    pub fn expected(&self, quick: bool) -> Duration {
        let (short, full) = self.expected_s;
        Duration::from_secs(u64::from(if quick { short } else { full }))
    }
}

/// All of them, in the order they run.
pub const ALL: &[Workload] = &[
    commands::WORKLOAD,
    curve::WORKLOAD,
    history::WORKLOAD,
    hot::WORKLOAD,
    sealing::WORKLOAD,
    growth::WORKLOAD,
    aggregates::WORKLOAD,
    cold_start::WORKLOAD,
    replay::WORKLOAD,
    rebuild::WORKLOAD,
    http::WORKLOAD,
    sign_in::WORKLOAD,
    lag::WORKLOAD,
    flood::WORKLOAD,
    pgbench::WORKLOAD,
    peers::WORKLOAD,
];
