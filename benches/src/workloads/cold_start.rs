//! The first command of an aggregate with 10,000 events.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde_json::json;
use uuid::Uuid;

use super::Workload;
use crate::bench::Bench;
use crate::contender::{Journal, JournalOptions};
use crate::fill::Fill;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::load::{closed, histogram, ms};
use crate::server::connect;
use crate::work::{Contender, Wish};

pub const WORKLOAD: Workload = Workload {
    name: "cold-start",
    what: "The first command of an aggregate with 10,000 events, one aggregate after the other: load, decide, commit.",
    peer: "itself without its snapshots, and itself when the aggregate is in memory",
    wanted: "< 5 ms with a snapshot (median)",
    expected_s: (20, 70),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_cold";
const EVENTS: u64 = 10_000;
const WANTED_MS: f64 = 5.0;
const NEVER: u64 = u64::MAX / 2;

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    bench.server.drop_database(DATABASE).await?;
    found
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let fill = Fill { streams: bench.by_size(10, 60), events_per_stream: EVENTS };
    fill.ours(bench, DATABASE).await?;
    let owner = bench.server.as_owner(DATABASE);
    let tenants = fill.tenants(&owner).await?;
    let (mut without, mut with, mut warm) = (histogram(), histogram(), histogram());
    for number in 0..bench.rounds(4) {
        bench.progress.now(&format!("round {}, without snapshots", number + 1));
        connect(&owner).await?.batch_execute("DELETE FROM aggregate_snapshots").await?;
        first_commands(bench, &tenants, NEVER, [&mut without, &mut warm]).await?;
        keep_snapshots(bench, &tenants).await?;
        bench.progress.now(&format!("round {}, with snapshots", number + 1));
        first_commands(bench, &tenants, NEVER, [&mut with, &mut warm]).await?;
    }
    let mut table = Table::new("", ["", "median ms", "p90 ms", "p99 ms", "highest ms", "samples"]);
    for (name, latencies) in
        [("cold, with a snapshot", &with), ("cold, without", &without), ("in memory", &warm)]
    {
        table.row([
            name.to_owned(),
            format!("{:.2}", ms(latencies, 0.5)),
            format!("{:.2}", ms(latencies, 0.9)),
            format!("{:.2}", ms(latencies, 0.99)),
            format!("{:.2}", ms(latencies, 1.0)),
            latencies.len().to_string(),
        ]);
    }
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                "< 5 ms with a snapshot, median",
                format!("{:.2} ms", ms(&with, 0.5)),
                Reached::if_so(ms(&with, 0.5) < WANTED_MS),
            ),
            Verdict::new("without", format!("{:.1} ms", ms(&without, 0.5)), Reached::Stated),
        ],
        tables: vec![table],
        notes: vec!["All three include a commit; *in memory* is little else.".to_owned()],
        data: json!({ "with_ms": quantiles(&with), "without_ms": quantiles(&without), "warm_ms": quantiles(&warm) }),
        ..Finding::default()
    })
}

/// Two commands for each aggregate of a new engine: the cold one and a warm one.
async fn first_commands(
    bench: &Bench,
    tenants: &[Uuid],
    snapshot_events_min: u64,
    [cold, warm]: [&mut Histogram<u64>; 2],
) -> Result<()> {
    let options =
        JournalOptions { snapshot_events_min: Some(snapshot_events_min), ..JournalOptions::default() };
    let journal = Journal::open(&bench.server.as_server(DATABASE), options).await?;
    let salt = bench.salt();
    let mut all = async || -> Result<()> {
        for &tenant in tenants {
            for (number, latencies) in [&mut *cold, &mut *warm].into_iter().enumerate() {
                let sent = Instant::now();
                journal.carry_out(0, tenant, Wish::SetFlag(salt << 48 | number as u64)).await?;
                latencies.saturating_record(u64::try_from(sent.elapsed().as_micros())?);
            }
        }
        Ok(())
    };
    let done = all().await;
    journal.close().await;
    done
}

/// Lets an engine that takes snapshots work on each, until each has one.
async fn keep_snapshots(bench: &Bench, tenants: &[Uuid]) -> Result<()> {
    let journal = Journal::open(&bench.server.as_server(DATABASE), JournalOptions::default()).await?;
    let client = connect(&bench.server.as_owner(DATABASE)).await?;
    let mut kept = 0;
    for _ in 0..20 {
        let salt = bench.salt();
        closed::each(&journal, tenants, |index| Wish::SetFlag(salt << 48 | index as u64)).await?;
        let row = client.query_one("SELECT count(*) FROM aggregate_snapshots", &[]).await?;
        kept = usize::try_from(row.get::<_, i64>(0)).context("a count")?;
        if kept == tenants.len() {
            break;
        }
    }
    journal.close().await;
    ensure!(kept == tenants.len(), "{kept} of {} aggregates have a snapshot", tenants.len());
    Ok(())
}

fn quantiles(latencies: &Histogram<u64>) -> serde_json::Value {
    json!({ "p50": ms(latencies, 0.5), "p90": ms(latencies, 0.9), "p99": ms(latencies, 0.99), "max": ms(latencies, 1.0) })
}
