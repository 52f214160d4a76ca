//! Read models with one row per entity: load the rows a batch changes, fold in memory, store them in one statement.
//!
//! So a batch costs two statements per table, however many events it has, and the fold is a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use engine::projection::{FoldError, Transaction};
use kernel::Envelope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A row that is the fold of one entity's events. Its fields are the table's columns and what the API shows.
pub(crate) trait Entity: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync {
    type Event: Send;

    /// Which row an event concerns, and the event; `None` if it concerns none.
    fn event(envelope: &Envelope) -> Result<Option<(Uuid, Self::Event)>, FoldError>;

    /// The row after an event. An event about a row that isn't there is [`missing`].
    fn fold(row: Option<Self>, event: Self::Event, envelope: &Envelope) -> Result<Self, FoldError>;
}

/// The error for an event about a row that should be there.
pub(crate) fn missing<R>(row: Option<R>, envelope: &Envelope) -> Result<R, FoldError> {
    row.ok_or_else(|| FoldError::Event(format!("{} comes before what it is about", envelope.event_type)))
}

/// Folds a batch into a table whose primary key is `id`.
pub(crate) async fn fold<E: Entity>(
    tx: &Transaction<'_>,
    table: &str,
    events: &[Arc<Envelope>],
) -> Result<(), FoldError> {
    let mut concerned = Vec::new();
    for envelope in events {
        if let Some((id, event)) = E::event(envelope)? {
            concerned.push((id, event, &**envelope));
        }
    }
    if concerned.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<Uuid> = concerned.iter().map(|(id, _, _)| *id).collect();
    let mut rows = load::<E>(tx, table, ids.into_iter().collect()).await?;
    for (id, event, envelope) in concerned {
        let row = E::fold(rows.remove(&id), event, envelope)?;
        rows.insert(id, row);
    }
    store(tx, table, rows.into_values().collect()).await
}

async fn load<E: Entity>(
    tx: &Transaction<'_>,
    table: &str,
    ids: Vec<Uuid>,
) -> Result<BTreeMap<Uuid, E>, FoldError> {
    let sql = format!("SELECT id, row_to_json(t)::text FROM {table} AS t WHERE id = ANY ($1)");
    let statement = tx.prepare_cached(&sql).await?;
    let mut rows = BTreeMap::new();
    for row in tx.query(&statement, &[&ids]).await? {
        rows.insert(row.get(0), serde_json::from_str(row.get(1))?);
    }
    Ok(rows)
}

/// Writes rows; the columns are the row's fields.
async fn store<R: Serialize>(tx: &Transaction<'_>, table: &str, rows: Vec<R>) -> Result<(), FoldError> {
    let Some(first) = rows.first().map(serde_json::to_value).transpose()? else { return Ok(()) };
    let Some(columns) = first.as_object() else { return Ok(()) };
    let columns: Vec<&str> = columns.keys().map(String::as_str).collect();
    let set: Vec<String> = columns.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
    let (columns, set) = (columns.join(", "), set.join(", "));
    let sql = format!(
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1::text::json) \
         ON CONFLICT (id) DO UPDATE SET {set}"
    );
    let statement = tx.prepare_cached(&sql).await?;
    tx.execute(&statement, &[&serde_json::to_string(&rows)?]).await?;
    Ok(())
}

/// Who touched a row last, and when.
pub(crate) struct Stamp {
    pub at: DateTime<Utc>,
    pub by: String,
    pub sequence: i64,
}

impl Stamp {
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            at: envelope.recorded_at,
            by: envelope.metadata.actor.id.clone(),
            sequence: envelope.sequence.cast_signed(),
        }
    }
}
