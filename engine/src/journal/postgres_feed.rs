//! The journal in PostgreSQL as followers see it.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use kernel::{Envelope, Position, ShardId};
use tokio::sync::broadcast;

use super::rows::{RowsError, read_events, stream_of};
use super::statement::{signed, unsigned};
use crate::codec::Codec;
use crate::feed::{Feed, FeedError, FeedName, Live};

pub(super) async fn read_journal(
    pool: &Pool,
    codec: &Codec,
    shard: ShardId,
    after: Position,
    limit: usize,
) -> Result<Vec<Envelope>, FeedError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(include_str!("sql/read_feed.sql")).await?;
    let rows = client.query(&statement, &[&shard.0, &signed(after.0), &signed(limit as u64)]).await?;
    drop(client);
    read_events(&rows, codec).await.map_err(|error| match error {
        RowsError::Keys(error) => FeedError::Keys(error),
        RowsError::Row(row, error) => FeedError::Undecodable {
            feed: FeedName::Journal,
            position: Position(unsigned(row.get("position"))),
            stream: stream_of(row),
            reason: error.to_string(),
        },
    })
}

pub(super) async fn journal_head(pool: &Pool, shard: ShardId) -> Result<Position, FeedError> {
    let client = pool.get().await?;
    let row =
        client.query_one("SELECT last_position FROM journal_shard WHERE shard = $1", &[&shard.0]).await?;
    Ok(Position(unsigned(row.get(0))))
}

/// The journal as followers see it. The writer tells `live` what it appends.
pub struct PgFeed {
    pool: Pool,
    codec: Codec,
    shard: ShardId,
    live: Live,
}

impl PgFeed {
    pub fn new(pool: Pool, codec: Codec, shard: ShardId, live: Live) -> Self {
        Self { pool, codec, shard, live }
    }
}

#[async_trait]
impl Feed for PgFeed {
    fn name(&self) -> FeedName {
        FeedName::Journal
    }

    fn shard(&self) -> ShardId {
        self.shard
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Envelope>, FeedError> {
        read_journal(&self.pool, &self.codec, self.shard, after, limit).await
    }

    async fn head(&self) -> Result<Position, FeedError> {
        journal_head(&self.pool, self.shard).await
    }

    fn live(&self) -> broadcast::Receiver<Arc<[Envelope]>> {
        self.live.listen()
    }
}
