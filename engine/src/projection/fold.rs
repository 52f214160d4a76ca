//! One batch into one generation: rows, dead letters and checkpoint in one transaction.
//!
//! The transaction takes the checkpoint's row lock first. Whoever else feeds, swaps, drops or replays takes the same
//! lock, so what is read after it (the generation's state, the parked streams) holds until the commit.
//! It commits without waiting for the disk: what a crash takes back are rows and checkpoint together, and the journal
//! still has the events.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use deadpool_postgres::{Pool, PoolError};
use futures::FutureExt;
use kernel::{Envelope, Position, ShardId, StreamId};
use tokio_postgres::types::ToSql;

use super::generation::GenerationState;
use super::model::{FoldError, Projection, Tables};
use super::transaction::Transaction;
use crate::feed::FeedName;

/// Why a later event of a parked stream is parked too.
const BEHIND_A_PARKED_ONE: &str = "an earlier event of this stream is parked";

/// Which checkpoint is to be moved.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub projection: &'a dyn Projection,
    pub generation: i32,
    /// What the generation must be for, or somebody has swapped or dropped it.
    pub state: GenerationState,
    pub feed: FeedName,
    pub shard: ShardId,
    /// Streams were parked when it was looked last.
    pub parked: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Folded {
    Advanced {
        position: Position,
        dead_letters: u64,
    },
    /// There was nothing to fold up to here; the checkpoint was not moved.
    Passed {
        position: Position,
    },
    /// The checkpoint isn't where it was, or the generation isn't what it was: look again.
    Moved,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldFailure {
    /// The projection fails closed and can't fold this event.
    #[error("{stream} at position {position} can't be folded: {reason}")]
    Stuck { position: Position, stream: StreamId, reason: String },
    #[error("{}", .0.reason())]
    Fold(#[from] FoldError),
    #[error("no connection to the database: {0}")]
    Pool(#[from] PoolError),
}

impl From<tokio_postgres::Error> for FoldFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Fold(FoldError::Database(error))
    }
}

/// A checkpoint that is locked until the transaction ends.
pub(crate) struct Locked {
    pub parked: HashSet<String>,
    pub dead_letters: u64,
}

/// A statement of its own after the lock: it sees what was committed while the lock was waited for.
const LOCK: &str = "SELECT position, set_config('synchronous_commit', 'off', true) FROM projection_checkpoint \
     WHERE projection = $1 AND version = $2 AND generation = $3 AND feed = $4 AND shard = $5 FOR UPDATE";
const LOOK: &str = "SELECT g.state, d.streams, d.letters FROM projection_generation AS g, \
     LATERAL (SELECT coalesce(array_agg(DISTINCT aggregate_type || '/' || aggregate_id), '{}') AS streams, \
                     count(*) AS letters FROM projection_dead_letter \
              WHERE projection = $1 AND version = $2 AND generation = $3 AND feed = $4 AND shard = $5) AS d \
     WHERE g.projection = $1 AND g.version = $2 AND g.generation = $3";

/// How a batch is folded.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// As if no stream were parked, so that the fold need not wait for the lock's answer. As a rule that is so.
    AtOnce,
    /// Without the streams that are parked.
    Sorted,
    /// An event that can't be folded is looked for.
    Searching,
}

impl Target<'_> {
    /// Begins, and locks the checkpoint if it stands where it is expected. `at`: `None` for wherever it stands.
    pub async fn lock(
        &self,
        tx: &Transaction<'_>,
        at: Option<Position>,
    ) -> Result<Option<Locked>, tokio_postgres::Error> {
        self.prepare(tx).await?;
        futures::try_join!(tx.begin(), self.locked(tx, at)).map(|((), locked)| locked)
    }

    /// Of prepared statements nothing but the answer is waited for.
    async fn prepare(&self, tx: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        tx.prepare_cached(LOCK).await?;
        tx.prepare_cached(LOOK).await?;
        Ok(())
    }

    async fn locked(
        &self,
        tx: &Transaction<'_>,
        at: Option<Position>,
    ) -> Result<Option<Locked>, tokio_postgres::Error> {
        let (name, version) = (self.projection.name(), self.projection.version());
        let (lock, look) = (tx.prepare_cached(LOCK).await?, tx.prepare_cached(LOOK).await?);
        let feed = self.feed.as_str();
        let key: [&(dyn ToSql + Sync); 5] = [&name, &version, &self.generation, &feed, &self.shard.0];
        // Sent together, carried out one after the other.
        let (checkpoint, row) = futures::try_join!(tx.query_opt(&lock, &key), tx.query_opt(&look, &key))?;
        let (Some(checkpoint), Some(row)) = (checkpoint, row) else { return Ok(None) };
        if at.is_some_and(|at| checkpoint.get::<_, i64>(0).unsigned_abs() != at.0) {
            return Ok(None);
        }
        if GenerationState::parse(row.get::<_, &str>(0)) != Some(self.state) {
            return Ok(None);
        }
        Ok(Some(Locked {
            parked: row.get::<_, Vec<String>>(1).into_iter().collect(),
            dead_letters: row.get::<_, i64>(2).unsigned_abs(),
        }))
    }

    /// Moves the checkpoint and commits.
    async fn commit(&self, tx: Transaction<'_>, to: Position) -> Result<(), tokio_postgres::Error> {
        let advance = tx
            .prepare_cached(
                "UPDATE projection_checkpoint SET position = $6, updated_at = now() \
                 WHERE projection = $1 AND version = $2 AND generation = $3 AND feed = $4 AND shard = $5",
            )
            .await?;
        let (name, version, feed) = (self.projection.name(), self.projection.version(), self.feed.as_str());
        let (generation, shard, to) = (self.generation, self.shard.0, as_bigint(to));
        let key: [&(dyn ToSql + Sync); 6] = [&name, &version, &generation, &feed, &shard, &to];
        // Sent together, carried out one after the other.
        futures::try_join!(tx.execute(&advance, &key), tx.commit())?;
        Ok(())
    }

    async fn park(&self, tx: &Transaction<'_>, letters: &[Letter]) -> Result<(), tokio_postgres::Error> {
        for letter in letters {
            tx.execute(
                "INSERT INTO projection_dead_letter (projection, version, generation, feed, shard, position, \
                 aggregate_type, aggregate_id, reason, parked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())",
                &[
                    &self.projection.name(),
                    &self.projection.version(),
                    &self.generation,
                    &self.feed.as_str(),
                    &self.shard.0,
                    &as_bigint(letter.position),
                    &letter.stream.aggregate_type.as_ref(),
                    &letter.stream.id.to_string(),
                    &letter.reason,
                ],
            )
            .await?;
        }
        Ok(())
    }

    /// Those of some events that concern the projection.
    pub fn concerning<'e>(&self, events: &'e [Arc<Envelope>]) -> Cow<'e, [Arc<Envelope>]> {
        let concerns = |event: &Arc<Envelope>| self.projection.concerns(event);
        if events.iter().all(concerns) {
            return Cow::Borrowed(events);
        }
        Cow::Owned(events.iter().filter(|event| concerns(event)).map(Arc::clone).collect())
    }

    /// Folds the events that concern the projection between a checkpoint and `through`: all of them, parts of one event
    /// together. Without any, only the checkpoint moves.
    pub async fn fold(
        &self,
        pool: &Pool,
        after: Position,
        events: &[Arc<Envelope>],
        through: Position,
    ) -> Result<Folded, FoldFailure> {
        let mut client = pool.get().await?;
        let mut way = if self.parked { Way::Sorted } else { Way::AtOnce };
        loop {
            let tx = Transaction::over(&mut client);
            self.prepare(&tx).await?;
            // Sent together, carried out one after the other.
            let (begun, locked, applied) = futures::join!(tx.begin(), self.locked(&tx, Some(after)), async {
                if way == Way::AtOnce { self.apply(&tx, events).await } else { Ok(()) }
            });
            begun?;
            // If it was dropped or moved, that is why its tables are not there.
            let Some(locked) = locked? else { return Ok(Folded::Moved) };
            if way == Way::AtOnce && !locked.parked.is_empty() {
                way = Way::Sorted;
                continue;
            }
            let mut sorting = Sorting { parked: locked.parked, letters: Vec::new() };
            let folded = match way {
                Way::AtOnce => applied,
                Way::Sorted => self.apply(&tx, &sorting.sort(events)).await,
                Way::Searching => {
                    if let Some(letter) = self.fold_searching(&tx, events, &mut sorting).await? {
                        // It never goes past this one, but up to it.
                        let before = Position(letter.position.0.saturating_sub(1));
                        if before <= after {
                            return Err(letter.into_stuck());
                        }
                        self.commit(tx, before).await?;
                        return Ok(Folded::Advanced { position: before, dead_letters: locked.dead_letters });
                    }
                    Ok(())
                }
            };
            let folded = match folded {
                Ok(()) => {
                    self.park(&tx, &sorting.letters).await?;
                    self.commit(tx, through).await.map_err(FoldError::Database)
                }
                refused => refused,
            };
            match folded {
                Err(error) if error.is_the_events_fault() && way != Way::Searching => way = Way::Searching,
                folded => {
                    folded?;
                    let dead_letters = locked.dead_letters + sorting.letters.len() as u64;
                    return Ok(Folded::Advanced { position: through, dead_letters });
                }
            }
        }
    }

    /// Goes past an event that can't even be decoded.
    pub async fn skip_undecodable(
        &self,
        pool: &Pool,
        after: Position,
        letter: Letter,
    ) -> Result<Folded, FoldFailure> {
        if self.projection.fails_closed() {
            return Err(letter.into_stuck());
        }
        let mut client = pool.get().await?;
        let tx = Transaction::over(&mut client);
        let Some(locked) = self.lock(&tx, Some(after)).await? else { return Ok(Folded::Moved) };
        let position = letter.position;
        self.park(&tx, &[letter]).await?;
        self.commit(tx, position).await?;
        Ok(Folded::Advanced { position, dead_letters: locked.dead_letters + 1 })
    }

    /// Bisects with savepoints, so that everything but the bad events is folded, in order. Returns the event at which
    /// a projection that fails closed must stop; everything before it is folded then.
    async fn fold_searching(
        &self,
        tx: &Transaction<'_>,
        events: &[Arc<Envelope>],
        sorting: &mut Sorting,
    ) -> Result<Option<Letter>, FoldFailure> {
        let stored = by_position(events);
        #[expect(clippy::single_range_in_vec_init, reason = "one range of indices is what is meant")]
        let mut ahead = vec![0..stored.len()];
        while let Some(range) = ahead.pop() {
            let (Some(first), Some(last)) = (stored[range.clone()].first(), stored[range.clone()].last())
            else {
                continue;
            };
            let here = sorting.sort(&events[first.start..last.end]);
            if here.is_empty() {
                continue;
            }
            tx.mark().await?;
            let kept = match self.apply(tx, &here).await {
                Ok(()) => tx.keep().await.map_err(FoldError::Database),
                refused => refused,
            };
            match kept {
                Ok(()) => {}
                Err(error) if error.is_the_events_fault() => {
                    tx.undo().await?;
                    if range.len() == 1 {
                        let letter = Letter::new(&here[0], error.reason());
                        if self.projection.fails_closed() {
                            return Ok(Some(letter));
                        }
                        sorting.park(letter);
                    } else {
                        // What `sort` set aside in this range is set aside again, piece by piece.
                        sorting.forget(&events[first.start..last.end]);
                        let middle = range.start + range.len() / 2;
                        ahead.push(middle..range.end);
                        ahead.push(range.start..middle);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The projection's fold; a panic in it is an event that can't be folded.
    pub async fn apply(&self, tx: &Transaction<'_>, events: &[Arc<Envelope>]) -> Result<(), FoldError> {
        if events.is_empty() {
            return Ok(());
        }
        let tables = Tables::of(self.projection, self.generation);
        AssertUnwindSafe(self.projection.apply(tx, &tables, events))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(FoldError::Event("the fold panicked".to_owned())))
    }
}

/// An event about to be parked.
pub(crate) struct Letter {
    pub position: Position,
    pub stream: StreamId,
    pub reason: String,
}

impl Letter {
    fn new(event: &Envelope, reason: String) -> Self {
        Self { position: event.position, stream: event.stream.clone(), reason }
    }

    fn into_stuck(self) -> FoldFailure {
        FoldFailure::Stuck { position: self.position, stream: self.stream, reason: self.reason }
    }
}

/// Tells what can be folded from what waits behind a parked event.
struct Sorting {
    parked: HashSet<String>,
    letters: Vec<Letter>,
}

impl Sorting {
    /// The events whose streams are not parked; the others become letters.
    fn sort<'a>(&mut self, events: &'a [Arc<Envelope>]) -> Cow<'a, [Arc<Envelope>]> {
        if self.parked.is_empty() {
            return Cow::Borrowed(events);
        }
        let mut foldable = Vec::with_capacity(events.len());
        for event in events {
            if !self.parked.contains(&event.stream.to_string()) {
                foldable.push(Arc::clone(event));
            } else if self.letters.last().is_none_or(|last| last.position != event.position) {
                self.letters.push(Letter::new(event, BEHIND_A_PARKED_ONE.to_owned()));
            }
        }
        Cow::Owned(foldable)
    }

    fn park(&mut self, letter: Letter) {
        self.parked.insert(letter.stream.to_string());
        self.letters.push(letter);
    }

    fn forget(&mut self, events: &[Arc<Envelope>]) {
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            self.letters.retain(|letter| !(first.position..=last.position).contains(&letter.position));
        }
    }
}

/// Where each stored event's parts stand.
fn by_position(events: &[Arc<Envelope>]) -> Vec<Range<usize>> {
    let mut start = 0;
    events
        .chunk_by(|a, b| a.position == b.position)
        .map(|parts| {
            let range = start..start + parts.len();
            start = range.end;
            range
        })
        .collect()
}

/// Positions are counted by a bigint, so this never loses one.
pub(crate) fn as_bigint(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}
