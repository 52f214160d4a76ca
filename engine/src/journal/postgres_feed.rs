//! The journal in PostgreSQL as followers see it.

use async_trait::async_trait;
use deadpool_postgres::Pool;
use kernel::{Position, ShardId};
use tokio::sync::broadcast;
use tokio_postgres::types::ToSql;

use super::rows::{RowsError, read_events, stream_of};
use super::statement::{signed, unsigned};
use crate::codec::Codec;
use crate::feed::{Feed, FeedError, FeedName, Interest, Live, Read, Told};

const HEAD: &str = "SELECT last_position FROM journal_shard WHERE shard = $1";

pub(super) async fn read_journal(
    pool: &Pool,
    codec: &Codec,
    shard: ShardId,
    after: Position,
    limit: usize,
    of: Interest,
) -> Result<Read, FeedError> {
    let client = pool.get().await?;
    let (head, window) = futures::try_join!(
        client.prepare_cached(HEAD),
        client.prepare_cached(include_str!("sql/read_feed.sql"))
    )?;
    let end = Position(after.0.saturating_add(limit as u64));
    let (from, to, types) = (signed(after.0), signed(end.0), of.aggregate_types());
    let window_of: [&(dyn ToSql + Sync); 4] = [&shard.0, &from, &to, &types];
    // Both in one go, the head first: everything up to it was committed when the window is looked at.
    let (head, rows) =
        futures::try_join!(client.query_one(&head, &window_of[..1]), client.query(&window, &window_of))?;
    drop(client);
    let head = Position(unsigned(head.get(0)));
    let events = read_events(&rows, codec).await.map_err(|error| match error {
        RowsError::Keys(error) => FeedError::Keys(error),
        RowsError::Row(row, error) => FeedError::Undecodable {
            feed: FeedName::Journal,
            position: Position(unsigned(row.get("position"))),
            stream: stream_of(row),
            reason: error.to_string(),
        },
    })?;
    Ok(Read::of_window(events, after, end, head))
}

pub(super) async fn journal_head(pool: &Pool, shard: ShardId) -> Result<Position, FeedError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(HEAD).await?;
    Ok(Position(unsigned(client.query_one(&statement, &[&shard.0]).await?.get(0))))
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

    async fn read(&self, after: Position, limit: usize, of: Interest) -> Result<Read, FeedError> {
        read_journal(&self.pool, &self.codec, self.shard, after, limit, of).await
    }

    async fn head(&self) -> Result<Position, FeedError> {
        journal_head(&self.pool, self.shard).await
    }

    fn live(&self) -> broadcast::Receiver<Told> {
        self.live.listen()
    }
}
