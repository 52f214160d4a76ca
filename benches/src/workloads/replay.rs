//! Reading the journal from position zero: decode and fold, beside reading the same rows raw.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use aggregates::Tenant;
use anyhow::{Result, ensure};
use cluster::ConnectInfo;
use engine::codec::Codec;
use engine::feed::{Feed, Interest, Live};
use engine::follow::ReadAhead;
use engine::journal::PgFeed;
use futures::TryStreamExt;
use kernel::{Decider, Position, ShardId};
use schemas::events::TenantEvent;
use serde_json::json;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::Workload;
use crate::bench::Bench;
use crate::contender::{plain, pool};
use crate::fill::Fill;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::server::connect;
use crate::summary::Spread;

pub const WORKLOAD: Workload = Workload {
    name: "replay",
    what: "Reading the journal from position zero, decoding each event and folding it into its aggregate's state.",
    peer: "a raw SELECT of the same columns of the same rows in the same order, each column read",
    wanted: "≥ 60 % of the raw read rate",
    expected_s: (15, 60),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_replay";
/// Stored events read at once, as a rebuild does.
const BATCH: usize = 5_000;
const WANTED: f64 = 0.6;

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    bench.server.drop_database(DATABASE).await?;
    found
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let fill = Fill { streams: bench.by_size(2_000, 10_000), events_per_stream: 100 };
    fill.ours(bench, DATABASE).await?;
    let (mut raw, mut folded) = (Vec::new(), Vec::new());
    for number in 0..bench.rounds(3) {
        let mut both = async |first: bool| -> Result<()> {
            let began = Instant::now();
            let events = if first {
                read_raw(bench).await?
            } else {
                bench.progress.now("decode and fold");
                fold(&bench.server.as_server(DATABASE), plain(), fill.streams).await?
            };
            ensure!(events == fill.events(), "{events} of {} events were read", fill.events());
            let per_second = events as f64 / began.elapsed().as_secs_f64();
            if first {
                raw.push(per_second)
            } else {
                folded.push(per_second)
            }
            bench.progress.say(&format!(
                "  round {}: {} {per_second:.0} events/s",
                number + 1,
                if first { "raw" } else { "decoded and folded" }
            ));
            Ok(())
        };
        let first = number % 2 == 0;
        both(first).await?;
        both(!first).await?;
    }
    let share = Spread::ratio(&folded, &raw);
    let mut table = Table::new("", ["", "events/s", "lowest – highest"]);
    for (name, rates) in [("decode and fold", &folded), ("raw SELECT", &raw)] {
        let Spread { median, lowest, highest } = Spread::of(rates.iter().copied());
        table.row([name.to_owned(), format!("{median:.0}"), format!("{lowest:.0} – {highest:.0}")]);
    }
    Ok(Finding {
        verdicts: vec![Verdict::new(
            "≥ 60 % of the raw read rate",
            format!(
                "{:.0} % ({:.0} to {:.0})",
                share.median * 100.0,
                share.lowest * 100.0,
                share.highest * 100.0
            ),
            Reached::if_so(share.median >= WANTED),
        )],
        tables: vec![table],
        notes: vec![format!(
            "{} events of {} streams, read {BATCH} at a time, as a rebuild does: the next batches are being read while one is folded.",
            fill.events(),
            fill.streams
        )],
        data: json!({ "folded_per_second": folded, "raw_per_second": raw }),
        ..Finding::default()
    })
}

/// What the rows take to read at all: the statement of the feed, all at once, every column looked at.
async fn read_raw(bench: &Bench) -> Result<u64> {
    bench.progress.now("raw SELECT");
    let client = connect(&bench.server.as_server(DATABASE)).await?;
    let sql = "SELECT shard, position, sequence, event_type, event_version, payload::text, metadata::text, tenant, \
               event_id, index_in_command, actor, role, correlation_id, causation_id, recorded_at, aggregate_type, \
               aggregate_id FROM events WHERE shard = 0 AND position > $1 ORDER BY position";
    let after: [&(dyn ToSql + Sync); 1] = [&0_i64];
    let mut rows = std::pin::pin!(client.query_raw(sql, after).await?);
    let (mut events, mut bytes) = (0, 0);
    while let Some(row) = rows.try_next().await? {
        bytes += row.get::<_, &str>("payload").len() + row.get::<_, &str>("metadata").len();
        bytes += row.get::<_, &str>("aggregate_id").len() + row.get::<_, &str>("event_type").len();
        events += 1;
    }
    ensure!(bytes > 0, "the rows were empty");
    Ok(events)
}

/// Reads a journal of tenants, decodes each event and folds it. Gives how many there were.
pub(super) async fn fold(from: &ConnectInfo, codec: Codec, streams: u64) -> Result<u64> {
    let feed = PgFeed::new(pool(from, 3)?, codec, ShardId(0), Live::default());
    let head = feed.head().await?;
    let mut ahead = ReadAhead::new(Arc::new(feed), Interest::Only(&["tenant"]), BATCH, Position::ZERO, head);
    let mut states: HashMap<Uuid, Tenant> = HashMap::new();
    let mut events = 0;
    while let Some(batch) = ahead.next().await? {
        for envelope in &batch.events {
            let event: TenantEvent = envelope.decode()?;
            states.entry(envelope.stream.id).or_default().evolve(&event);
            events += 1;
        }
    }
    ensure!(states.len() as u64 == streams, "{} of {streams} streams were folded", states.len());
    Ok(events)
}
