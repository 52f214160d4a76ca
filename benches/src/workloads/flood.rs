//! One tenant floods while 99 are polite.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use uuid::Uuid;

use super::Workload;
use crate::bench::Bench;
use crate::contender::Shipped;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::load::{closed, ms, open};
use crate::server::SETTLED;
use crate::summary::Spread;

pub const WORKLOAD: Workload = Workload {
    name: "flood",
    what: "99 tenants send 10 commands a second each, as shipped, while one keeps 1,024 commands under way and sends \
           the next at once, or after 10 ms when it was refused.",
    peer: "the polite tenants alone",
    wanted: "their p99 at most doubles",
    expected_s: (20, 60),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_flood";
const SECONDS: f64 = 5.0;
const POLITE: usize = 99;
const POLITE_PER_SECOND: f64 = 10.0;
const FLOOD_IN_FLIGHT: usize = 1024;

/// What the polite ones saw, and what the flood got.
struct Seen {
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    flood_per_second: f64,
}

async fn run(bench: &Bench) -> Result<Finding> {
    let (mut alone, mut flooded) = (Vec::new(), Vec::new());
    for number in 0..bench.rounds(4) {
        // Who begins changes from round to round.
        for flood in [number % 2 == 1, number % 2 == 0] {
            let seen = round(bench, flood).await;
            bench.server.drop_database(DATABASE).await?;
            let seen = seen?;
            bench.progress.say(&format!(
                "  round {}, {}: the polite see p50 {:.2} ms, p99 {:.2} ms",
                number + 1,
                if flood { "flooded" } else { "alone" },
                seen.p50_ms,
                seen.p99_ms
            ));
            if flood { flooded.push(seen) } else { alone.push(seen) }
        }
    }
    let p99 = |seen: &[Seen]| seen.iter().map(|seen| seen.p99_ms).collect::<Vec<f64>>();
    let (before, during) = (p99(&alone), p99(&flooded));
    let ratio = Spread::ratio(&during, &before);
    let mut table = Table::new(
        "",
        [
            "the polite tenants",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99, lowest – highest",
            "the flood, commands/s",
        ],
    );
    for (name, seen) in [("alone", &alone), ("beside a flood", &flooded)] {
        let of = |figure: fn(&Seen) -> f64| Spread::of(seen.iter().map(figure));
        let p99 = of(|seen| seen.p99_ms);
        table.row([
            name.to_owned(),
            format!("{:.2}", of(|seen| seen.p50_ms).median),
            format!("{:.2}", of(|seen| seen.p90_ms).median),
            format!("{:.2}", p99.median),
            format!("{:.2} – {:.2}", p99.lowest, p99.highest),
            format!("{:.0}", of(|seen| seen.flood_per_second).median),
        ]);
    }
    Ok(Finding {
        verdicts: vec![Verdict::new(
            "the polite tenants' p99 at most doubles",
            format!("{} ×", ratio.text(1)),
            Reached::if_so(ratio.median <= 2.0),
        )],
        tables: vec![table],
        notes: vec!["The polite load is open: latencies count from when a command was due.".to_owned()],
        data: json!({ "alone_p99_ms": before, "flooded_p99_ms": during }),
        ..Finding::default()
    })
}

async fn round(bench: &Bench, flood: bool) -> Result<Seen> {
    let tenants = bench.settled().await?;
    bench.server.fresh_database(DATABASE, Some(SETTLED)).await?;
    let shipped = Arc::new(Shipped::open(&bench.server, DATABASE, &[]).await?);
    let seen = with(bench, &shipped, &tenants, flood).await;
    Arc::into_inner(shipped).context("somebody still holds the server")?.close().await?;
    seen
}

async fn with(bench: &Bench, shipped: &Arc<Shipped>, tenants: &[Uuid], flood: bool) -> Result<Seen> {
    let effort = bench.effort(FLOOD_IN_FLIGHT, SECONDS);
    let (polite, hostile) = (&tenants[..POLITE], &tenants[POLITE..=POLITE]);
    bench.progress.now(if flood { "99 polite tenants and a flood" } else { "99 polite tenants alone" });
    let pace = open::Pace {
        per_second: POLITE as f64 * POLITE_PER_SECOND,
        tenants: polite.into(),
        warm_up: effort.warm_up,
        measured: effort.measured,
        salt: bench.salt(),
    };
    let plan = closed::Plan {
        in_flight: FLOOD_IN_FLIGHT,
        tenants: hostile.into(),
        // It is there before the first polite command counts, and until the last.
        warm_up: Duration::ZERO,
        measured: effort.warm_up + effort.measured,
        seed: 1,
        salt: bench.salt(),
    };
    let flooding = flood.then(|| tokio::spawn(pour(shipped.clone(), plan)));
    let outcome = open::run(shipped.clone(), pace).await;
    let flood_per_second = match flooding {
        Some(flooding) => flooding.await.context("the flood panicked")??,
        None => 0.0,
    };
    let latencies = outcome?.latencies;
    let [p50_ms, p90_ms, p99_ms] = [0.5, 0.9, 0.99].map(|quantile| ms(&latencies, quantile));
    Ok(Seen { p50_ms, p90_ms, p99_ms, flood_per_second })
}

/// Commands a second that the flood got through.
async fn pour(shipped: Arc<Shipped>, plan: closed::Plan) -> Result<f64> {
    let (outcome, (), ()) = closed::run(shipped, plan, async || Ok(()), |_, _| {}).await?;
    Ok(outcome.per_second())
}
