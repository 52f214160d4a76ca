//! Rebuilding the read models in SQL, beside folding one event at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use engine::feed::{Feed, Live};
use engine::journal::PgFeed;
use engine::ledger::AuditFeed;
use engine::projection::{
    Feeds, FollowSettings, Phase, Progress, Projection, Projector, RebuildSettings, ensure_generations,
    rebuild,
};
use futures::{StreamExt, TryStreamExt, stream};
use kernel::{Position, PositionToken, ShardId};
use serde_json::json;

use super::Workload;
use crate::bench::Bench;
use crate::contender::{plain, pool};
use crate::fill::Fill;
use crate::finding::{Finding, Reached, Table, Verdict};
use crate::server::connect;
use crate::summary::Spread;

pub const WORKLOAD: Workload = Workload {
    name: "rebuild",
    what: "Rebuilding every read model in SQL from position zero into new tables, four at a time as `replay rebuild \
           --all` does, until the last event is folded.",
    peer: "the same folds one event at a time, each in a transaction of its own",
    wanted: "≥ 60,000 event applications/s",
    expected_s: (25, 110),
    optional: false,
    run: |bench| Box::pin(run(bench)),
};

const DATABASE: &str = "bench_rebuild";
const ONE_BY_ONE: &str = "bench_rebuild_one";
/// As `replay` does.
const AT_ONCE: usize = 4;
const CONNECTIONS: usize = AT_ONCE * 4;
const WANTED: f64 = 60_000.0;
const PATIENCE: Duration = Duration::from_secs(300);
const SHARD: ShardId = ShardId(0);

async fn run(bench: &Bench) -> Result<Finding> {
    let found = measure(bench).await;
    for database in [DATABASE, ONE_BY_ONE] {
        bench.server.drop_database(database).await?;
    }
    found
}

async fn measure(bench: &Bench) -> Result<Finding> {
    let fill = Fill { streams: bench.by_size(500, 2_000), events_per_stream: 100 };
    let few = Fill { streams: bench.by_size(5, 20), events_per_stream: 20 };
    let projections = projections::all();
    fill.ours(bench, DATABASE).await?;
    followed(bench, DATABASE, &projections, fill, FollowSettings::default()).await?;
    let (mut rebuilt, mut followed_one) = (Vec::new(), Vec::new());
    for number in 0..bench.rounds(3) {
        rebuilt.push(rebuild_all(bench, &projections, fill).await?);
        few.ours(bench, ONE_BY_ONE).await?;
        let settings = FollowSettings { batch_events_max: 1, ..FollowSettings::default() };
        followed_one.push(followed(bench, ONE_BY_ONE, &projections, few, settings).await?);
        bench.progress.say(&format!(
            "  round {}: rebuilt {:.0} applications/s, one at a time {:.0}",
            number + 1,
            rebuilt.last().copied().unwrap_or_default(),
            followed_one.last().copied().unwrap_or_default()
        ));
    }
    let (rate, ratio) = (Spread::of(rebuilt.iter().copied()), Spread::ratio(&rebuilt, &followed_one));
    let mut table = Table::new("", ["", "event applications/s", "lowest – highest"]);
    for (name, rates) in [("rebuild", &rebuilt), ("one event at a time", &followed_one)] {
        let Spread { median, lowest, highest } = Spread::of(rates.iter().copied());
        table.row([name.to_owned(), format!("{median:.0}"), format!("{lowest:.0} – {highest:.0}")]);
    }
    Ok(Finding {
        verdicts: vec![
            Verdict::new(
                "≥ 60,000 event applications/s",
                format!("{}/s", rate.text(0)),
                Reached::if_so(rate.median >= WANTED),
            ),
            Verdict::new("beside one at a time", format!("{} ×", ratio.text(1)), Reached::Stated),
        ],
        tables: vec![table],
        notes: vec![format!(
            "{} read models, {} events: an application is one event given to one read model. Most set a flag, the \
             others provision a tenant or change its plan.",
            projections.len(),
            fill.events()
        )],
        data: json!({ "rebuilt_per_second": rebuilt, "one_by_one_per_second": followed_one }),
        ..Finding::default()
    })
}

fn feeds(pool: &deadpool_postgres::Pool) -> Feeds {
    let feeds: Vec<Arc<dyn Feed>> = vec![
        Arc::new(PgFeed::new(pool.clone(), plain(), SHARD, Live::default())),
        Arc::new(AuditFeed::new(pool.clone(), plain(), Live::default())),
    ];
    Feeds::new(feeds)
}

/// Lets the projections follow the whole journal; gives event applications a second.
async fn followed(
    bench: &Bench,
    database: &str,
    projections: &[Arc<dyn Projection>],
    fill: Fill,
    settings: FollowSettings,
) -> Result<f64> {
    bench.progress.now(&format!(
        "following {} events, {} at a time",
        fill.events(),
        settings.batch_events_max
    ));
    let mut owner = connect(&bench.server.as_owner(database)).await?;
    ensure_generations(&mut owner, projections.iter().map(AsRef::as_ref)).await?;
    let pool = pool(&bench.server.as_server(database), CONNECTIONS)?;
    let began = Instant::now();
    let projector = Projector::start(projections.to_vec(), &feeds(&pool), &pool, settings).await?;
    let wanted = PositionToken { shard: SHARD, position: Position(fill.events()) };
    for projection in projections {
        projector.wait_for(projection.name(), wanted, PATIENCE).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    projector.drain().await;
    Ok((fill.events() * projections.len() as u64) as f64 / seconds)
}

/// Rebuilds all, and gives event applications a second until the last fold was done.
async fn rebuild_all(bench: &Bench, projections: &[Arc<dyn Projection>], fill: Fill) -> Result<f64> {
    bench.progress.now(&format!("rebuilding from {} events", fill.events()));
    let pool = pool(&bench.server.as_owner(DATABASE), CONNECTIONS)?;
    let feeds = feeds(&pool);
    let began = Instant::now();
    let folded = stream::iter(projections).map(|projection| {
        let (pool, feeds) = (pool.clone(), feeds.clone());
        async move {
            let last = std::sync::Mutex::new(Duration::ZERO);
            let tell = |progress: Progress| {
                if progress.phase == Phase::Folding
                    && let Ok(mut last) = last.lock()
                {
                    *last = began.elapsed();
                }
            };
            let settings = RebuildSettings { fresh: true, ..RebuildSettings::default() };
            let rebuilt = rebuild(&pool, &feeds, &**projection, settings, &tell).await?;
            ensure!(rebuilt.comparison.is_equal(), "{} was rebuilt with other rows", projection.name());
            last.into_inner().ok().context("a poisoned lock")
        }
    });
    let ends: Vec<Duration> = folded.buffer_unordered(AT_ONCE).try_collect().await?;
    let end = ends.into_iter().max().unwrap_or_default();
    Ok((fill.events() * projections.len() as u64) as f64 / end.as_secs_f64().max(f64::MIN_POSITIVE))
}
