//! The running projections of a server.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use kernel::{Position, PositionToken, ShardId};

use super::actor::ProjectionWork;
use super::model::{Feeds, Projection};
use crate::feed::FeedName;
use crate::follow::{
    FollowSettings, FollowerHealth, Followers, SpawnError, StartWork, Status, WaitError, Work,
};

/// One supervised actor per projection, feed and shard.
pub struct Projector {
    projections: Vec<Arc<dyn Projection>>,
    statuses: Vec<Arc<Status>>,
    followers: Followers,
}

impl Projector {
    /// Starts them; they catch up by themselves. The tables must be there (`ensure_generations`).
    ///
    /// `pool`: the server's role; each actor holds at most one connection at a time.
    pub async fn start(
        projections: Vec<Arc<dyn Projection>>,
        feeds: &Feeds,
        pool: &Pool,
        settings: FollowSettings,
    ) -> Result<Self, SpawnError> {
        let mut statuses = Vec::new();
        let mut works: Vec<(String, StartWork)> = Vec::new();
        for projection in &projections {
            for feed in feeds.of(projection.as_ref()) {
                let status = Arc::new(Status::new(projection.name(), feed.name(), feed.shard()));
                statuses.push(Arc::clone(&status));
                let (projection, feed, pool) = (Arc::clone(projection), Arc::clone(feed), pool.clone());
                let name = format!("{} on {} {}", projection.name(), feed.name(), feed.shard().0);
                let start: StartWork = Arc::new(move |stop| -> Box<dyn Work> {
                    Box::new(ProjectionWork::new(
                        Arc::clone(&projection),
                        pool.clone(),
                        Arc::clone(&feed),
                        Arc::clone(&status),
                        settings,
                        stop,
                    ))
                });
                works.push((name, start));
            }
        }
        let followers = Followers::spawn(works).await?;
        Ok(Self { projections, statuses, followers })
    }

    pub fn projections(&self) -> &[Arc<dyn Projection>] {
        &self.projections
    }

    /// Returns once what serves holds a position of the journal (read-your-writes).
    pub async fn wait_for(
        &self,
        projection: &str,
        wanted: PositionToken,
        timeout: Duration,
    ) -> Result<(), WaitError> {
        self.wait_for_feed(projection, FeedName::Journal, wanted, timeout).await
    }

    /// The same for any feed.
    pub async fn wait_for_feed(
        &self,
        projection: &str,
        feed: FeedName,
        wanted: PositionToken,
        timeout: Duration,
    ) -> Result<(), WaitError> {
        let status = self.status(projection, feed, wanted.shard).ok_or(WaitError::UnknownShard)?;
        status.wait_for(wanted.position, timeout).await
    }

    /// Where what serves stands.
    pub fn position(&self, projection: &str, feed: FeedName, shard: ShardId) -> Option<Position> {
        self.status(projection, feed, shard).map(|status| status.position())
    }

    fn status(&self, projection: &str, feed: FeedName, shard: ShardId) -> Option<&Arc<Status>> {
        self.statuses.iter().find(|s| s.name == projection && s.feed == feed && s.shard == shard)
    }

    pub fn health(&self) -> Vec<FollowerHealth> {
        self.statuses.iter().map(|status| status.health()).collect()
    }

    /// Lets each finish its batch, and returns when all have stopped.
    pub async fn drain(&self) {
        self.followers.drain().await;
    }
}
