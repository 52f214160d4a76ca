//! Snapshots turned into the columns of one statement.

use chrono::{DateTime, Utc};
use kernel::StreamId;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::Snapshot;
use super::statement::signed;

/// A snapshot with its state as it is stored.
pub(super) struct Sealed<'s> {
    pub stream: &'s StreamId,
    pub snapshot: &'s Snapshot,
    pub state: String,
}

#[derive(Default)]
pub(super) struct SnapshotColumns<'s> {
    aggregate_type: Vec<&'s str>,
    aggregate_id: Vec<String>,
    version: Vec<i32>,
    sequence: Vec<i64>,
    event_id: Vec<Uuid>,
    state: Vec<&'s str>,
}

impl<'s> SnapshotColumns<'s> {
    pub(super) fn of(snapshots: &'s [Sealed<'s>]) -> Self {
        let mut columns = Self::default();
        for Sealed { stream, snapshot, state } in snapshots {
            columns.aggregate_type.push(&stream.aggregate_type);
            columns.aggregate_id.push(stream.id.hyphenated().to_string());
            columns.version.push(i32::try_from(snapshot.version).unwrap_or(i32::MAX));
            columns.sequence.push(signed(snapshot.sequence));
            columns.event_id.push(snapshot.event_id.0);
            columns.state.push(state);
        }
        columns
    }

    pub(super) fn parameters<'p>(&'p self, now: &'p DateTime<Utc>) -> [&'p (dyn ToSql + Sync); 7] {
        [
            &self.aggregate_type,
            &self.aggregate_id,
            &self.version,
            &self.sequence,
            &self.event_id,
            &self.state,
            now,
        ]
    }
}
