//! From commit to visible: how long a read model lags behind what was acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use engine::command::CommandContext;
use engine::feed::FeedName;
use hdrhistogram::Histogram;
use kernel::PositionToken;
use projections::{AuditTrail, Scope};
use serde_json::json;
use uuid::Uuid;

use super::Workload;
use crate::bench::Bench;
use crate::contender::Shipped;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::load::{closed, histogram, ms, open};
use crate::server::SETTLED;
use crate::work::Wish;

pub const WORKLOAD: Workload = Workload {
    name: "lag",
    what: "From the moment a command is acknowledged until every read model holds its event and a query has read it, \
           while other commands come at half the rate that all projections together sustain.",
    peer: "that rate: how fast the slowest read model follows while 256 commands are in flight",
    wanted: "p99 < 50 ms",
    expected_s: (15, 40),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_lag";
const IN_FLIGHT: usize = 256;
const SECONDS: f64 = 8.0;
const WANTED_MS: f64 = 50.0;
/// A probe sets a flag of its own and looks for the audit trail's entry of it.
const PROBE_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    bench.server.drop_database(DATABASE).await?;
    found
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let tenants = bench.settled().await?;
    bench.server.fresh_database(DATABASE, Some(SETTLED)).await?;
    let shipped = Arc::new(Shipped::open(&bench.server, DATABASE, &[]).await?);
    let measured = with(bench, &shipped, tenants).await;
    Arc::into_inner(shipped).context("somebody still holds the server")?.close().await?;
    measured
}

async fn with(bench: &Bench, shipped: &Arc<Shipped>, tenants: Arc<[Uuid]>) -> Result<Finding> {
    let effort = bench.effort(IN_FLIGHT, SECONDS);
    // How fast the slowest follows, while as much is written as can be.
    bench.progress.now("how much all projections together sustain");
    let plan = closed::Plan {
        in_flight: IN_FLIGHT,
        tenants: tenants.clone(),
        warm_up: effort.warm_up,
        measured: effort.measured,
        seed: 1,
        salt: bench.salt(),
    };
    let edge = async || Ok((Instant::now(), shipped.slowest()));
    let (written, (began, from), (ended, to)) = closed::run(shipped.clone(), plan, edge, |_, _| {}).await?;
    let sustained = (to.0 - from.0) as f64 / (ended - began).as_secs_f64();
    shipped.settled(tenants.len()).await?;

    bench.progress.now(&format!("lag at {:.0} commands/s", sustained / 2.0));
    let (probed, others) = tenants.split_first().context("there are tenants")?;
    let pace = open::Pace {
        per_second: (sustained / 2.0).max(1.0),
        tenants: others.into(),
        warm_up: effort.warm_up,
        measured: effort.measured,
        salt: bench.salt(),
    };
    let load = tokio::spawn(open::run(shipped.clone(), pace));
    tokio::time::sleep(effort.warm_up).await;
    let lags = probe(bench, shipped, *probed, effort.measured).await;
    let load = load.await.context("the load panicked")??;
    let lags = lags?;
    let p99 = ms(&lags, 0.99);
    let mut table = Table::new("", ["", "p50 ms", "p90 ms", "p99 ms", "highest ms", "samples"]);
    for (name, latencies) in
        [("from acknowledged to visible", &lags), ("from due to acknowledged", &load.latencies)]
    {
        let quantiles = [0.5, 0.9, 0.99, 1.0].map(|quantile| format!("{:.2}", ms(latencies, quantile)));
        table.row([vec![name.to_owned()], quantiles.to_vec(), vec![latencies.len().to_string()]].concat());
    }
    Ok(Finding {
        verdicts: vec![
            Verdict::new("p99 < 50 ms", format!("{p99:.1} ms"), Reached::if_so(p99 < WANTED_MS)),
            Verdict::new(
                "what all projections together sustain",
                format!("{sustained:.0} events/s, of {:.0} written", written.per_second()),
                Reached::Stated,
            ),
        ],
        tables: vec![table],
        notes: vec![
            "The load is open: latencies count from when a command was due. A probe waits for all read models of the \
             journal and then reads the audit trail's entry of its command."
                .to_owned(),
        ],
        data: json!({ "sustained_per_second": sustained, "written_per_second": written.per_second(),
                      "lag_p50_ms": ms(&lags, 0.5), "lag_p99_ms": p99 }),
        ..Finding::default()
    })
}

/// Sets flags of a tenant that nobody else works on, and measures until each is read of.
async fn probe(bench: &Bench, shipped: &Shipped, tenant: Uuid, time: Duration) -> Result<Histogram<u64>> {
    let (state, salt) = (&shipped.server.state, bench.salt());
    let projector = &state.projector;
    let until = Instant::now() + time;
    let mut lags = histogram();
    let mut number = salt << 48;
    while Instant::now() < until {
        number += 1;
        let wish = Wish::SetFlag(number);
        let context = CommandContext::new(wish.metadata(tenant));
        let receipt =
            state.engine.dispatch::<aggregates::Tenant>(tenant, wish.command(tenant)?, context).await?;
        let acknowledged = Instant::now();
        let wanted: PositionToken = receipt.position.context("a command without an event")?;
        for projection in projector.projections() {
            if projection.feeds().contains(&FeedName::Journal) {
                projector.wait_for(projection.name(), wanted, PATIENCE).await?;
            }
        }
        let client = state.pool.get().await?;
        let event = receipt.event_ids.first().context("a command without an event")?;
        if AuditTrail::get(&client, Scope::Platform, event.0).await?.is_none() {
            bail!("the audit trail holds position {}, and not its entry", wanted.position);
        }
        lags.saturating_record(u64::try_from(acknowledged.elapsed().as_micros())?);
        drop(client);
        tokio::time::sleep(PROBE_EVERY).await;
    }
    Ok(lags)
}
