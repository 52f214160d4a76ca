//! What it costs that marked fields are sealed (AES-256-GCM, under the keys of persons and tenants).

use anyhow::Result;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::JournalOptions;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::round::{Entrant, Side};

pub const WORKLOAD: Workload = Workload {
    name: "sealing",
    what: "Setting a flag, whose value is confidential, of one of 1,000 tenants drawn at random, 256 commands in flight: the \
           write path alone, sealing as a server does.",
    peer: "the same with marked fields stored as they are",
    wanted: "under 10 % of commands/s",
    expected_s: (15, 60),
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let options = JournalOptions::default();
    let entrants = vec![
        Entrant::fresh("sealed", Side::Sealing(options), TENANTS),
        Entrant::fresh("as it is", Side::Journal(options), TENANTS),
    ];
    let entries = bench.compete(entrants, bench.effort(IN_FLIGHT, SECONDS), bench.rounds(5)).await?;
    let share = entries[0].ratio_to(&entries[1]);
    let cost = 1.0 - share.median;
    Ok(Finding {
        verdicts: vec![Verdict::new(
            "sealing costs under 10 % of commands/s",
            format!(
                "{:.1} % ({:.1} to {:.1})",
                cost * 100.0,
                (1.0 - share.highest) * 100.0,
                (1.0 - share.lowest) * 100.0
            ),
            Reached::if_so(cost < 0.1),
        )],
        tables: vec![Table::of_rounds("", &entries)],
        notes: vec![
            "Each command seals one value; nothing is read back but what an actor starts from.".to_owned(),
        ],
        data: json!({ "share": share, "entries": entries }),
        ..Finding::default()
    })
}
