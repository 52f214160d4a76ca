//! The audit ledger: appended in batches, dense positions in commit order, and a feed for those who follow.
//!
//! Any node appends: the counter row orders them, no lease is needed. An entry's id and time are fixed before the first
//! try, so that one repeated after an unclear commit meets itself and is not written twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use deadpool_postgres::Pool;
use kernel::{Clock, Envelope, Event, EventId, Payload, Position, ShardId, StreamId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::audit::{AuditEntry, AuditEvent};
use crate::codec::{Clear, Codec, CodecError, Place};
use crate::feed::{Feed, FeedError, FeedName, Interest, Live, Read, Told};
use crate::journal::{Context, StoredMetadata, marked_origin, stored_metadata};
use crate::keyring::{DataKey, Held, KeyColumns, Known};

/// Entries in one transaction, at most.
const BATCH_MAX: usize = 512;
/// Entries waiting, at most; whoever comes later waits for room.
const QUEUE_MAX: usize = 8192;
/// How long a batch is tried before its askers hear that it can't be written.
const TRIED_FOR: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// The ledger has one shard.
const SHARD: ShardId = ShardId(0);

/// The entry was not written.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LedgerError {
    #[error("the audit ledger can't be written")]
    Unavailable,
    #[error("the audit ledger's queue is full")]
    Full,
}

struct Waiting {
    entry: AuditEntry,
    written: Option<oneshot::Sender<Result<(), LedgerError>>>,
}

/// The way to the audit ledger. Clones share it.
#[derive(Clone)]
pub struct AuditLedger {
    queue: mpsc::Sender<Waiting>,
    ended: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
}

impl AuditLedger {
    /// Starts the ledger's writer. `live` is told what is appended.
    pub fn start(pool: Pool, codec: Codec, live: Live, clock: Arc<dyn Clock>) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let (end, ended) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let writer = LedgerWriter { pool, codec, live, clock, months: HashSet::new() };
        tokio::spawn(async move {
            writer.run(receiver, stopping).await;
            end.send_replace(true);
        });
        Self { queue, ended, stop }
    }

    /// Appends an entry; it is durable when this returns.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the database can't be written for several seconds.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), LedgerError> {
        let (written, answer) = oneshot::channel();
        let waiting = Waiting { entry, written: Some(written) };
        self.queue.send(waiting).await.map_err(|_| LedgerError::Unavailable)?;
        answer.await.unwrap_or(Err(LedgerError::Unavailable))
    }

    /// Puts an entry in the queue and waits for nobody.
    ///
    /// # Errors
    /// [`LedgerError::Full`] if the queue is full: the caller must not go on as if it were recorded.
    pub fn enqueue(&self, entry: AuditEntry) -> Result<(), LedgerError> {
        self.queue.try_send(Waiting { entry, written: None }).map_err(|_| LedgerError::Full)
    }

    /// Appends what is queued and stops.
    pub async fn drain(&self) {
        let _ = self.stop.send(true);
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

struct LedgerWriter {
    pool: Pool,
    codec: Codec,
    live: Live,
    clock: Arc<dyn Clock>,
    /// Months that have their partition.
    months: HashSet<NaiveDate>,
}

impl LedgerWriter {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>, mut stopping: watch::Receiver<bool>) {
        let mut gathered = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                count = queue.recv_many(&mut gathered, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.write(&mut gathered).await;
                }
                _ = stopping.changed() => queue.close(),
            }
        }
    }

    async fn write(&mut self, gathered: &mut Vec<Waiting>) {
        let (entries, askers): (Vec<_>, Vec<_>) = gathered.drain(..).map(|w| (w.entry, w.written)).unzip();
        let mut result = Err(LedgerError::Unavailable);
        let begun = tokio::time::Instant::now();
        let mut attempt = 0_u32;
        while attempt == 0 || begun.elapsed() < TRIED_FOR {
            match self.append(&entries, attempt > 0).await {
                Ok(()) => {
                    result = Ok(());
                    break;
                }
                Err(reason) => {
                    if attempt == 0 {
                        tracing::error!(
                            reason,
                            entries = entries.len(),
                            "the audit ledger can't be written; trying again"
                        );
                    }
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        for asker in askers.into_iter().flatten() {
            let _ = asker.send(result);
        }
    }

    async fn append(&mut self, entries: &[AuditEntry], again: bool) -> Result<(), String> {
        let mut client = self.pool.get().await.map_err(|e| e.to_string())?;
        for entry in entries {
            let day = entry.occurred_at.date_naive();
            let month = day.with_day(1).unwrap_or(day);
            if self.months.insert(month)
                && let Err(error) = client.execute("SELECT ensure_audit_partition($1)", &[&month]).await
            {
                // The default partition takes the rows meanwhile.
                tracing::warn!(error = %error, "the month's audit partition could not be made");
            }
        }
        let origins: Vec<Option<Clear<'static>>> = entries
            .iter()
            .map(|entry| marked_origin(&entry.metadata)?.map(|origin| self.codec.clear(origin)).transpose())
            .collect::<Result<_, _>>()
            .map_err(|e: CodecError| e.to_string())?;
        let subjects = Clear::subjects(origins.iter().flatten());
        let held = self.codec.for_sealing(subjects).await.map_err(|e| e.to_string())?;
        let columns = Columns::of(entries, origins, &held)?;
        let new_keys = KeyColumns::of(&columns.new_keys);
        let transaction = client.transaction().await.map_err(|e| e.to_string())?;
        if again {
            // Waits for an earlier try that is still under way, then looks whether it made it.
            let lock = "SELECT 1 FROM ledger_shard WHERE ledger = 'audit' AND shard = $1 FOR UPDATE";
            transaction.execute(lock, &[&SHARD.0]).await.map_err(|e| e.to_string())?;
            let found = transaction
                .query_opt(
                    "SELECT 1 FROM audit_ledger WHERE occurred_at = $1 AND entry_id = $2",
                    &[&columns.occurred_at[0], &columns.entry_id[0]],
                )
                .await
                .map_err(|e| e.to_string())?;
            if found.is_some() {
                return Ok(());
            }
        }
        if !new_keys.is_empty() {
            let mut parameters = new_keys.parameters().to_vec();
            let now = self.clock.now();
            parameters.push(&now);
            let inserted =
                transaction.execute(include_str!("journal/sql/insert_keys.sql"), &parameters).await;
            if let Err(error) = inserted {
                // Another node, or the journal, was faster: what is sealed next time is sealed under its key.
                self.codec.discard(&columns.new_keys);
                return Err(error.to_string());
            }
        }
        let statement = transaction
            .prepare_cached(include_str!("journal/sql/append_audit.sql"))
            .await
            .map_err(|e| e.to_string())?;
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let row = transaction
            .query_one(
                &statement,
                &[
                    &SHARD.0,
                    &count,
                    &self.clock.now(),
                    &columns.entry_id,
                    &columns.occurred_at,
                    &columns.tenant,
                    &columns.actor_kind,
                    &columns.actor,
                    &columns.role,
                    &columns.action,
                    &columns.outcome,
                    &columns.correlation_id,
                    &columns.metadata,
                    &columns.payload,
                ],
            )
            .await;
        let row = match row {
            Ok(row) => row,
            // An earlier try that nobody heard of was faster after all.
            Err(error) if again && error.code() == Some(&SqlState::UNIQUE_VIOLATION) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        transaction.commit().await.map_err(|e| e.to_string())?;
        new_keys.keys.iter().for_each(|key| key.became_durable());
        if self.live.is_heard() {
            let first = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0) + 1;
            let told = entries
                .iter()
                .zip(first..)
                .filter_map(|(e, at)| envelope(e, &held, Position(at), row.get(1)))
                .map(Arc::new);
            self.live.tell(told.collect());
        }
        Ok(())
    }
}

#[derive(Default)]
struct Columns<'a> {
    entry_id: Vec<Uuid>,
    occurred_at: Vec<DateTime<Utc>>,
    tenant: Vec<Option<Uuid>>,
    actor_kind: Vec<&'a str>,
    actor: Vec<&'a str>,
    role: Vec<&'a str>,
    action: Vec<&'a str>,
    outcome: Vec<&'a str>,
    correlation_id: Vec<Uuid>,
    metadata: Vec<String>,
    payload: Vec<String>,
    new_keys: Vec<Arc<DataKey>>,
}

fn metadata_place(entry: Uuid) -> Place<'static> {
    Place { kind: "metadata", of: "audit", id: entry, number: 0 }
}

impl<'a> Columns<'a> {
    fn of(
        entries: &'a [AuditEntry],
        origins: Vec<Option<Clear<'static>>>,
        held: &Held,
    ) -> Result<Self, String> {
        let mut columns = Self::default();
        for (AuditEntry { entry_id, occurred_at, metadata, fact }, origin) in entries.iter().zip(origins) {
            // A fact holds nothing personal; where the request came from does.
            let payload = payload(fact).map_err(|e| e.to_string())?;
            // Who was forgotten leaves no trace of where from.
            let origin = origin.filter(|origin| !origin.is_of_forgotten(held));
            let origin = origin
                .map(|origin| origin.sealed(&metadata_place(*entry_id), held, &mut columns.new_keys))
                .transpose()
                .map_err(|e| e.to_string())?;
            columns.entry_id.push(*entry_id);
            columns.occurred_at.push(*occurred_at);
            columns.tenant.push(metadata.tenant.map(|t| t.0));
            columns.actor_kind.push(metadata.actor.kind.as_str());
            columns.actor.push(&metadata.actor.id);
            columns.role.push(&metadata.role);
            columns.action.push(&metadata.action);
            columns.outcome.push(fact.outcome.as_str());
            columns.correlation_id.push(metadata.correlation_id.0);
            columns.metadata.push(stored_metadata(metadata, origin).map_err(|e| e.to_string())?);
            columns.payload.push(payload);
        }
        Ok(columns)
    }
}

fn payload(fact: &crate::audit::AuditFact) -> Result<String, serde_json::Error> {
    serde_json::to_string(&AuditEvent::Recorded(fact.clone()))
}

fn envelope(
    entry: &AuditEntry,
    held: &Held,
    position: Position,
    recorded_at: DateTime<Utc>,
) -> Option<Envelope> {
    let event = Arc::new(AuditEvent::Recorded(entry.fact.clone()));
    let mut metadata = entry.metadata.clone();
    let of = metadata.actor.id.parse().unwrap_or(Uuid::nil());
    if matches!(held.get(kernel::Subject::Person(kernel::PersonId(of))), Some(Known::Forgotten)) {
        metadata.origin = kernel::Origin::default();
    }
    Some(Envelope {
        shard: SHARD,
        position,
        stream: StreamId::new("audit", entry.entry_id),
        sequence: 1,
        part: 0,
        index_in_command: 0,
        event_id: EventId(entry.entry_id),
        event_type: event.event_type().into(),
        event_version: event.event_version().into(),
        payload: Payload::of_event(event).ok()?,
        metadata: Arc::new(metadata),
        // The time of an audit entry is when it happened; recorded_at orders only the ledger.
        recorded_at: recorded_at.max(entry.occurred_at),
    })
}

const HEAD: &str = "SELECT last_position FROM ledger_shard WHERE ledger = 'audit' AND shard = $1";

fn position_of(row: &tokio_postgres::Row) -> Position {
    Position(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// The audit ledger as followers see it.
pub struct AuditFeed {
    pool: Pool,
    codec: Codec,
    live: Live,
}

impl AuditFeed {
    pub fn new(pool: Pool, codec: Codec, live: Live) -> Self {
        Self { pool, codec, live }
    }
}

#[async_trait]
impl Feed for AuditFeed {
    fn name(&self) -> FeedName {
        FeedName::Audit
    }

    fn shard(&self) -> ShardId {
        SHARD
    }

    async fn read(&self, after: Position, limit: usize, of: Interest) -> Result<Read, FeedError> {
        let client = self.pool.get().await?;
        let (head, window) = futures::try_join!(
            client.prepare_cached(HEAD),
            client.prepare_cached(include_str!("journal/sql/read_audit.sql"))
        )?;
        let end = Position(after.0.saturating_add(limit as u64));
        let [from, to] = [after, end].map(|position| i64::try_from(position.0).unwrap_or(i64::MAX));
        let window_of: [&(dyn ToSql + Sync); 3] = [&SHARD.0, &from, &to];
        // Both in one go, the head first: everything up to it was committed when the window is looked at.
        let (head, rows) =
            futures::try_join!(client.query_one(&head, &window_of[..1]), client.query(&window, &window_of))?;
        drop(client);
        let head = position_of(&head);
        let place_of = |row: &tokio_postgres::Row| {
            let position = Position(u64::try_from(row.get::<_, i64>("position")).unwrap_or(0));
            (position, StreamId::new("audit", row.get("entry_id")))
        };
        let broken = |row: &tokio_postgres::Row, reason: String| {
            let (position, stream) = place_of(row);
            FeedError::Undecodable { feed: FeedName::Audit, position, stream, reason }
        };
        let mut stored = Vec::with_capacity(rows.len());
        for row in &rows {
            let metadata = StoredMetadata::parse(row.get("metadata"));
            stored.push(metadata.map_err(|e| broken(row, e.to_string()))?);
        }
        // A field that says of nobody shows when it is opened.
        let origins = stored.iter().filter_map(|metadata| metadata.origin.as_deref());
        let held = self.codec.for_opening(self.codec.subjects(origins).unwrap_or_default()).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for (row, mut metadata) in rows.iter().zip(stored) {
            let (position, stream) = place_of(row);
            let payload = Payload::from_text(row.get("payload")).map_err(|e| broken(row, e.to_string()))?;
            if let Some(origin) = &mut metadata.origin {
                let opened = self.codec.open(origin, &metadata_place(stream.id), &held);
                *origin = opened.map_err(|e| broken(row, e.to_string()))?.into_owned();
            }
            let context = Context {
                tenant: row.get("tenant"),
                actor: row.get("actor"),
                role: row.get("role"),
                correlation_id: row.get("correlation_id"),
                causation_id: None,
            };
            let metadata = metadata.into_metadata(context).map_err(|e| broken(row, e.to_string()))?;
            let recorded: DateTime<Utc> = row.get("recorded_at");
            entries.push(Arc::new(Envelope {
                shard: SHARD,
                position,
                event_id: EventId(stream.id),
                stream,
                sequence: 1,
                part: 0,
                index_in_command: 0,
                event_type: "audit.recorded".into(),
                event_version: "1".into(),
                payload,
                metadata: Arc::new(metadata),
                recorded_at: recorded.max(row.get("occurred_at")),
            }));
        }
        let mut read = Read::of_window(entries, after, end, head);
        read.events.retain(|entry| of.concerns(&entry.stream));
        Ok(read)
    }

    async fn head(&self) -> Result<Position, FeedError> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(HEAD).await?;
        Ok(position_of(&client.query_one(&statement, &[&SHARD.0]).await?))
    }

    fn live(&self) -> broadcast::Receiver<Told> {
        self.live.listen()
    }
}
