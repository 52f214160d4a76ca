//! Rows turned back into envelopes: the keys of all of them are had at once, then each is opened.

use kernel::{Envelope, EventId, Position, ShardId, StreamId};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::metadata::{Context, StoredMetadata};
use super::statement::{EVENT, METADATA, unsigned};
use crate::codec::{Codec, CodecError, Place};
use crate::keyring::{Held, KeyringError};

/// Why rows can't be read.
pub(super) enum RowsError<'r> {
    /// None of them, for now.
    Keys(KeyringError),
    /// This one, until it is mended.
    Row(&'r Row, CodecError),
}

/// The envelopes of rows of `load_stream.sql` or `read_feed.sql`: several of one row if an upcaster splits it.
pub(super) async fn read_events<'r>(rows: &'r [Row], codec: &Codec) -> Result<Vec<Envelope>, RowsError<'r>> {
    let mut stored = Vec::with_capacity(rows.len());
    for row in rows {
        stored.push(Stored::parse(row).map_err(|error| RowsError::Row(row, error))?);
    }
    let held = match codec.subjects(stored.iter().flat_map(Stored::documents)) {
        Ok(subjects) => codec.for_opening(subjects).await.map_err(RowsError::Keys)?,
        // Which row it is shows when it is opened.
        Err(_) => Held::default(),
    };
    let mut envelopes = Vec::with_capacity(rows.len());
    for (row, stored) in rows.iter().zip(stored) {
        envelopes.extend(stored.open(row, codec, &held).map_err(|error| RowsError::Row(row, error))?);
    }
    Ok(envelopes)
}

struct Stored {
    payload: Value,
    metadata: StoredMetadata,
}

impl Stored {
    fn parse(row: &Row) -> Result<Self, CodecError> {
        let payload: &str = row.get("payload");
        let payload =
            serde_json::from_str(payload).map_err(|error| CodecError(format!("payload: {error}")))?;
        Ok(Self { payload, metadata: StoredMetadata::parse(row.get("metadata"))? })
    }

    fn documents(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(&self.payload).chain(&self.metadata.origin)
    }

    fn open(mut self, row: &Row, codec: &Codec, held: &Held) -> Result<Vec<Envelope>, CodecError> {
        let stream = stream_of(row);
        let (of, id) = (&*stream.aggregate_type, stream.id);
        let sequence = unsigned(row.get("sequence"));
        let correlation_id: Uuid = row.get("correlation_id");
        let place = Place { kind: EVENT, of, id, number: u128::from(sequence) };
        codec.open(&mut self.payload, &place, held)?;
        if let Some(origin) = &mut self.metadata.origin {
            codec.open(origin, &Place { kind: METADATA, of, id, number: correlation_id.as_u128() }, held)?;
        }
        let metadata = self.metadata.into_metadata(Context {
            tenant: row.get("tenant"),
            actor: row.get("actor"),
            role: row.get("role"),
            correlation_id,
            causation_id: row.get("causation_id"),
        })?;
        let opened = codec.upcast(row.get("event_type"), row.get("event_version"), self.payload)?;
        Ok(opened
            .into_iter()
            .zip(0_u16..)
            .map(|(event, part)| Envelope {
                shard: ShardId(row.get("shard")),
                position: Position(unsigned(row.get("position"))),
                stream: stream.clone(),
                sequence,
                part,
                index_in_command: u16::try_from(row.get::<_, i16>("index_in_command")).unwrap_or(0),
                event_id: EventId(row.get("event_id")),
                event_type: event.event_type,
                event_version: event.event_version,
                payload: event.payload,
                metadata: metadata.clone(),
                recorded_at: row.get("recorded_at"),
            })
            .collect())
    }
}

/// The stream of a row. Every id we write is a UUID.
pub(super) fn stream_of(row: &Row) -> StreamId {
    StreamId {
        aggregate_type: row.get::<_, String>("aggregate_type").into(),
        id: row.get::<_, &str>("aggregate_id").parse().unwrap_or(Uuid::nil()),
    }
}
