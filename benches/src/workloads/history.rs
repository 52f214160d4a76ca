//! Aggregates with 1,000 events of history.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::{JournalOptions, StockPool};
use crate::fill::Fill;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::plot::Plot;
use crate::round::{Effort, Entrant, Ground, Side};

pub const WORKLOAD: Workload = Workload {
    name: "history",
    what: "256 commands in flight over 1,000 aggregates (200 in a quick run) that have 1,000 events each.",
    peer: "stock cqrs-es with postgres-es, with and without its snapshots",
    wanted: "≥ 100 × stock without snapshots",
    expected_s: (35, 130),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const OURS: &str = "bench_history_ours";
const STOCK: &str = "bench_history_stock";
const STOCK_SNAPSHOTS: &str = "bench_history_snapshots";
const IN_FLIGHT: usize = 256;
const SECONDS: f64 = 6.0;
/// The peer answers 256 at once after seconds; a shorter round would see no answer.
const SECONDS_MIN: f64 = 4.0;
/// The peer's snapshot for so many events, tried.
const SNAPSHOT_SIZES: [usize; 2] = [10, 100];

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    for database in [OURS, STOCK, STOCK_SNAPSHOTS] {
        bench.server.drop_database(database).await?;
    }
    found
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let fill = Fill { streams: bench.by_size(200, 1000), events_per_stream: 1000 };
    fill.ours(bench, OURS).await?;
    fill.stock(bench, STOCK).await?;
    bench.server.fresh_database(STOCK_SNAPSHOTS, Some(STOCK)).await?;
    let tenants = fill.tenants(&bench.server.as_owner(OURS)).await?;
    let kept = |database| Ground::Kept { database, tenants: tenants.clone() };
    let pools = StockPool::TRIED_FEW;
    let (pool, trials) = bench.best_pool(&kept(STOCK), None, IN_FLIGHT, SECONDS, pools).await?;
    let mut best = (SNAPSHOT_SIZES[0], 0.0);
    for size in SNAPSHOT_SIZES {
        let ground = kept(STOCK_SNAPSHOTS);
        let (_, trial) = bench.best_pool(&ground, Some(size), IN_FLIGHT, SECONDS, &[pool]).await?;
        let per_second = trial.first().map_or(0.0, |trial| trial.commands_per_second);
        best = if per_second > best.1 { (size, per_second) } else { best };
    }
    let snapshot_size = best.0;
    let entrant =
        |name: &str, side, database| Entrant { name: name.to_owned(), side, ground: kept(database) };
    let entrants = vec![
        entrant("Tenantry, journal alone", Side::Journal(JournalOptions::default()), OURS),
        entrant("stock, no snapshots", Side::Stock { pool, snapshot_size: None }, STOCK),
        entrant(
            "stock, its snapshots",
            Side::Stock { pool, snapshot_size: Some(snapshot_size) },
            STOCK_SNAPSHOTS,
        ),
    ];
    let effort = bench.effort(IN_FLIGHT, SECONDS);
    let effort = Effort { measured: effort.measured.max(Duration::from_secs_f64(SECONDS_MIN)), ..effort };
    let entries = bench.compete(entrants, effort, bench.rounds(3)).await?;
    let without = entries[0].ratio_to(&entries[1]);
    let with = entries[0].ratio_to(&entries[2]);
    // A round in which the peer answered nothing gives no ratio.
    let answered = entries.iter().flat_map(|entry| &entry.rounds).all(|round| round.commands > 0);
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                "≥ 100 × stock without snapshots",
                format!("{} ×", without.text(0)),
                if answered { Reached::if_so(without.median >= 100.0) } else { Reached::Void },
            ),
            Verdict::new("beside stock with snapshots", format!("{} ×", with.text(1)), Reached::Stated),
        ],
        tables: vec![Table::of_rounds("", &entries), Table::of_trials("", &trials, &pool.to_string())],
        notes: vec![
            format!("The peer's snapshots are taken every {snapshot_size} events, the better of {SNAPSHOT_SIZES:?}."),
            "Every aggregate is touched once before the measured time: ours is in memory then, the peer reads its \
             history, or snapshot and rest, for each command. The first load of ours is measured by *cold-start*."
                .to_owned(),
        ],
        plots: vec![Plot::bars(
            "history",
            "1,000 events of history each",
            "commands/s",
            entries.iter().map(|entry| (entry.name.clone(), entry.of(|round| round.commands_per_second))).collect(),
        )],
        data: json!({ "pool": pool, "trials": trials, "snapshot_size": snapshot_size, "entries": entries }),
    })
}
