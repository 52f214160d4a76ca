//! Generations: which sets of tables a projection has, and which of them serves.
//!
//! Everything here that makes or drops tables runs as the schema's owner; the server's role owns nothing.

use kernel::{Position, ShardId};
use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::model::{Projection, Tables, view};
use crate::feed::FeedName;

/// What a generation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// A rebuild fills it, and never gets ahead of the serving one.
    Building,
    /// The view points at it; the server feeds it.
    Serving,
    /// It served before; the server feeds it until it is dropped, so that going back is safe.
    Former,
    /// `verify` fills it and drops it.
    Scratch,
}

impl GenerationState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Serving => "serving",
            Self::Former => "former",
            Self::Scratch => "scratch",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Building, Self::Serving, Self::Former, Self::Scratch].into_iter().find(|s| s.as_str() == text)
    }
}

/// One generation of a projection's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Generation {
    pub number: i32,
    pub state: GenerationState,
}

/// How far a generation got in one shard of one feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    pub feed: String,
    pub shard: ShardId,
    pub position: Position,
}

/// Gives every projection a serving generation with its views, if it has none. Run by the owner when it migrates.
pub async fn ensure_generations<'a>(
    owner: &mut Client,
    projections: impl IntoIterator<Item = &'a dyn Projection>,
) -> Result<(), tokio_postgres::Error> {
    for projection in projections {
        let tx = owner.transaction().await?;
        lock_registry(&tx).await?;
        let serving =
            generations(&tx, projection).await?.into_iter().find(|g| g.state == GenerationState::Serving);
        let number = match serving {
            Some(serving) => serving.number,
            None => create(&tx, projection, GenerationState::Serving).await?.number,
        };
        point_views(&tx, projection, number).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The generations of a projection's version, oldest first.
pub async fn generations(
    client: &impl GenericClient,
    projection: &dyn Projection,
) -> Result<Vec<Generation>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT generation, state FROM projection_generation \
             WHERE projection = $1 AND version = $2 ORDER BY generation",
            &[&projection.name(), &projection.version()],
        )
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            Some(Generation { number: row.get(0), state: GenerationState::parse(row.get::<_, &str>(1))? })
        })
        .collect())
}

/// How far a generation got, in a fixed order of feeds and shards.
pub async fn checkpoints(
    client: &impl GenericClient,
    projection: &dyn Projection,
    generation: i32,
) -> Result<Vec<Checkpoint>, tokio_postgres::Error> {
    read_checkpoints(client, projection, generation, "").await
}

/// The same, holding whoever feeds it until the transaction ends.
pub(crate) async fn lock_checkpoints(
    tx: &Transaction<'_>,
    projection: &dyn Projection,
    generation: i32,
) -> Result<Vec<Checkpoint>, tokio_postgres::Error> {
    read_checkpoints(tx, projection, generation, "FOR UPDATE").await
}

async fn read_checkpoints(
    client: &impl GenericClient,
    projection: &dyn Projection,
    generation: i32,
    lock: &str,
) -> Result<Vec<Checkpoint>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT feed, shard, position FROM projection_checkpoint \
         WHERE projection = $1 AND version = $2 AND generation = $3 ORDER BY feed, shard {lock}"
    );
    let rows = client.query(&sql, &[&projection.name(), &projection.version(), &generation]).await?;
    Ok(rows
        .iter()
        .map(|row| Checkpoint {
            feed: row.get(0),
            shard: ShardId(row.get(1)),
            position: Position(row.get::<_, i64>(2).unsigned_abs()),
        })
        .collect())
}

/// The checkpoint of one shard of a feed; made at zero if it isn't there. `None`: the generation is gone.
pub(crate) async fn open_checkpoint(
    client: &impl GenericClient,
    projection: &dyn Projection,
    generation: i32,
    feed: FeedName,
    shard: ShardId,
) -> Result<Option<Position>, tokio_postgres::Error> {
    client
        .execute(
            "INSERT INTO projection_checkpoint (projection, version, generation, feed, shard) \
             SELECT projection, version, generation, $4, $5 FROM projection_generation \
             WHERE projection = $1 AND version = $2 AND generation = $3 ON CONFLICT DO NOTHING",
            &[&projection.name(), &projection.version(), &generation, &feed.as_str(), &shard.0],
        )
        .await?;
    let row = client
        .query_opt(
            "SELECT position FROM projection_checkpoint \
             WHERE projection = $1 AND version = $2 AND generation = $3 AND feed = $4 AND shard = $5",
            &[&projection.name(), &projection.version(), &generation, &feed.as_str(), &shard.0],
        )
        .await?;
    Ok(row.map(|row| Position(row.get::<_, i64>(0).unsigned_abs())))
}

/// One maker, swapper or dropper of generations at a time; feeding goes on.
pub(crate) async fn lock_registry(tx: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    tx.batch_execute("LOCK TABLE projection_generation IN SHARE ROW EXCLUSIVE MODE").await
}

/// Makes the tables of a new generation.
pub(crate) async fn create(
    tx: &Transaction<'_>,
    projection: &dyn Projection,
    state: GenerationState,
) -> Result<Generation, tokio_postgres::Error> {
    let number: i32 = tx
        .query_one(
            "INSERT INTO projection_generation (projection, version, generation, state) \
             SELECT $1, $2, coalesce(max(generation), 0) + 1, $3 FROM projection_generation \
             WHERE projection = $1 AND version = $2 RETURNING generation",
            &[&projection.name(), &projection.version(), &state.as_str()],
        )
        .await?
        .get(0);
    tx.batch_execute(&Tables::of(projection, number).fill(projection.sql())).await?;
    Ok(Generation { number, state })
}

/// Drops a generation, in the order in which a feeder takes its locks.
pub(crate) async fn drop_generation(
    tx: &Transaction<'_>,
    projection: &dyn Projection,
    generation: i32,
) -> Result<(), tokio_postgres::Error> {
    lock_checkpoints(tx, projection, generation).await?;
    tx.execute(
        "DELETE FROM projection_generation WHERE projection = $1 AND version = $2 AND generation = $3",
        &[&projection.name(), &projection.version(), &generation],
    )
    .await?;
    for (_, table) in Tables::of(projection, generation).each() {
        tx.batch_execute(&format!("DROP TABLE IF EXISTS {table}")).await?;
    }
    Ok(())
}

/// Makes the views of a projection show one generation.
pub(crate) async fn point_views(
    tx: &Transaction<'_>,
    projection: &dyn Projection,
    generation: i32,
) -> Result<(), tokio_postgres::Error> {
    for (logical, table) in Tables::of(projection, generation).each() {
        let view = view(logical, projection.version());
        tx.batch_execute(&format!("CREATE OR REPLACE VIEW {view} AS SELECT * FROM {table}")).await?;
    }
    Ok(())
}

pub(crate) async fn set_state(
    tx: &Transaction<'_>,
    projection: &dyn Projection,
    generation: i32,
    state: GenerationState,
) -> Result<(), tokio_postgres::Error> {
    tx.execute(
        "UPDATE projection_generation SET state = $4 WHERE projection = $1 AND version = $2 AND generation = $3",
        &[&projection.name(), &projection.version(), &generation, &state.as_str()],
    )
    .await?;
    Ok(())
}
