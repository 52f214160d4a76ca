//! Many aggregates, few of them live: is memory bounded by the cap?

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use super::Workload;
use crate::bench::Bench;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::memory_probe::Memory;
use crate::plot::Plot;
use crate::server::MIGRATED;
use crate::summary::Spread;

pub const WORKLOAD: Workload = Workload {
    name: "aggregates",
    what: "Provisioning 100,000 and 1,000,000 tenants (20,000 and 100,000 in a quick run) while at most a tenth of the \
           smaller number may be live, each run in a process of its own.",
    peer: "itself with all of the smaller number live",
    wanted: "memory bounded by the cap; bytes per live and per idle actor stated",
    expected_s: (30, 150),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_aggregates";
/// How much more the larger number may take at its peak, under the same cap.
const WITHIN: f64 = 0.15;

async fn run(bench: &Bench) -> Result<Finding> {
    let (fewer, many) = bench.by_size((20_000, 100_000), (100_000, 1_000_000));
    let cap = fewer / 10;
    let capped = probe(bench, fewer, cap).await?;
    let all_live = probe(bench, fewer, fewer).await?;
    let large = probe(bench, many, cap).await?;
    let per_live = difference(all_live.after_bytes, capped.after_bytes)
        / difference(all_live.live as u64, capped.live as u64).max(1.0);
    let per_idle = difference(large.after_bytes, capped.after_bytes) / (many - fewer) as f64;
    let growth = large.peak_bytes as f64 / capped.peak_bytes as f64 - 1.0;
    let mut table = Table::new(
        "",
        [
            "aggregates",
            "cap",
            "live at the end",
            "MiB before",
            "MiB after",
            "MiB at the peak",
            "provisioned/s",
        ],
    );
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / 1024.0 / 1024.0);
    for memory in [&capped, &all_live, &large] {
        table.row([
            memory.aggregates.to_string(),
            memory.cap.to_string(),
            memory.live.to_string(),
            mib(memory.before_bytes),
            mib(memory.after_bytes),
            mib(memory.peak_bytes),
            format!("{:.0}", memory.commands_per_second),
        ]);
    }
    let bar = |memory: &Memory| {
        let peak = memory.peak_bytes as f64 / 1024.0 / 1024.0;
        let name = format!("{} aggregates, cap {}", memory.aggregates, memory.cap);
        (name, Spread { median: peak, lowest: peak, highest: peak })
    };
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                &format!("{many} aggregates: memory as of {fewer} within 15 %"),
                format!("{:+.1} %", growth * 100.0),
                Reached::if_so(growth <= WITHIN),
            ),
            Verdict::new(
                "never more live than the cap at the end",
                format!("{} of {cap}", large.live),
                Reached::if_so(large.live <= cap),
            ),
            Verdict::new("bytes per live actor", format!("{per_live:.0}"), Reached::Stated),
            Verdict::new("bytes per idle (passivated) actor", format!("{per_idle:.0}"), Reached::Stated),
        ],
        tables: vec![table],
        notes: vec![
            "Bytes per live actor: what the run with all live takes more than the one with a tenth, by how many more live. Per idle actor: what the larger number \
             takes more than the smaller under the same cap; a passivated aggregate has no entry anywhere in memory, so \
             what is left is the probe's own list of ids (16 bytes each) and the allocator's slack."
                .to_owned(),
        ],
        plots: vec![Plot::bars(
            "aggregates",
            "Resident memory at its peak",
            "MiB",
            [&capped, &large, &all_live].map(bar).into(),
        )],
        data: json!({ "capped": capped, "all_live": all_live, "large": large }),
    })
}

fn difference(more: u64, less: u64) -> f64 {
    more as f64 - less as f64
}

async fn probe(bench: &Bench, aggregates: usize, cap: usize) -> Result<Memory> {
    bench.progress.now(&format!("{aggregates} aggregates, at most {cap} live"));
    bench.server.fresh_database(DATABASE, Some(MIGRATED)).await?;
    let output = Command::new(std::env::current_exe()?)
        .arg("memory-probe")
        .arg("--cluster")
        .arg(bench.server.data_dir())
        .args(["--database", DATABASE, "--aggregates", &aggregates.to_string(), "--cap", &cap.to_string()])
        .kill_on_drop(true)
        .output()
        .await;
    bench.server.drop_database(DATABASE).await?;
    let output = output.context("the probe can't be run")?;
    ensure!(output.status.success(), "the probe failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
