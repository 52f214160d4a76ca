//! One hot aggregate: 256 commands in flight for the same tenant.

use anyhow::Result;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::StockPool;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::round::{Entrant, Ground, Side};

pub const WORKLOAD: Workload = Workload {
    name: "hot",
    what: "One hot aggregate: 256 commands in flight for the same tenant, as shipped.",
    peer: "stock cqrs-es with postgres-es, which repeats after every lost race",
    wanted: "≥ 30,000/s",
    expected_s: (15, 60),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const IN_FLIGHT: usize = 256;
const SECONDS: f64 = 4.0;

async fn run(bench: &Bench) -> Result<Finding> {
    let ground = Ground::Fresh { tenants: 1 };
    // More connections only lose more races.
    let (pool, _) = bench.best_pool(&ground, None, IN_FLIGHT, SECONDS, &StockPool::TRIED_FEW[..2]).await?;
    let entrants = vec![
        Entrant::fresh("Tenantry as shipped", Side::Shipped, 1),
        Entrant::fresh("stock cqrs-es", Side::Stock { pool, snapshot_size: None }, 1),
    ];
    let entries = bench.compete(entrants, bench.effort(IN_FLIGHT, SECONDS), bench.rounds(3)).await?;
    let per_second = entries[0].of(|round| round.commands_per_second);
    let ratio = entries[0].ratio_to(&entries[1]);
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                "≥ 30,000/s",
                format!("{}/s", per_second.text(0)),
                Reached::if_so(per_second.median >= 30_000.0),
            ),
            Verdict::new("beside stock", format!("{} ×", ratio.text(0)), Reached::Stated),
        ],
        tables: vec![Table::of_rounds(&format!("The peer with {pool}"), &entries)],
        notes: vec![
            "The peer's stream grows during a round, and it reads all of it for each command; its lost races are told \
             as repeats."
                .to_owned(),
        ],
        data: json!({ "pool": pool, "entries": entries }),
        ..Finding::default()
    })
}
