//! Through HTTP, with the check of an access token.

use anyhow::Result;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::round::{Entrant, Side};

pub const WORKLOAD: Workload = Workload {
    name: "http",
    what: "The same commands as PUT requests over 256 kept TCP connections, each with an access token that is checked, \
           answered when they are durable.",
    peer: "itself, dispatched in process",
    wanted: "≥ 15,000 commands/s",
    expected_s: (15, 50),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let entrants = vec![
        Entrant::fresh("through HTTP", Side::Http, TENANTS),
        Entrant::fresh("in process", Side::Shipped, TENANTS),
    ];
    let entries = bench.compete(entrants, bench.effort(IN_FLIGHT, SECONDS), bench.rounds(3)).await?;
    let per_second = entries[0].of(|round| round.commands_per_second);
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                "≥ 15,000 commands/s",
                format!("{}/s", per_second.text(0)),
                Reached::if_so(per_second.median >= 15_000.0),
            ),
            Verdict::new(
                "beside itself in process",
                format!("{} ×", entries[0].ratio_to(&entries[1]).text(2)),
                Reached::Stated,
            ),
        ],
        tables: vec![Table::of_rounds("", &entries)],
        notes: vec![
            "The HTTP client shares the cores with server and database; its share of the processor time is in *CPU µs \
             here*."
                .to_owned(),
        ],
        data: json!({ "entries": entries }),
        ..Finding::default()
    })
}
