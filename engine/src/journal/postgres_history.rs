//! The journal in PostgreSQL as who asks for the past sees it: streams in pages, and when a position was taken.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Pool};
use kernel::{Envelope, Position, ShardId, StreamId};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::ReadError;
use super::rows::{RowsError, read_events};
use super::statement::{signed, unsigned};
use crate::codec::Codec;
use crate::feed::FeedError;

pub(super) async fn page(
    pool: &Pool,
    codec: &Codec,
    stream: &StreamId,
    after: u64,
    until: Position,
    limit: usize,
) -> Result<Vec<Envelope>, ReadError> {
    let id = stream.id.hyphenated().to_string();
    let (after, until, limit) = (signed(after), signed(until.0), signed(limit as u64));
    let client = connection(pool).await?;
    let statement = client.prepare_cached(include_str!("sql/page.sql")).await.map_err(unavailable)?;
    let wanted = client.query(&statement, &[&stream.aggregate_type, &id, &after, &until, &limit]).await;
    let rows = wanted.map_err(unavailable)?;
    // Not two connections at once: whoever waits for the second would hold the first.
    drop(client);
    opened(codec, stream, &rows).await
}

pub(super) async fn streams(
    pool: &Pool,
    aggregate_type: &'static str,
    after: Option<Uuid>,
    until: Position,
    limit: usize,
) -> Result<Vec<StreamId>, ReadError> {
    let after = after.map_or_else(String::new, |after| after.hyphenated().to_string());
    let (until, limit) = (signed(until.0), signed(limit as u64));
    let client = connection(pool).await?;
    let statement = client.prepare_cached(include_str!("sql/streams.sql")).await.map_err(unavailable)?;
    let wanted = client.query(&statement, &[&aggregate_type, &after, &until, &limit]).await;
    let rows = wanted.map_err(unavailable)?;
    let ids = rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok());
    Ok(ids.map(|id| StreamId::new(aggregate_type, id)).collect())
}

pub(super) async fn recorded_at(
    pool: &Pool,
    shard: ShardId,
    position: Position,
) -> Result<Option<DateTime<Utc>>, FeedError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(include_str!("sql/recorded_at.sql")).await?;
    let row = client.query_opt(&statement, &[&shard.0, &signed(position.0)]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// The events of a stream's rows.
pub(super) async fn opened(
    codec: &Codec,
    stream: &StreamId,
    rows: &[Row],
) -> Result<Vec<Envelope>, ReadError> {
    let events = read_events(rows, codec).await.map_err(|error| match error {
        RowsError::Keys(error) => ReadError::Unavailable(error.to_string()),
        RowsError::Row(row, error) => ReadError::Corrupt {
            stream: stream.clone(),
            sequence: unsigned(row.get("sequence")),
            reason: error.to_string(),
        },
    })?;
    Ok(events.into_iter().map(Arc::unwrap_or_clone).collect())
}

async fn connection(pool: &Pool) -> Result<Object, ReadError> {
    pool.get().await.map_err(|error| ReadError::Unavailable(error.to_string()))
}

fn unavailable(error: Error) -> ReadError {
    ReadError::Unavailable(error.to_string())
}
