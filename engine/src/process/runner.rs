//! Runs process managers: one supervised actor per manager and shard, checkpointed after each reaction and each batch.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::{Pool, PoolError};
use kernel::{Position, ShardId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ProcessManager, Retry};
use crate::feed::{FeedError, FeedName, Read};
use crate::follow::{
    FollowSettings, FollowerHealth, FollowerState, Followers, SpawnError, StartWork, Status, Subscription,
    Work,
};
use crate::projection::Feeds;
use crate::telemetry;

/// The running process managers of the node that owns the shards.
pub struct Processes {
    statuses: Vec<Arc<Status>>,
    followers: Followers,
}

impl Processes {
    /// Starts them where they stopped; a new one starts at zero. The node that owns a shard runs its managers; should
    /// two nodes do so for a moment, the checkpoint's compare-and-set tells, and derived command ids keep it harmless.
    pub async fn start(
        managers: Vec<Arc<dyn ProcessManager>>,
        feeds: &Feeds,
        pool: &Pool,
        settings: FollowSettings,
    ) -> Result<Self, SpawnError> {
        let mut statuses = Vec::new();
        let mut works: Vec<(String, StartWork)> = Vec::new();
        for manager in managers {
            for feed in feeds.iter().filter(|feed| feed.name() == FeedName::Journal) {
                let status = Arc::new(Status::new(manager.name(), feed.name(), feed.shard()));
                statuses.push(Arc::clone(&status));
                let (manager, feed, pool) = (Arc::clone(&manager), Arc::clone(feed), pool.clone());
                let name = format!("process manager {} on shard {}", manager.name(), feed.shard().0);
                let start: StartWork = Arc::new(move |stop| -> Box<dyn Work> {
                    Box::new(ProcessWork {
                        manager: Arc::clone(&manager),
                        pool: pool.clone(),
                        subscription: Subscription::new(
                            Arc::clone(&feed),
                            manager.interest(),
                            settings,
                            stop.clone(),
                        ),
                        status: Arc::clone(&status),
                        settings,
                        stop,
                        at: None,
                        saved_at: Instant::now(),
                        failures: 0,
                    })
                });
                works.push((name, start));
            }
        }
        Ok(Self { statuses, followers: Followers::spawn(works).await? })
    }

    pub fn health(&self) -> Vec<FollowerHealth> {
        self.statuses.iter().map(|status| status.health()).collect()
    }

    /// Returns once a manager has reacted to everything up to a position.
    pub async fn wait_for(
        &self,
        manager: &str,
        wanted: kernel::PositionToken,
        timeout: std::time::Duration,
    ) -> Result<(), crate::follow::WaitError> {
        let status = self.statuses.iter().find(|s| s.name == manager && s.shard == wanted.shard);
        status.ok_or(crate::follow::WaitError::UnknownShard)?.wait_for(wanted.position, timeout).await
    }

    /// Lets each finish its reaction, and returns when all have stopped.
    pub async fn drain(&self) {
        self.followers.drain().await;
    }
}

struct ProcessWork {
    manager: Arc<dyn ProcessManager>,
    pool: Pool,
    subscription: Subscription,
    status: Arc<Status>,
    settings: FollowSettings,
    stop: CancellationToken,
    /// Unknown until the checkpoint is read, and after somebody else moved it.
    at: Option<At>,
    saved_at: Instant,
    failures: u32,
}

/// How far a manager has come.
#[derive(Clone, Copy)]
struct At {
    position: Position,
    /// The checkpoint in the database: it may stay behind while nothing comes that is to be reacted to.
    saved: Position,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database: {0}")]
    Pool(#[from] PoolError),
    #[error("it can't react to position {position} yet: {retry}")]
    Retry { position: Position, retry: Retry },
}

impl ProcessWork {
    fn shard(&self) -> ShardId {
        self.subscription.feed().shard()
    }

    async fn try_step(&mut self) -> Result<(), Trouble> {
        let at = match self.at {
            Some(at) => at,
            None => self.load().await?,
        };
        let Read { events, through, .. } = self.subscription.next(at.position).await?;
        for parts in events.chunk_by(|a, b| a.position == b.position) {
            let position = parts[0].position;
            if self.stop.is_cancelled() {
                self.pass(Position(position.0 - 1));
                return Ok(());
            }
            if !parts.iter().any(|event| self.manager.concerns(event)) {
                continue;
            }
            for event in parts {
                self.manager.react(event).await.map_err(|retry| Trouble::Retry { position, retry })?;
            }
            // A crash before this repeats the reaction, which is idempotent.
            if !self.save(position).await? {
                return Ok(());
            }
        }
        if through == at.position
            || self.stop.is_cancelled()
            || self.saved_at.elapsed() > self.settings.settle()
        {
            self.save(through).await?;
        } else {
            self.pass(through);
        }
        Ok(())
    }

    /// It has nothing to do with what stands up to a position; what is not written down is looked at again.
    fn pass(&mut self, position: Position) {
        if let Some(at) = &mut self.at {
            at.position = at.position.max(position);
            self.status.reached(at.position);
        }
    }

    async fn load(&mut self) -> Result<At, Trouble> {
        let client = self.pool.get().await?;
        client
            .execute(
                "INSERT INTO process_checkpoint (process, shard) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                &[&self.manager.name(), &self.shard().0],
            )
            .await?;
        let row = client
            .query_one(
                "SELECT position FROM process_checkpoint WHERE process = $1 AND shard = $2",
                &[&self.manager.name(), &self.shard().0],
            )
            .await?;
        let saved = Position(row.get::<_, i64>(0).unsigned_abs());
        let at = At { position: saved, saved };
        self.at = Some(at);
        self.status.reached(saved);
        Ok(at)
    }

    /// Moves the checkpoint. False if somebody else moved it: then it is read again.
    async fn save(&mut self, position: Position) -> Result<bool, Trouble> {
        self.saved_at = Instant::now();
        let Some(At { saved, .. }) = self.at else { return Ok(false) };
        if saved == position {
            return Ok(true);
        }
        let client = self.pool.get().await?;
        let advance = client
            .prepare_cached(
                "UPDATE process_checkpoint SET position = $3, updated_at = now() \
                 WHERE process = $1 AND shard = $2 AND position = $4",
            )
            .await?;
        let moved = client
            .execute(
                &advance,
                &[&self.manager.name(), &self.shard().0, &position.0.cast_signed(), &saved.0.cast_signed()],
            )
            .await?;
        if moved == 1 {
            self.at = Some(At { position, saved: position });
            self.status.reached(position);
        } else {
            self.at = None;
            self.subscription.reread();
        }
        Ok(moved == 1)
    }
}

#[async_trait]
impl Work for ProcessWork {
    async fn step(&mut self) {
        match self.try_step().await {
            Ok(()) => {
                self.failures = 0;
                let seen = self.subscription.seen();
                self.status.well(seen.head, seen.current_at);
            }
            Err(trouble) => {
                self.failures = self.failures.saturating_add(1);
                metrics::counter!(telemetry::ERRORS, "projection" => self.manager.name()).increment(1);
                let text = trouble.to_string();
                tracing::warn!(
                    process.name = self.manager.name(),
                    error = text,
                    "a process manager tries again"
                );
                self.status.trouble(
                    FollowerState::Retrying,
                    text,
                    "it never skips an event and tries again by itself; mend what refuses it",
                );
                // What was read but not reacted to is read again.
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
