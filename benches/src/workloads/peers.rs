//! Other event-sourcing libraries on PostgreSQL, in turns with ours. Each is a process of its own that makes its own load;
//! `scripts/bench-peers.sh` installs and runs them, by the protocol in `benches/peers`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::process::Command;

use super::Workload;
use crate::bench::Bench;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::round::{Effort, Entrant};
use crate::summary::{Entry, Spread};

pub const WORKLOAD: Workload = Workload {
    name: "peers",
    what: "Setting a flag of one of 1,000 tenants drawn at random, 256 commands in flight, each in its library's own language \
           and with the settings that it recommends.",
    peer: "ours as shipped, and the journal alone, which nothing follows as nothing follows theirs",
    wanted: "–",
    expected_s: (60, 240),
    optional: true,
    run: |bench| Box::pin(run(bench)),
};

const NAMES: [&str; 3] = ["eventsourcing", "emmett", "disintegrate"];
const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;

/// What a peer says of a round.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Told {
    version: String,
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    commands: u64,
    repeats: u64,
}

async fn run(bench: &Bench) -> Result<Finding> {
    let effort = bench.effort(IN_FLIGHT, SECONDS);
    let ours = Entrant::both(TENANTS);
    let mut entries = ours.each_ref().map(Entrant::entry);
    let mut theirs = NAMES.map(|name| (name, Vec::<Told>::new()));
    let (rounds, all) = (bench.rounds(3), ours.len() + NAMES.len());
    for number in 0..rounds {
        // Who begins changes from round to round.
        for turn in 0..all {
            let index = (number as usize + turn) % all;
            let (name, per_second) = match ours.get(index) {
                Some(entrant) => {
                    let round = entrant.round(bench, effort, u64::from(number) + 1).await?;
                    let per_second = round.commands_per_second;
                    entries[index].rounds.push(round);
                    (entrant.name.as_str(), per_second)
                }
                None => {
                    let (name, told) = &mut theirs[index - ours.len()];
                    bench.progress.now(&format!("{name}, {IN_FLIGHT} in flight"));
                    let of_round = round(bench, name, effort).await.with_context(|| name.to_owned())?;
                    let per_second = of_round.per_second;
                    told.push(of_round);
                    (*name, per_second)
                }
            };
            bench
                .progress
                .say(&format!("  {name}, round {} of {rounds}: {per_second:.0} commands/s", number + 1));
        }
    }
    Ok(finding(&entries, &theirs))
}

/// Lets a peer work on an empty database of the benchmark's server. It verifies itself that nothing acknowledged is missing.
async fn round(bench: &Bench, name: &str, effort: Effort) -> Result<Told> {
    bench.server.checkpoint().await?;
    let script = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| "benches".into(), PathBuf::from);
    let output = Command::new(script.join("../scripts/bench-peers.sh"))
        .args(["--only", name, "--url", &bench.server.as_superuser().url()])
        .args(["--in-flight", &effort.in_flight.to_string(), "--aggregates", &TENANTS.to_string()])
        .args(["--warm-up", &effort.warm_up.as_secs_f64().to_string()])
        .args(["--seconds", &effort.measured.as_secs_f64().to_string()])
        .stdin(Stdio::null())
        .output()
        .await
        .context("scripts/bench-peers.sh can't be run")?;
    // What it says while it installs is worth seeing only if that fails.
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let told = String::from_utf8(output.stdout)?;
    serde_json::from_str(told.lines().last().unwrap_or_default()).with_context(|| format!("it says: {told}"))
}

fn finding(entries: &[Entry; 2], theirs: &[(&str, Vec<Told>)]) -> Finding {
    let mut table =
        Table::new("", ["", "version", "commands/s", "lowest – highest", "p50 ms", "p99 ms", "repeats"]);
    let mut row = |name: &str, version: &str, rates: Vec<f64>, [p50, p99, repeats]: [f64; 3]| {
        let Spread { median, lowest, highest } = Spread::of(rates);
        table.row([
            name.to_owned(),
            version.to_owned(),
            format!("{median:.0}"),
            format!("{lowest:.0} – {highest:.0}"),
            format!("{p50:.2}"),
            format!("{p99:.2}"),
            format!("{repeats:.2}"),
        ]);
    };
    for entry in entries {
        let of = |figure| entry.of(figure).median;
        let figures =
            [of(|round| round.p50_ms), of(|round| round.p99_ms), of(|round| round.repeats_per_command)];
        row(&entry.name, env!("CARGO_PKG_VERSION"), entry.per_second(), figures);
    }
    let mut verdicts = Vec::new();
    for (name, told) in theirs {
        let of = |figure: fn(&Told) -> f64| Spread::of(told.iter().map(figure)).median;
        let figures = [
            of(|told| told.p50_ms.unwrap_or(f64::NAN)),
            of(|told| told.p99_ms.unwrap_or(f64::NAN)),
            of(|told| told.repeats as f64 / told.commands.max(1) as f64),
        ];
        let rates: Vec<f64> = told.iter().map(|told| told.per_second).collect();
        let [shipped, alone] =
            entries.each_ref().map(|entry| Spread::ratio(&entry.per_second(), &rates).text(1));
        verdicts.push(Verdict::new(
            &format!("beside {name}, like for like and as shipped"),
            format!("{alone} × and {shipped} ×"),
            Reached::Stated,
        ));
        row(name, told.first().map_or("", |told| &told.version), rates, figures);
    }
    Finding {
        verdicts,
        tables: vec![table],
        notes: vec![
            "*Repeats* are per command. What the libraries were given, and why, stands in `benches/peers`."
                .to_owned(),
        ],
        data: json!({ "ours": entries, "theirs": theirs }),
        ..Finding::default()
    }
}
