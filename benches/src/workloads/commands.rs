//! Commands with 256 in flight over 1,000 aggregates: the promise.

use anyhow::Result;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::{JournalOptions, StockPool};
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::plot::Plot;
use crate::round::{Entrant, Ground, Side};

pub const WORKLOAD: Workload = Workload {
    name: "commands",
    what: "Setting a flag of one of 1,000 tenants drawn at random, 256 commands in flight, as shipped: claims, \
           projections and process managers on.",
    peer: "stock cqrs-es with postgres-es, with the fastest of several pools and nothing that follows it",
    wanted: "≥ 10 × stock, like for like and as shipped, and ≥ 55,000/s; 15 × and 80,000/s the aim; p99 < 20 ms",
    expected_s: (40, 150),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: usize = 256;
const TENANTS: usize = 1000;
const SECONDS: f64 = 5.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let pools = bench.by_size(StockPool::TRIED_QUICK, StockPool::TRIED);
    let ground = Ground::Fresh { tenants: TENANTS };
    let (pool, trials) = bench.best_pool(&ground, None, IN_FLIGHT, SECONDS, pools).await?;
    let entrants = vec![
        Entrant::fresh("Tenantry as shipped", Side::Shipped, TENANTS),
        Entrant::fresh("stock cqrs-es", Side::Stock { pool, snapshot_size: None }, TENANTS),
        Entrant::fresh("Tenantry, journal alone", Side::Journal(JournalOptions::default()), TENANTS),
    ];
    let entries = bench.compete(entrants, bench.effort(IN_FLIGHT, SECONDS), bench.rounds(5)).await?;
    let (shipped, stock, alone) = (&entries[0], &entries[1], &entries[2]);
    let (ratio, per_second) = (shipped.ratio_to(stock), shipped.of(|round| round.commands_per_second));
    let like_for_like = alone.ratio_to(stock);
    let p99 = shipped.of(|round| round.p99_ms);
    let verdict = |wanted: &str, measured: &str, reached| {
        Verdict::new(wanted, measured.to_owned(), Reached::if_so(reached))
    };
    let times = format!("{} ×", ratio.text(1));
    let rate = format!("{}/s", per_second.text(0));
    Ok(Finding {
        verdicts: vec![
            verdict(
                "like for like, nothing following: ≥ 10 × stock",
                &format!("{} ×", like_for_like.text(1)),
                like_for_like.median >= 10.0,
            ),
            verdict("as shipped: ≥ 10 × stock", &times, ratio.median >= 10.0),
            verdict("≥ 55,000/s", &rate, per_second.median >= 55_000.0),
            verdict("aim: 15 × stock", &times, ratio.median >= 15.0),
            verdict("aim: 80,000/s", &rate, per_second.median >= 80_000.0),
            verdict("p99 < 20 ms", &format!("{} ms", p99.text(2)), p99.median < 20.0),
        ],
        tables: vec![Table::of_rounds("", &entries), Table::of_trials("", &trials, &pool.to_string())],
        notes: vec![
            "*Journal alone* is the same write path with nothing following it, as the peer has nothing following it."
                .to_owned(),
            "*Read models behind*: events the slowest read model had still to fold when the measured time ended."
                .to_owned(),
        ],
        plots: vec![Plot::bars(
            "commands",
            "256 in flight over 1,000 aggregates",
            "commands/s",
            entries.iter().map(|entry| (entry.name.clone(), entry.of(|round| round.commands_per_second))).collect(),
        )],
        data: json!({ "pool": pool, "trials": trials, "entries": entries }),
    })
}
