//! Parked events: what could not be folded, and the later events of the same streams.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use kernel::{Envelope, Position, ShardId};
use serde::Serialize;

use super::fold::{FoldFailure, Target, as_bigint};
use super::generation::{Generation, generations};
use super::model::{Feeds, FoldError, Projection};
use super::transaction::Transaction;
use crate::feed::{FeedError, FeedName, Interest};

/// An event that waits.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    pub projection: String,
    pub version: i32,
    pub generation: i32,
    pub feed: String,
    pub shard: ShardId,
    pub position: Position,
    /// Such as `tenant/<uuid>`.
    pub stream: String,
    /// Why, without personal data.
    pub reason: String,
    pub parked_at: DateTime<Utc>,
}

/// What a replay of dead letters came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterReplay {
    pub folded: u64,
    /// Still parked: their own fold failed again, or an earlier one of their stream did.
    pub parked: u64,
}

/// Dead letters could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error("{0}")]
    Fold(String),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
}

/// All dead letters of a projection's version, in the order in which they are replayed.
pub async fn dead_letters(
    pool: &Pool,
    projection: &dyn Projection,
) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let rows = pool
        .get()
        .await?
        .query(
            "SELECT projection, version, generation, feed, shard, position, aggregate_type || '/' || aggregate_id, \
             reason, parked_at FROM projection_dead_letter WHERE projection = $1 AND version = $2 \
             ORDER BY generation, feed, shard, position",
            &[&projection.name(), &projection.version()],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| DeadLetter {
            projection: row.get(0),
            version: row.get(1),
            generation: row.get(2),
            feed: row.get(3),
            shard: ShardId(row.get(4)),
            position: Position(row.get::<_, i64>(5).unsigned_abs()),
            stream: row.get(6),
            reason: row.get(7),
            parked_at: row.get(8),
        })
        .collect())
}

/// Folds what is parked, in order, while the server goes on. A stream that fails again stays parked from there on.
pub async fn replay_dead_letters(
    pool: &Pool,
    feeds: &Feeds,
    projection: &dyn Projection,
) -> Result<DeadLetterReplay, DeadLetterError> {
    let mut done = DeadLetterReplay::default();
    let states = generations(&**pool.get().await?, projection).await?;
    let mut failed: HashSet<(i32, String)> = HashSet::new();
    // A live follower may park a further event of a stream meanwhile: it is found by looking again.
    loop {
        let letters = dead_letters(pool, projection).await?;
        let next: Vec<&DeadLetter> =
            letters.iter().filter(|l| !failed.contains(&(l.generation, l.stream.clone()))).collect();
        done.parked = (letters.len() - next.len()) as u64;
        if next.is_empty() {
            return Ok(done);
        }
        let mut progress = false;
        for letter in next {
            let key = (letter.generation, letter.stream.clone());
            let Some(generation) = states.iter().find(|g| g.number == letter.generation) else { continue };
            if failed.contains(&key) {
                continue;
            }
            match replay_one(pool, feeds, projection, *generation, letter).await? {
                Replayed::Folded => {
                    done.folded += 1;
                    progress = true;
                }
                Replayed::Gone => {}
                Replayed::Failed => {
                    failed.insert(key);
                    progress = true;
                }
            }
        }
        if !progress {
            return Ok(done);
        }
    }
}

enum Replayed {
    Folded,
    /// Somebody else replayed it, or its generation was dropped.
    Gone,
    Failed,
}

async fn fold_one(
    target: &Target<'_>,
    tx: &Transaction<'_>,
    events: &[Arc<Envelope>],
) -> Result<(), FoldError> {
    target.apply(tx, events).await?;
    tx.commit().await.map_err(FoldError::Database)
}

async fn replay_one(
    pool: &Pool,
    feeds: &Feeds,
    projection: &dyn Projection,
    generation: Generation,
    letter: &DeadLetter,
) -> Result<Replayed, DeadLetterError> {
    let name = if letter.feed == FeedName::Audit.as_str() { FeedName::Audit } else { FeedName::Journal };
    let Some(feed) = feeds.get(name, letter.shard) else { return Ok(Replayed::Gone) };
    let target = Target {
        projection,
        generation: generation.number,
        state: generation.state,
        feed: name,
        shard: letter.shard,
        parked: true,
    };
    let events = match feed.read(Position(letter.position.0 - 1), 1, Interest::All).await {
        Ok(read) => Ok(read.events),
        Err(FeedError::Undecodable { reason, .. }) => Err(reason),
        Err(error) => return Err(error.into()),
    };
    let mut client = pool.get().await?;
    let tx = Transaction::over(&mut client);
    if target.lock(&tx, None).await?.is_none() {
        return Ok(Replayed::Gone);
    }
    let key =
        "projection = $1 AND version = $2 AND generation = $3 AND feed = $4 AND shard = $5 AND position = $6";
    let (project, version) = (projection.name(), projection.version());
    let position = as_bigint(letter.position);
    let shard = letter.shard.0;
    let taken = tx
        .execute(
            &format!("DELETE FROM projection_dead_letter WHERE {key}"),
            &[&project, &version, &generation.number, &letter.feed, &shard, &position],
        )
        .await?;
    if taken == 0 {
        return Ok(Replayed::Gone);
    }
    let reason = match events {
        Err(reason) => reason,
        Ok(events) => match fold_one(&target, &tx, &events).await {
            Ok(()) => return Ok(Replayed::Folded),
            Err(error) if error.is_the_events_fault() => error.reason(),
            Err(error) => return Err(DeadLetterError::Fold(FoldFailure::Fold(error).to_string())),
        },
    };
    tx.rollback().await?;
    client
        .execute(
            &format!("UPDATE projection_dead_letter SET reason = $7 WHERE {key}"),
            &[&project, &version, &generation.number, &letter.feed, &shard, &position, &reason],
        )
        .await?;
    Ok(Replayed::Failed)
}
