//! The projection actor: follows one shard of one feed for one projection, and feeds every generation that must stay
//! current: the one that serves, and the former one until it is dropped.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use kernel::{Position, StreamId};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::fold::{FoldFailure, Folded, Letter, Target};
use super::generation::{GenerationState, generations, open_checkpoint};
use super::model::{FoldError, Projection};
use crate::feed::{Feed, FeedError, Read, read_up_to_trouble};
use crate::follow::{FollowSettings, FollowerState, Status, Subscription, Work};
use crate::telemetry;

/// A generation that this actor feeds.
#[derive(Clone, Copy, Debug)]
struct Fed {
    generation: i32,
    state: GenerationState,
    position: Position,
    /// The checkpoint in the database. It may stay behind while nothing comes that is to be folded: passing events costs
    /// no transaction, and after a crash they are passed again.
    stored: Position,
    dead_letters: u64,
}

pub(super) struct ProjectionWork {
    projection: Arc<dyn Projection>,
    pool: Pool,
    subscription: Subscription,
    status: Arc<Status>,
    settings: FollowSettings,
    stop: CancellationToken,
    fed: Vec<Fed>,
    loaded_at: Option<Instant>,
    /// When checkpoints were last brought up to what was passed.
    settled_at: Instant,
    /// Until when it rests, unless somebody waits for it.
    rests_until: Instant,
    failures: u32,
}

/// What comes next.
enum Batch {
    Events(Read),
    Undecodable { position: Position, stream: StreamId, reason: String },
}

/// Why a step did not go well.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Feed(FeedError),
    #[error("{0}")]
    Fold(FoldFailure),
    #[error("no generation of this version serves")]
    NothingServes,
}

impl From<FeedError> for Trouble {
    fn from(error: FeedError) -> Self {
        Self::Feed(error)
    }
}

impl From<FoldFailure> for Trouble {
    fn from(error: FoldFailure) -> Self {
        Self::Fold(error)
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Fold(error.into())
    }
}

impl From<deadpool_postgres::PoolError> for Trouble {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Fold(error.into())
    }
}

impl ProjectionWork {
    pub fn new(
        projection: Arc<dyn Projection>,
        pool: Pool,
        feed: Arc<dyn Feed>,
        status: Arc<Status>,
        settings: FollowSettings,
        stop: CancellationToken,
    ) -> Self {
        Self {
            subscription: Subscription::new(feed, projection.interest(), settings, stop.clone()),
            projection,
            pool,
            status,
            settings,
            stop,
            fed: Vec::new(),
            loaded_at: None,
            settled_at: Instant::now(),
            rests_until: Instant::now(),
            failures: 0,
        }
    }

    async fn try_step(&mut self) -> Result<(), Trouble> {
        // A swap or a drop in another process is noticed by the fold itself; a new former generation only by looking.
        if self.loaded_at.is_none_or(|then| then.elapsed() > self.settings.poll * 20) {
            self.load().await?;
        }
        let Some(serving) = self.fed.first().copied() else { return Err(Trouble::NothingServes) };
        self.rest().await;
        let next = self.subscription.next(serving.position).await;
        let batch = self.batch(serving.position, next)?;
        let is_quiet = matches!(&batch, Batch::Events(read) if read.through == serving.position);
        let begun_at = Instant::now();
        let folded = self.fold(&serving, &batch).await?;
        // Who has to catch up doesn't rest.
        if !self.subscription.is_behind() && !is_quiet && folded != Folded::Moved {
            self.rests_until = begun_at + self.settings.rest;
        }
        self.folded(serving.generation, folded);
        // Readers are told before the former generation is fed.
        self.publish();
        let formers: Vec<Fed> = self.fed.iter().skip(1).copied().collect();
        for former in formers {
            // Only a way back depends on it, so its trouble holds up nobody.
            if let Err(trouble) = self.feed_former(&former, serving.position, &batch).await {
                metrics::counter!(telemetry::ERRORS, "projection" => self.projection.name()).increment(1);
                tracing::error!(
                    projection.name = self.projection.name(),
                    projection.generation = former.generation,
                    error = trouble.to_string(),
                    "the former generation can't be fed; until it can there is no rolling back"
                );
            }
        }
        self.publish();
        if is_quiet || self.settled_at.elapsed() > self.settings.settle() {
            self.settle().await?;
        }
        Ok(())
    }

    /// A transaction for each of a few events costs the database more than the events do.
    async fn rest(&self) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.status.waited_for() => {}
            () = tokio::time::sleep_until(self.rests_until) => {}
        }
    }

    /// Brings the checkpoints up to what was passed without folding anything.
    async fn settle(&mut self) -> Result<(), Trouble> {
        for fed in self.fed.clone() {
            if fed.stored < fed.position {
                let folded = self.target(&fed).fold(&self.pool, fed.stored, &[], fed.position).await?;
                self.folded(fed.generation, folded);
            }
        }
        self.settled_at = Instant::now();
        Ok(())
    }

    /// What was read after a position: events, or the one that can't be decoded.
    fn batch(&self, after: Position, read: Result<Read, FeedError>) -> Result<Batch, Trouble> {
        match read {
            Ok(read) => Ok(Batch::Events(read)),
            Err(FeedError::Undecodable { position, stream, reason, .. }) if position == after.next() => {
                Ok(Batch::Undecodable { position, stream, reason })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a former generation the same batch, or what it lacks if it fell behind.
    async fn feed_former(&mut self, former: &Fed, served: Position, batch: &Batch) -> Result<(), Trouble> {
        let folded = if former.position >= served {
            self.fold(former, batch).await?
        } else {
            let (feed, limit) = (self.subscription.feed(), self.settings.batch_events_max);
            let read = read_up_to_trouble(feed, former.position, limit, self.projection.interest()).await;
            let batch = self.batch(former.position, read)?;
            self.fold(former, &batch).await?
        };
        self.folded(former.generation, folded);
        Ok(())
    }

    fn target(&self, fed: &Fed) -> Target<'_> {
        Target {
            projection: self.projection.as_ref(),
            generation: fed.generation,
            state: fed.state,
            feed: self.subscription.feed().name(),
            shard: self.subscription.feed().shard(),
            parked: fed.dead_letters > 0,
        }
    }

    /// Looks which generations there are and where they stand.
    async fn load(&mut self) -> Result<(), Trouble> {
        let client = self.pool.get().await?;
        let (name, shard) = (self.subscription.feed().name(), self.subscription.feed().shard());
        let mut fed = Vec::new();
        for generation in generations(&**client, self.projection.as_ref()).await? {
            if !matches!(generation.state, GenerationState::Serving | GenerationState::Former) {
                continue;
            }
            let number = generation.number;
            let position = open_checkpoint(&**client, self.projection.as_ref(), number, name, shard).await?;
            let dead_letters: i64 = client
                .query_one(
                    "SELECT count(*) FROM projection_dead_letter WHERE projection = $1 AND version = $2 \
                     AND generation = $3 AND feed = $4 AND shard = $5",
                    &[&self.projection.name(), &self.projection.version(), &number, &name.as_str(), &shard.0],
                )
                .await?
                .get(0);
            if let Some(position) = position {
                let dead_letters = dead_letters.unsigned_abs();
                // What this actor has passed since it stays passed, unless somebody moved the checkpoint.
                let known = self.fed.iter().find(|fed| fed.generation == number && fed.stored == position);
                let (stored, position) = (position, known.map_or(position, |known| known.position));
                fed.push(Fed { generation: number, state: generation.state, position, stored, dead_letters });
            }
        }
        // The one that serves comes first: its readers wait.
        fed.sort_by_key(|fed| fed.state != GenerationState::Serving);
        if fed.first().is_none_or(|fed| fed.state != GenerationState::Serving) {
            return Err(Trouble::NothingServes);
        }
        self.fed = fed;
        self.loaded_at = Some(Instant::now());
        self.publish();
        Ok(())
    }

    /// Folds what of a batch lies after a generation's checkpoint.
    async fn fold(&self, fed: &Fed, batch: &Batch) -> Result<Folded, Trouble> {
        let target = self.target(fed);
        match batch {
            Batch::Events(Read { events, through, .. }) => {
                let news = &events[events.partition_point(|event| event.position <= fed.position)..];
                let news = target.concerning(news);
                if news.is_empty() {
                    return Ok(Folded::Passed { position: fed.position.max(*through) });
                }
                let started_at = Instant::now();
                let folded = target.fold(&self.pool, fed.stored, &news, *through).await?;
                metrics::histogram!(telemetry::BATCH_DURATION_SECONDS, "projection" => self.projection.name())
                    .record(started_at.elapsed());
                metrics::counter!(telemetry::EVENTS, "projection" => self.projection.name())
                    .increment(news.len() as u64);
                Ok(folded)
            }
            Batch::Undecodable { position, .. } if *position <= fed.position => {
                Ok(Folded::Passed { position: fed.position })
            }
            Batch::Undecodable { position, stream, reason } => {
                let letter = Letter { position: *position, stream: stream.clone(), reason: reason.clone() };
                Ok(target.skip_undecodable(&self.pool, fed.stored, letter).await?)
            }
        }
    }

    fn folded(&mut self, generation: i32, folded: Folded) {
        match folded {
            Folded::Advanced { position, dead_letters } => {
                for fed in self.fed.iter_mut().filter(|fed| fed.generation == generation) {
                    if dead_letters > fed.dead_letters {
                        tracing::error!(
                            projection.name = self.projection.name(),
                            projection.dead_letters = dead_letters,
                            "events can't be folded and are parked with their streams"
                        );
                    }
                    (fed.position, fed.stored) = (position, position);
                    fed.dead_letters = dead_letters;
                }
            }
            Folded::Passed { position } => {
                self.fed
                    .iter_mut()
                    .filter(|fed| fed.generation == generation)
                    .for_each(|fed| fed.position = position);
            }
            Folded::Moved => {
                self.loaded_at = None;
                self.subscription.reread();
            }
        }
    }

    fn publish(&self) {
        if let Some(serving) = self.fed.first() {
            self.status.reached(serving.position);
            self.status.parked(self.fed.iter().map(|fed| fed.dead_letters).max().unwrap_or(0));
        }
    }

    fn tell(&self, trouble: &Trouble) {
        let name = self.projection.name();
        let text = trouble.to_string();
        let (state, advice) = match trouble {
            Trouble::Fold(FoldFailure::Stuck { .. }) => (
                FollowerState::Stuck,
                "this projection never skips an event: deploy a binary that can fold it",
            ),
            Trouble::Fold(FoldFailure::Fold(FoldError::Database(error)))
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) =>
            {
                let advice = "another session holds a lock on its tables: find it in pg_locks and end it; then this one goes on by itself";
                (FollowerState::Retrying, advice)
            }
            Trouble::Fold(_) | Trouble::Feed(_) => {
                (FollowerState::Retrying, "it tries again by itself; look after the database if this lasts")
            }
            Trouble::NothingServes => (FollowerState::Stuck, "run the migrations with this binary"),
        };
        tracing::warn!(projection.name = name, error = text, "a projection can't go on");
        self.status.trouble(state, text, advice);
    }
}

#[async_trait]
impl Work for ProjectionWork {
    async fn step(&mut self) {
        match self.try_step().await {
            Ok(()) => {
                self.failures = 0;
                let seen = self.subscription.seen();
                self.status.well(seen.head, seen.current_at);
            }
            Err(trouble) => {
                self.failures = self.failures.saturating_add(1);
                self.loaded_at = None;
                metrics::counter!(telemetry::ERRORS, "projection" => self.projection.name()).increment(1);
                self.tell(&trouble);
                self.subscription.reread();
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(self.settings.backoff(self.failures)) => {}
                }
            }
        }
    }

    fn stopped(&mut self) {
        self.status.stopped();
    }
}
