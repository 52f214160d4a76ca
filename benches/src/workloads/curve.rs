//! The same commands with less and with more in flight.

use anyhow::Result;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::StockPool;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::plot::{Axis, Line, Plot};
use crate::round::{Entrant, Ground, Side};
use crate::summary::Entry;

pub const WORKLOAD: Workload = Workload {
    name: "curve",
    what: "The same with 1, 8, 64, 256 and 1,024 commands in flight.",
    peer: "stock cqrs-es with postgres-es, its best pool for each",
    wanted: "never slower than stock at 1; aim: 100,000/s at 1,024",
    expected_s: (60, 230),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: [usize; 5] = [1, 8, 64, 256, 1024];
const TENANTS: usize = 1000;
const SECONDS: f64 = 3.0;

/// What is measured with so many in flight.
struct Level {
    in_flight: usize,
    pool: StockPool,
    entries: Vec<Entry>,
}

async fn run(bench: &Bench) -> Result<Finding> {
    let mut levels = Vec::new();
    for in_flight in IN_FLIGHT {
        levels.push(level(bench, in_flight).await?);
    }
    let line = |index: usize, name: &str| Line {
        name: name.to_owned(),
        points: levels
            .iter()
            .map(|level| (level.in_flight as f64, level.entries[index].of(|round| round.commands_per_second)))
            .collect(),
    };
    let (alone, most) = (&levels[0].entries, &levels[IN_FLIGHT.len() - 1].entries);
    let (ratio, per_second) = (alone[0].ratio_to(&alone[1]), most[0].of(|round| round.commands_per_second));
    let tables = levels.iter().map(|level| {
        let title = format!("{} in flight; the peer with {}", level.in_flight, level.pool);
        Table::of_rounds(&title, &level.entries)
    });
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                "not slower than stock at 1 in flight",
                format!("{} ×", ratio.text(2)),
                Reached::if_so(ratio.median >= 1.0),
            ),
            Verdict::new(
                "aim: 100,000/s at 1,024 in flight",
                format!("{}/s", per_second.text(0)),
                Reached::if_so(per_second.median >= 100_000.0),
            ),
        ],
        tables: tables.collect(),
        plots: vec![Plot::lines(
            "curve",
            "Commands per second by commands in flight",
            Axis::logarithmic("commands in flight"),
            Axis::logarithmic("commands/s"),
            vec![line(0, "Tenantry as shipped"), line(1, "stock cqrs-es")],
        )],
        data: levels
            .iter()
            .map(
                |level| json!({ "in_flight": level.in_flight, "pool": level.pool, "entries": level.entries }),
            )
            .collect(),
        ..Finding::default()
    })
}

async fn level(bench: &Bench, in_flight: usize) -> Result<Level> {
    // With one in flight any pool serves one connection.
    let pools = if in_flight == 1 { &StockPool::TRIED[1..2] } else { StockPool::TRIED_FEW };
    let ground = Ground::Fresh { tenants: TENANTS };
    let (pool, _) = bench.best_pool(&ground, None, in_flight, SECONDS, pools).await?;
    let entrants = vec![
        Entrant::fresh("Tenantry as shipped", Side::Shipped, TENANTS),
        Entrant::fresh("stock cqrs-es", Side::Stock { pool, snapshot_size: None }, TENANTS),
    ];
    let entries = bench.compete(entrants, bench.effort(in_flight, SECONDS), bench.rounds(3)).await?;
    Ok(Level { in_flight, pool, entries })
}
