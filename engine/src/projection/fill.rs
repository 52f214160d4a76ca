//! Filling a generation that does not serve: in large batches, never past the positions it is to be compared at.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use kernel::Position;
use serde::Serialize;
use tokio::time::Instant;

use super::fold::{FoldFailure, Folded, Letter, Target};
use super::generation::{Checkpoint, Generation, open_checkpoint};
use super::model::{Feeds, Projection};
use crate::feed::{Feed, FeedError, Read};
use crate::follow::ReadAhead;

/// How a rebuild or a verification is getting on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Progress {
    pub phase: Phase,
    /// Events folded and to fold, over all feeds and shards; counted by position.
    pub done: u64,
    pub total: u64,
    pub events_per_second: f64,
    pub time_left: Option<Duration>,
}

impl Progress {
    /// 0 to 100.
    pub fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "shown to people")]
        let share = if self.total == 0 { 1.0 } else { self.done as f64 / self.total as f64 };
        (share * 100.0).min(100.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Folding,
    Comparing,
    Swapping,
}

/// Hears how it is getting on, after each batch.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A generation could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("{0}")]
    Fold(String),
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("generation {0} was dropped meanwhile")]
    Gone(i32),
}

impl From<FoldFailure> for FillError {
    fn from(failure: FoldFailure) -> Self {
        Self::Fold(failure.to_string())
    }
}

/// Fills one generation.
pub(crate) struct Filler<'a> {
    pub owner: &'a Pool,
    pub feeds: &'a Feeds,
    pub projection: &'a dyn Projection,
    pub generation: Generation,
    pub batch_events: usize,
    pub on_progress: OnProgress<'a>,
    started_at: Instant,
    started_done: Option<u64>,
}

impl<'a> Filler<'a> {
    pub fn new(
        owner: &'a Pool,
        feeds: &'a Feeds,
        projection: &'a dyn Projection,
        generation: Generation,
        batch_events: usize,
        on_progress: OnProgress<'a>,
    ) -> Self {
        let started_at = Instant::now();
        Self {
            owner,
            feeds,
            projection,
            generation,
            batch_events,
            on_progress,
            started_at,
            started_done: None,
        }
    }

    /// Folds until every shard of every feed stands where `targets` say. Returns how many stored events it folded.
    pub async fn fill_to(&mut self, targets: &[Checkpoint]) -> Result<u64, FillError> {
        let total: u64 = targets.iter().map(|target| target.position.0).sum();
        let mut starts = Vec::new();
        for feed in self.feeds.of(self.projection) {
            starts.push((feed, self.open(feed.as_ref()).await?));
        }
        let mut done: u64 = starts.iter().map(|(_, position)| position.0).sum();
        let done_before = done;
        for (feed, start) in starts {
            let target = targets
                .iter()
                .find(|target| target.feed == feed.name().as_str() && target.shard == feed.shard())
                .map_or(Position::ZERO, |target| target.position);
            self.fill_feed(feed, start, target, total, &mut done).await?;
        }
        Ok(done - done_before)
    }

    async fn open(&self, feed: &dyn Feed) -> Result<Position, FillError> {
        let client = self.owner.get().await?;
        let number = self.generation.number;
        open_checkpoint(&**client, self.projection, number, feed.name(), feed.shard())
            .await?
            .ok_or(FillError::Gone(number))
    }

    async fn fill_feed(
        &mut self,
        feed: &Arc<dyn Feed>,
        mut position: Position,
        target: Position,
        total: u64,
        done: &mut u64,
    ) -> Result<(), FillError> {
        let mut checkpoint = Target {
            projection: self.projection,
            generation: self.generation.number,
            state: self.generation.state,
            feed: feed.name(),
            shard: feed.shard(),
            parked: false,
        };
        let (of, window) = (self.projection.interest(), self.batch_events);
        let mut ahead = ReadAhead::new(Arc::clone(feed), of, window, position, target);
        while position < target {
            let before = position;
            let folded = match ahead.next().await {
                Ok(Some(Read { events, through, .. })) => {
                    let events = checkpoint.concerning(&events);
                    checkpoint.fold(self.owner, position, &events, through).await?
                }
                Ok(None) => return Err(FillError::Fold(format!("{} ends before {target}", feed.name()))),
                Err(FeedError::Undecodable { position: at, stream, reason, .. }) if at == position.next() => {
                    let letter = Letter { position: at, stream, reason };
                    let skipped = checkpoint.skip_undecodable(self.owner, position, letter).await?;
                    ahead.restart(at);
                    skipped
                }
                Err(error) => return Err(error.into()),
            };
            position = match folded {
                Folded::Advanced { position, dead_letters } => {
                    checkpoint.parked = dead_letters > 0;
                    position
                }
                // Somebody else fills it too: go on from there.
                Folded::Moved | Folded::Passed { .. } => self.open(feed.as_ref()).await?,
            };
            if ahead.position() != position {
                ahead.restart(position);
            }
            *done += position.0.saturating_sub(before.0);
            self.tell(Phase::Folding, *done, total);
        }
        Ok(())
    }

    /// Tells the progress; the pace is measured from the first event this process folded.
    pub fn tell(&mut self, phase: Phase, done: u64, total: u64) {
        let from = *self.started_done.get_or_insert(done);
        let seconds = self.started_at.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "shown to people")]
        let (folded, left) = ((done - from.min(done)) as f64, total.saturating_sub(done) as f64);
        let events_per_second = if seconds > 0.0 { folded / seconds } else { 0.0 };
        let time_left = (events_per_second > 0.0)
            .then(|| Duration::try_from_secs_f64(left / events_per_second).ok())
            .flatten();
        (self.on_progress)(Progress { phase, done, total, events_per_second, time_left });
    }
}
