//! Comparing two generations at the same positions, and `verify`: is what serves what a fold from zero gives?

use deadpool_postgres::Pool;
use serde::Serialize;
use tokio_postgres::{GenericClient, IsolationLevel};

use super::fill::{FillError, Filler, OnProgress, Phase};
use super::generation::{
    Checkpoint, Generation, GenerationState, checkpoints, create, drop_generation, generations,
    lock_checkpoints, lock_registry,
};
use super::model::{Feeds, Projection, Tables};
use super::rebuild::{RebuildError, RebuildSettings};

/// How many differing rows are named in a report.
const EXAMPLES_MAX: i64 = 5;

/// What two generations hold at the same positions.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub positions: Vec<Checkpoint>,
    pub tables: Vec<TableComparison>,
    /// Events parked in the one that serves, and in the other one.
    pub dead_letters_serving: u64,
    pub dead_letters_other: u64,
}

impl Comparison {
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.only_serving == 0 && table.only_other == 0)
    }
}

/// One table in two generations.
#[derive(Clone, Debug, Serialize)]
pub struct TableComparison {
    pub table: &'static str,
    pub rows_serving: u64,
    pub rows_other: u64,
    /// A sum over the hashes of all rows, whatever their order.
    pub hash_serving: String,
    pub hash_other: String,
    pub only_serving: u64,
    pub only_other: u64,
    /// The primary keys of some differing rows, as JSON.
    pub examples: Vec<String>,
}

/// What `verify` found.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    pub projection: &'static str,
    pub version: i32,
    pub comparison: Comparison,
}

/// Folds from zero into scratch tables and compares with what serves, at the same positions, while it goes on serving.
///
/// `owner`: a pool of the schema's owner, with at least three connections.
pub async fn verify(
    owner: &Pool,
    feeds: &Feeds,
    projection: &dyn Projection,
    settings: RebuildSettings,
    on_progress: OnProgress<'_>,
) -> Result<Verification, RebuildError> {
    drop_stale_scratch(owner, projection).await?;
    let scratch = {
        let mut client = owner.get().await?;
        let tx = client.transaction().await?;
        lock_registry(&tx).await?;
        let scratch = create(&tx, projection, GenerationState::Scratch).await?;
        tx.commit().await?;
        scratch
    };
    let mut filler = Filler::new(owner, feeds, projection, scratch, settings.batch_events, on_progress);
    let result = compare_at_same_position(&mut filler).await;
    drop_now(owner, projection, scratch.number).await?;
    Ok(Verification { projection: projection.name(), version: projection.version(), comparison: result? })
}

/// Fills a generation up to the one that serves and compares both in one snapshot.
///
/// The one that serves is held only while the last few events are folded; the comparison itself blocks nobody.
pub(super) async fn compare_at_same_position(filler: &mut Filler<'_>) -> Result<Comparison, RebuildError> {
    let serving = serving(filler.owner, filler.projection).await?;
    let mut race = Race::default();
    loop {
        let target = checkpoints(&**filler.owner.get().await?, filler.projection, serving.number).await?;
        let folded = filler.fill_to(&target).await?;
        if folded <= filler.batch_events as u64 {
            break;
        }
        if race.is_lost(folded) {
            return Err(RebuildError::Outrun { behind: folded });
        }
    }
    let mut holder = filler.owner.get().await?;
    let hold = holder.transaction().await?;
    let positions = lock_checkpoints(&hold, filler.projection, serving.number).await?;
    filler.fill_to(&positions).await?;
    let mut reader = filler.owner.get().await?;
    let snapshot = reader
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    // The snapshot is taken by its first statement, so that one comes before the hold is given up.
    let other = checkpoints(&*snapshot, filler.projection, filler.generation.number).await?;
    hold.rollback().await?;
    if !level(&positions, &other) {
        return Err(RebuildError::NotLevel);
    }
    let total = positions.iter().map(|checkpoint| checkpoint.position.0).sum();
    filler.tell(Phase::Comparing, total, total);
    Ok(compare(&*snapshot, filler.projection, serving.number, filler.generation.number, positions).await?)
}

/// Whether a generation catches up: what came meanwhile must become less from round to round, or it never will.
#[derive(Debug, Default)]
struct Race {
    /// The least that one round had to fold.
    least: Option<u64>,
    rounds_without_gain: u32,
}

impl Race {
    /// Rounds in a row that may bring it no nearer: load comes and goes.
    const ROUNDS_MAX: u32 = 5;

    fn is_lost(&mut self, folded: u64) -> bool {
        if self.least.is_none_or(|least| folded < least) {
            self.least = Some(folded);
            self.rounds_without_gain = 0;
        } else {
            self.rounds_without_gain += 1;
        }
        self.rounds_without_gain >= Self::ROUNDS_MAX
    }
}

/// True if both stand at the same positions; a shard nobody has read yet stands at zero.
pub(super) fn level(a: &[Checkpoint], b: &[Checkpoint]) -> bool {
    let read = |list: &[Checkpoint]| -> Vec<Checkpoint> {
        list.iter().filter(|checkpoint| checkpoint.position.0 > 0).cloned().collect()
    };
    read(a) == read(b)
}

pub(super) async fn serving(owner: &Pool, projection: &dyn Projection) -> Result<Generation, RebuildError> {
    generations(&**owner.get().await?, projection)
        .await?
        .into_iter()
        .find(|generation| generation.state == GenerationState::Serving)
        .ok_or(RebuildError::NothingServes)
}

async fn compare(
    snapshot: &impl GenericClient,
    projection: &dyn Projection,
    serving: i32,
    other: i32,
    positions: Vec<Checkpoint>,
) -> Result<Comparison, tokio_postgres::Error> {
    let mut tables = Vec::new();
    let names = Tables::of(projection, serving);
    let others = Tables::of(projection, other);
    for ((table, a), (_, b)) in names.each().zip(others.each()) {
        let (rows_serving, hash_serving) = count_and_hash(snapshot, &a).await?;
        let (rows_other, hash_other) = count_and_hash(snapshot, &b).await?;
        let mut comparison = TableComparison {
            table,
            rows_serving,
            rows_other,
            only_serving: 0,
            only_other: 0,
            examples: Vec::new(),
            hash_serving,
            hash_other,
        };
        if comparison.rows_serving != comparison.rows_other
            || comparison.hash_serving != comparison.hash_other
        {
            let key = key_of(snapshot, &a).await?;
            let examples = &mut comparison.examples;
            comparison.only_serving = only_in(snapshot, &key, &a, &b, examples).await?;
            comparison.only_other = only_in(snapshot, &key, &b, &a, examples).await?;
        }
        tables.push(comparison);
    }
    let dead_letters_serving = count_dead_letters(snapshot, projection, serving).await?;
    let dead_letters_other = count_dead_letters(snapshot, projection, other).await?;
    Ok(Comparison { positions, tables, dead_letters_serving, dead_letters_other })
}

async fn count_and_hash(
    client: &impl GenericClient,
    table: &str,
) -> Result<(u64, String), tokio_postgres::Error> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {table} AS t"
    );
    let row = client.query_one(&sql, &[]).await?;
    Ok((row.get::<_, i64>(0).unsigned_abs(), row.get(1)))
}

/// An SQL expression that names a row by its primary key, never by what else it holds.
async fn key_of(client: &impl GenericClient, table: &str) -> Result<String, tokio_postgres::Error> {
    let columns = client
        .query(
            "SELECT format('%L, t.%I', a.attname, a.attname) FROM pg_index AS i \
             JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
             WHERE i.indrelid = $1::text::regclass AND i.indisprimary",
            &[&table],
        )
        .await?;
    let columns: Vec<String> = columns.iter().map(|row| row.get(0)).collect();
    Ok(format!("jsonb_build_object({})::text", columns.join(", ")))
}

async fn only_in(
    client: &impl GenericClient,
    key: &str,
    here: &str,
    there: &str,
    examples: &mut Vec<String>,
) -> Result<u64, tokio_postgres::Error> {
    let sql = format!(
        "WITH extra AS (SELECT {key} AS key, t::text FROM {here} AS t EXCEPT ALL SELECT {key}, t::text FROM {there} AS t) \
         SELECT (SELECT count(*) FROM extra), ARRAY(SELECT DISTINCT key FROM extra ORDER BY key LIMIT {EXAMPLES_MAX})"
    );
    let row = client.query_one(&sql, &[]).await?;
    for example in row.get::<_, Vec<String>>(1) {
        if !examples.contains(&example) {
            examples.push(example);
        }
    }
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

async fn count_dead_letters(
    client: &impl GenericClient,
    projection: &dyn Projection,
    generation: i32,
) -> Result<u64, tokio_postgres::Error> {
    let row = client
        .query_one(
            "SELECT count(*) FROM projection_dead_letter WHERE projection = $1 AND version = $2 AND generation = $3",
            &[&projection.name(), &projection.version(), &generation],
        )
        .await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// What a verification that was killed left behind.
async fn drop_stale_scratch(owner: &Pool, projection: &dyn Projection) -> Result<(), FillError> {
    let stale = owner
        .get()
        .await?
        .query(
            "SELECT generation FROM projection_generation AS g WHERE projection = $1 AND version = $2 \
             AND state = 'scratch' AND created_at < now() - interval '1 hour' AND NOT EXISTS ( \
                 SELECT FROM projection_checkpoint AS c WHERE (c.projection, c.version, c.generation) = \
                 (g.projection, g.version, g.generation) AND c.updated_at > now() - interval '1 hour')",
            &[&projection.name(), &projection.version()],
        )
        .await?;
    for row in stale {
        drop_now(owner, projection, row.get(0)).await?;
    }
    Ok(())
}

pub(super) async fn drop_now(
    owner: &Pool,
    projection: &dyn Projection,
    generation: i32,
) -> Result<(), FillError> {
    let mut client = owner.get().await?;
    let tx = client.transaction().await?;
    drop_generation(&tx, projection, generation).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_no_nearer_gives_up_and_whoever_does_goes_on() {
        let mut race = Race::default();
        assert!(
            [90_000, 50_000, 60_000, 50_000, 55_000, 49_000].into_iter().all(|folded| !race.is_lost(folded))
        );
        let lost = (0..Race::ROUNDS_MAX).map(|_| race.is_lost(49_000)).collect::<Vec<_>>();
        assert_eq!(lost, [false, false, false, false, true]);
    }
}
