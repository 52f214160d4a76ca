//! What it costs that a journal has grown.

use anyhow::{Context, Result};
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::{Journal, JournalOptions};
use crate::fill::Fill;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::load::closed;
use crate::plot::{Axis, Line, Plot};
use crate::round::{Entrant, Ground, Side};
use crate::summary::{Entry, Spread};
use crate::work;

pub const WORKLOAD: Workload = Workload {
    name: "growth",
    what: "256 commands in flight over 1,000 new aggregates on a journal of 0, 1 million and 10 million events (a quick \
           run stops at 1 million).",
    peer: "itself on an empty journal, before and after each",
    wanted: "flat within 15 %; void if the control spreads more than 10 %",
    expected_s: (60, 350),
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;
const EVENTS_PER_STREAM: u64 = 100;
const FLAT_WITHIN: f64 = 0.15;
const CONTROL_WITHIN: f64 = 0.10;
const MILLION: u64 = 1_000_000;
const SIDE: Side =
    Side::Journal(JournalOptions { with_ids: false, actors_live_max: None, snapshot_events_min: None });

/// Databases by how many events they begin with.
const FILLED: [(&str, u64); 2] = [("bench_growth_1m", MILLION), ("bench_growth_10m", 10 * MILLION)];

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    for (database, _) in FILLED {
        bench.server.drop_database(database).await?;
    }
    found
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let mut filled = Vec::new();
    for (database, events) in &FILLED[..bench.by_size(1, 2)] {
        filled.push((*events, grown(bench, database, *events).await?));
    }
    let effort = bench.effort(IN_FLIGHT, SECONDS);
    let control_entrant = Entrant::fresh("an empty journal", SIDE, TENANTS);
    let mut control = Entry { name: control_entrant.name.clone(), rounds: Vec::new() };
    let mut grown: Vec<Entry> =
        filled.iter().map(|(_, entrant)| Entry { name: entrant.name.clone(), rounds: Vec::new() }).collect();
    for number in 0..bench.rounds(3) {
        let seed = u64::from(number) + 1;
        control.rounds.push(control_entrant.round(bench, effort, seed).await?);
        for ((_, entrant), entry) in filled.iter().zip(&mut grown) {
            entry.rounds.push(entrant.round(bench, effort, seed).await?);
            control.rounds.push(control_entrant.round(bench, effort, seed).await?);
        }
        bench.progress.say(&format!("  round {} is over", number + 1));
    }
    Ok(finding(control, grown, &filled))
}

/// A filled journal with new tenants on top of it.
async fn grown(bench: &Bench, database: &'static str, events: u64) -> Result<Entrant> {
    let fill = Fill { streams: events / EVENTS_PER_STREAM, events_per_stream: EVENTS_PER_STREAM };
    fill.ours(bench, database).await?;
    let tenants = work::tenants(TENANTS);
    let journal = Journal::open(&bench.server.as_server(database), JournalOptions::default()).await?;
    let provisioned = closed::provision(&journal, &tenants).await;
    journal.close().await;
    provisioned.context("the tenants can't be provisioned")?;
    let ground = Ground::Kept { database, tenants: tenants.into() };
    Ok(Entrant { name: format!("{} million events", events / MILLION), side: SIDE, ground })
}

fn finding(control: Entry, grown: Vec<Entry>, filled: &[(u64, Entrant)]) -> Finding {
    let steady = Spread::of(control.per_second());
    let is_void = steady.width() > CONTROL_WITHIN;
    let mut verdicts = vec![Verdict::new(
        "control: spreads at most 10 %",
        format!("{:.0} %", steady.width() * 100.0),
        if is_void { Reached::Void } else { Reached::Yes },
    )];
    for entry in &grown {
        let share = Spread::of(entry.per_second()).median / steady.median.max(f64::MIN_POSITIVE);
        verdicts.push(Verdict::new(
            &format!("{}: within 15 % of empty", entry.name),
            format!("{:+.1} %", (share - 1.0) * 100.0),
            if is_void { Reached::Void } else { Reached::if_so(share >= 1.0 - FLAT_WITHIN) },
        ));
    }
    // An empty journal stands at one event, as nothing has no logarithm.
    let mut points = vec![(1.0, steady)];
    points.extend(
        filled
            .iter()
            .zip(&grown)
            .map(|((events, _), entry)| (*events as f64, Spread::of(entry.per_second()))),
    );
    let mut entries = vec![control];
    entries.extend(grown);
    Finding {
        verdicts,
        tables: vec![Table::of_rounds("", &entries)],
        notes: vec![
            "The write path alone, so that no read model of a grown journal is rebuilt meanwhile. The control runs \
             before and after every grown journal."
                .to_owned(),
        ],
        plots: vec![Plot::lines(
            "growth",
            "Commands per second by events in the journal",
            Axis::logarithmic("events in the journal (1 stands for none)"),
            Axis::linear("commands/s"),
            vec![Line { name: "journal alone".to_owned(), points }],
        )],
        data: json!({ "entries": entries }),
    }
}
