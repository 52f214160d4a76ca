//! Rows turned back into envelopes: the keys of all of them are had at once, then each is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use kernel::{Envelope, EventId, Payload, Position, ShardId, StreamId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::metadata::{Context, StoredMetadata};
use super::statement::{EVENT, METADATA, unsigned};
use crate::codec::{Codec, CodecError, Place};
use crate::keyring::{Held, KeyringError};

/// Where the columns of `load_stream.sql` and `read_feed.sql` stand: looking them up by name costs more than reading them.
mod column {
    pub const SHARD: usize = 0;
    pub const POSITION: usize = 1;
    pub const SEQUENCE: usize = 2;
    pub const EVENT_TYPE: usize = 3;
    pub const EVENT_VERSION: usize = 4;
    pub const PAYLOAD: usize = 5;
    pub const METADATA: usize = 6;
    pub const TENANT: usize = 7;
    pub const EVENT_ID: usize = 8;
    pub const INDEX_IN_COMMAND: usize = 9;
    pub const ACTOR: usize = 10;
    pub const ROLE: usize = 11;
    pub const CORRELATION_ID: usize = 12;
    pub const CAUSATION_ID: usize = 13;
    pub const RECORDED_AT: usize = 14;
    pub const AGGREGATE_TYPE: usize = 15;
    pub const AGGREGATE_ID: usize = 16;
}

/// Why rows can't be read.
pub(super) enum RowsError<'r> {
    /// None of them, for now.
    Keys(KeyringError),
    /// This one, until it is mended.
    Row(&'r Row, CodecError),
}

/// The envelopes of rows of `load_stream.sql` or `read_feed.sql`: several of one row if an upcaster splits it.
pub(super) async fn read_events<'r>(
    rows: &'r [Row],
    codec: &Codec,
) -> Result<Vec<Arc<Envelope>>, RowsError<'r>> {
    let mut metadata = Vec::with_capacity(rows.len());
    let mut subjects = BTreeSet::new();
    for row in rows {
        let broken = |error| RowsError::Row(row, error);
        let stored = StoredMetadata::parse(row.get(column::METADATA)).map_err(broken)?;
        // What may hold something that is sealed.
        let documents = [row.get(column::PAYLOAD)].into_iter().chain(stored.origin.as_deref());
        subjects.extend(codec.subjects(documents).map_err(broken)?);
        metadata.push(stored);
    }
    let held = codec.for_opening(subjects.into_iter().collect()).await.map_err(RowsError::Keys)?;
    let mut envelopes = Vec::with_capacity(rows.len());
    for (row, metadata) in rows.iter().zip(metadata) {
        open(row, metadata, codec, &held, &mut envelopes).map_err(|error| RowsError::Row(row, error))?;
    }
    Ok(envelopes)
}

/// The envelopes of a row.
fn open(
    row: &Row,
    mut metadata: StoredMetadata,
    codec: &Codec,
    held: &Held,
    into: &mut Vec<Arc<Envelope>>,
) -> Result<(), CodecError> {
    let stream = stream_of(row);
    let (of, id) = (&*stream.aggregate_type, stream.id);
    let sequence = unsigned(row.get(column::SEQUENCE));
    let correlation_id: Uuid = row.get(column::CORRELATION_ID);
    let place = Place { kind: EVENT, of, id, number: u128::from(sequence) };
    // PostgreSQL took it as JSON.
    let payload = Payload::of_json(codec.open(row.get(column::PAYLOAD), &place, held)?);
    if let Some(origin) = &mut metadata.origin {
        let place = Place { kind: METADATA, of, id, number: correlation_id.as_u128() };
        *origin = codec.open(origin, &place, held)?.into_owned();
    }
    let metadata = Arc::new(metadata.into_metadata(Context {
        tenant: row.get(column::TENANT),
        actor: row.get(column::ACTOR),
        role: row.get(column::ROLE),
        correlation_id,
        causation_id: row.get(column::CAUSATION_ID),
    })?);
    let opened = codec.upcast(row.get(column::EVENT_TYPE), row.get(column::EVENT_VERSION), payload)?;
    into.extend(opened.into_iter().zip(0_u16..).map(|(event, part)| {
        Arc::new(Envelope {
            shard: ShardId(row.get(column::SHARD)),
            position: Position(unsigned(row.get(column::POSITION))),
            stream: stream.clone(),
            sequence,
            part,
            index_in_command: u16::try_from(row.get::<_, i16>(column::INDEX_IN_COMMAND)).unwrap_or(0),
            event_id: EventId(row.get(column::EVENT_ID)),
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: Arc::clone(&metadata),
            recorded_at: row.get(column::RECORDED_AT),
        })
    }));
    Ok(())
}

/// The stream of a row. Every id we write is a UUID.
pub(super) fn stream_of(row: &Row) -> StreamId {
    StreamId {
        aggregate_type: row.get::<_, String>(column::AGGREGATE_TYPE).into(),
        id: row.get::<_, &str>(column::AGGREGATE_ID).parse().unwrap_or(Uuid::nil()),
    }
}
