//! The journal in PostgreSQL.
//!
//! Appends go over one connection of their own, in order; reads go through the pool. A broken append connection is
//! opened anew by [`PgJournal::resolve`] or by the next append, never silently in the middle of a batch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use kernel::{CommandId, Envelope, EventId, Position, ShardId, StreamId};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Config, Error, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::postgres_feed::{journal_head, read_journal};
use super::postgres_history::{opened, page, recorded_at, streams};
use super::statement::{Columns, OUTCOME, SNAPSHOT, Unsealed, signed, unsigned};
use super::trouble::append_error;
use super::{
    AppendError, AppendItem, Appended, Journal, Lease, Loaded, PrepareError, Prepared, ReadError, Refusal,
    Resolution, Snapshot, StoredOutcome,
};
use crate::codec::{Clear, Codec, CodecError, Place};
use crate::database::{DatabaseError, prepared, tls};
use crate::feed::{FeedError, Interest};
use crate::keyring::{DataKey, Held};

/// How long opening the append connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A journal in PostgreSQL; give each shard's writer one of its own.
pub struct PgJournal {
    config: Config,
    tls: MakeRustlsConnect,
    pool: Pool,
    codec: Codec,
    appender: Mutex<Option<Appender>>,
    /// The new keys of a batch whose commit ended unclear, until that is settled.
    unsettled: std::sync::Mutex<Vec<Arc<DataKey>>>,
}

/// The append connection with its prepared statements.
struct Appender {
    client: Client,
    connection: AbortHandle,
    events: Statement,
    all: Statement,
}

impl PgJournal {
    /// `config` opens the append connection; `pool` serves all reads.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(config: Config, pool: Pool, codec: Codec) -> Result<Self, DatabaseError> {
        Ok(Self {
            config: prepared(&config),
            tls: tls()?,
            pool,
            codec,
            appender: Mutex::new(None),
            unsettled: std::sync::Mutex::default(),
        })
    }

    async fn connect(&self) -> Result<Appender, Error> {
        let mut config = self.config.clone();
        config.connect_timeout(CONNECT_TIMEOUT).application_name("tenantry journal");
        let (client, connection) = config.connect(self.tls.clone()).await?;
        // An error shows in the client's next call.
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = %error, "the journal's connection ended");
            }
        })
        .abort_handle();
        client
            .batch_execute(
                "SET synchronous_commit = on; SET jit = off; SET plan_cache_mode = force_generic_plan",
            )
            .await?;
        let (events, all) = futures::try_join!(
            client.prepare(include_str!("sql/append_events.sql")),
            client.prepare(include_str!("sql/append_all.sql"))
        )?;
        Ok(Appender { client, connection, events, all })
    }

    async fn client(&self) -> Result<deadpool_postgres::Object, ReadError> {
        self.pool.get().await.map_err(|error| ReadError::Unavailable(error.to_string()))
    }

    /// The item's documents as they are stored, with keys that may have to be asked for.
    async fn prepared(&self, item: &AppendItem) -> Result<Prepared, PrepareError> {
        let unstorable = |error: CodecError| PrepareError::Refused(unstorable(&error));
        let unsealed = Unsealed::of(item, &self.codec).map_err(unstorable)?;
        let held = self.codec.for_sealing(unsealed.subjects()).await;
        let held = held.map_err(|error| PrepareError::Unavailable(error.to_string()))?;
        unsealed.seal(&held).map_err(unstorable)
    }
}

fn unstorable(error: &CodecError) -> Refusal {
    Refusal::Unstorable { reason: error.to_string() }
}

fn make_ready(item: &mut AppendItem, prepared: Prepared) {
    if prepared.without_origin {
        // Followers are not told either what is not stored.
        if item.metadata.origin != kernel::Origin::default() {
            Arc::make_mut(&mut item.metadata).origin = kernel::Origin::default();
        }
    }
    item.prepared = Some(prepared);
}

impl Drop for Appender {
    /// Without this, a connection that has gone silent would stay open until it answers.
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Appender {
    async fn append(
        &self,
        lease: Lease,
        batch: Uuid,
        columns: &Columns<'_>,
        now: DateTime<Utc>,
    ) -> Result<Appended, Error> {
        let events = columns.events();
        let mut parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            vec![&lease.shard.0, &lease.epoch, &events, &batch, &now];
        parameters.extend(columns.event_parameters());
        let statement = if columns.is_plain() {
            &self.events
        } else {
            parameters.extend(columns.other_parameters());
            &self.all
        };
        let row = self.client.query_one(statement, &parameters).await?;
        Ok(Appended { base: Position(unsigned(row.get(0))), recorded_at: row.get(1) })
    }
}

#[async_trait]
impl Journal for PgJournal {
    async fn acquire(&self, shard: ShardId, node: Uuid, ttl: Duration) -> Result<Option<Lease>, ReadError> {
        let row = self
            .client()
            .await?
            .query_opt(include_str!("sql/acquire.sql"), &[&shard.0, &node, &milliseconds(ttl)])
            .await
            .map_err(unavailable)?;
        Ok(row.map(|row| Lease { shard, epoch: row.get(0) }))
    }

    async fn renew(&self, lease: Lease, ttl: Duration) -> Result<bool, ReadError> {
        let row = self
            .client()
            .await?
            .query_opt(include_str!("sql/renew.sql"), &[&lease.shard.0, &lease.epoch, &milliseconds(ttl)])
            .await
            .map_err(unavailable)?;
        Ok(row.is_some())
    }

    async fn release(&self, lease: Lease) -> Result<(), ReadError> {
        self.client()
            .await?
            .execute(include_str!("sql/release.sql"), &[&lease.shard.0, &lease.epoch])
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    fn prepare(&self, item: &mut AppendItem) -> Result<bool, Refusal> {
        let unsealed = Unsealed::of(item, &self.codec).map_err(|error| unstorable(&error))?;
        let Some(held) = self.codec.in_hand(&unsealed.subjects()) else { return Ok(false) };
        let prepared = unsealed.seal(&held).map_err(|error| unstorable(&error))?;
        make_ready(item, prepared);
        Ok(true)
    }

    async fn prepare_slowly(&self, item: &mut AppendItem) -> Result<(), PrepareError> {
        let prepared = self.prepared(item).await?;
        make_ready(item, prepared);
        Ok(())
    }

    async fn append(
        &self,
        lease: Lease,
        batch: Uuid,
        items: &[AppendItem],
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        // What was handed over without being made ready, such as a refusal's answer.
        let mut made = Vec::new();
        for item in items.iter().filter(|item| item.prepared.is_none()) {
            made.push(self.prepared(item).await.map_err(|error| match error {
                PrepareError::Refused(refusal) => AppendError::Refused(refusal),
                PrepareError::Unavailable(reason) => AppendError::Unavailable(reason),
            })?);
        }
        let mut late = made.iter();
        let ready: Vec<&Prepared> =
            items.iter().filter_map(|item| item.prepared.as_ref().or_else(|| late.next())).collect();
        let columns = Columns::of(items, &ready, &self.codec);
        let mut slot = self.appender.lock().await;
        let appender = match slot.take() {
            Some(appender) if !appender.client.is_closed() => appender,
            _ => self.connect().await.map_err(|error| AppendError::Unavailable(reason(&error)))?,
        };
        // A batch of answers without events and outcomes needs no write: that the epoch still stands is all it asks.
        if columns.is_empty() {
            let answer = appender
                .client
                .query_one(
                    "SELECT epoch, last_position, last_recorded_at FROM journal_shard WHERE shard = $1",
                    &[&lease.shard.0],
                )
                .await;
            let row = answer.map_err(|error| AppendError::Unavailable(error.to_string()))?;
            *slot = Some(appender);
            if row.get::<_, i64>(0) != lease.epoch {
                return Err(AppendError::Fenced { shard: lease.shard, epoch: lease.epoch });
            }
            return Ok(Appended { base: Position(unsigned(row.get(1))), recorded_at: now });
        }
        match appender.append(lease, batch, &columns, now).await {
            Ok(appended) => {
                *slot = Some(appender);
                columns.keys.keys.iter().for_each(|key| key.became_durable());
                Ok(appended)
            }
            Err(error) => {
                let error = append_error(&error, lease, items);
                let keys = || columns.keys.keys.iter().map(|key| Arc::clone(key)).collect::<Vec<_>>();
                match &error {
                    AppendError::Unclear(_) => *self.unsettled() = keys(),
                    // Of several items it is not known whose key it is: they are tried again in parts.
                    AppendError::Refused(Refusal::KeyTaken) if items.len() == 1 => {
                        self.codec.discard(&keys())
                    }
                    _ => {}
                }
                // After an unclear end the connection is never used again: resolving happens on a new one.
                if !matches!(error, AppendError::Unclear(_)) {
                    *slot = Some(appender);
                }
                Err(error)
            }
        }
    }

    async fn resolve(&self, lease: Lease, batch: Uuid, events: u64) -> Result<Resolution, ReadError> {
        let mut slot = self.appender.lock().await;
        *slot = None;
        let appender = self.connect().await.map_err(unavailable)?;
        let row = appender
            .client
            .query_opt(include_str!("sql/resolve.sql"), &[&lease.shard.0, &lease.epoch])
            .await
            .map_err(unavailable)?;
        *slot = Some(appender);
        let unsettled = std::mem::take(&mut *self.unsettled());
        let Some(row) = row else { return Ok(Resolution::Lost) };
        let committed = row.get::<_, Option<Uuid>>(1) == Some(batch);
        if committed {
            unsettled.iter().for_each(|key| key.became_durable());
        }
        Ok(Resolution::Kept {
            lease: Lease { shard: lease.shard, epoch: row.get(0) },
            committed: committed
                .then(|| Appended { base: Position(unsigned(row.get(2)) - events), recorded_at: row.get(3) }),
        })
    }

    async fn load(&self, stream: &StreamId, snapshot_version: Option<u32>) -> Result<Loaded, ReadError> {
        let client = self.client().await?;
        let id = stream.id.hyphenated().to_string();
        let mut loaded = Loaded::default();
        if let Some(version) = snapshot_version {
            let statement =
                client.prepare_cached(include_str!("sql/load_snapshot.sql")).await.map_err(unavailable)?;
            let row = client
                .query_opt(
                    &statement,
                    &[&stream.aggregate_type, &id, &i32::try_from(version).unwrap_or(i32::MAX)],
                )
                .await
                .map_err(unavailable)?;
            if let Some(row) = row {
                loaded.snapshot = self.open_snapshot(stream, &row, version).await?;
            }
        }
        let after = loaded.snapshot.as_ref().map_or(0, |snapshot| signed(snapshot.sequence));
        let statement =
            client.prepare_cached(include_str!("sql/load_stream.sql")).await.map_err(unavailable)?;
        let rows =
            client.query(&statement, &[&stream.aggregate_type, &id, &after]).await.map_err(unavailable)?;
        // Not two connections at once: whoever waits for the second would hold the first.
        drop(client);
        loaded.tail = opened(&self.codec, stream, &rows).await?;
        Ok(loaded)
    }

    async fn page(
        &self,
        stream: &StreamId,
        after: u64,
        until: Position,
        limit: usize,
    ) -> Result<Vec<Envelope>, ReadError> {
        page(&self.pool, &self.codec, stream, after, until, limit).await
    }

    async fn streams(
        &self,
        aggregate_type: &'static str,
        after: Option<Uuid>,
        until: Position,
        limit: usize,
    ) -> Result<Vec<StreamId>, ReadError> {
        streams(&self.pool, aggregate_type, after, until, limit).await
    }

    async fn recorded_at(
        &self,
        shard: ShardId,
        position: Position,
    ) -> Result<Option<DateTime<Utc>>, FeedError> {
        recorded_at(&self.pool, shard, position).await
    }

    async fn outcome(&self, command: CommandId) -> Result<Option<StoredOutcome>, ReadError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(include_str!("sql/outcome.sql")).await.map_err(unavailable)?;
        let row = client.query_opt(&statement, &[&command.0]).await.map_err(unavailable)?;
        let Some(row) = row else { return Ok(None) };
        let corrupt = |reason: String| ReadError::Corrupt {
            stream: StreamId::new("command_outcome", command.0),
            sequence: 0,
            reason,
        };
        drop(client);
        let stored: &str = row.get(1);
        let held = self.held_for(stored).await?;
        let place = Place { kind: OUTCOME, of: OUTCOME, id: command.0, number: 0 };
        let body = self.codec.open(stored, &place, &held).map_err(|e| corrupt(e.to_string()))?;
        let body = serde_json::from_str(&body).map_err(|e| corrupt(e.to_string()))?;
        Ok(Some(StoredOutcome {
            fingerprint: row.get(0),
            body,
            shard: ShardId(row.get(2)),
            position: row.get::<_, Option<i64>>(3).map(|p| Position(unsigned(p))),
            recorded_at: row.get(4),
        }))
    }

    async fn expire_outcomes(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, ReadError> {
        let statement = include_str!("sql/expire_outcomes.sql");
        self.client().await?.execute(statement, &[&before, &i64::from(limit)]).await.map_err(unavailable)
    }

    async fn claim_holder(&self, claim: &kernel::Claim) -> Result<Option<StreamId>, ReadError> {
        let client = self.client().await?;
        let statement =
            client.prepare_cached(include_str!("sql/claim_holder.sql")).await.map_err(unavailable)?;
        let row = client
            .query_opt(&statement, &[&claim.kind, &self.codec.claim_hash(claim)])
            .await
            .map_err(unavailable)?;
        Ok(row.and_then(|row| {
            let id = row.get::<_, &str>(1).parse().ok()?;
            Some(StreamId { aggregate_type: row.get::<_, String>(0).into(), id })
        }))
    }

    async fn save_snapshot(
        &self,
        stream: &StreamId,
        snapshot: Snapshot,
        now: DateTime<Utc>,
    ) -> Result<(), ReadError> {
        let state = self.sealed_snapshot(stream, &snapshot).await?;
        let client = self.client().await?;
        let statement =
            client.prepare_cached(include_str!("sql/save_snapshot.sql")).await.map_err(unavailable)?;
        client
            .execute(
                &statement,
                &[
                    &stream.aggregate_type,
                    &stream.id.hyphenated().to_string(),
                    &i32::try_from(snapshot.version).unwrap_or(i32::MAX),
                    &signed(snapshot.sequence),
                    &snapshot.event_id.0,
                    &state,
                    &now,
                ],
            )
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    async fn read(&self, shard: ShardId, after: Position, limit: usize) -> Result<Vec<Envelope>, FeedError> {
        let read = read_journal(&self.pool, &self.codec, shard, after, limit, Interest::All).await?;
        Ok(read.events.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    async fn head(&self, shard: ShardId) -> Result<Position, FeedError> {
        journal_head(&self.pool, shard).await
    }
}

impl PgJournal {
    /// A snapshot that can't be read is no snapshot: the events are the truth.
    async fn open_snapshot(
        &self,
        stream: &StreamId,
        row: &tokio_postgres::Row,
        version: u32,
    ) -> Result<Option<Snapshot>, ReadError> {
        let stored: &str = row.get(2);
        let held = self.held_for(stored).await?;
        let sequence = unsigned(row.get(0));
        let opened = self.codec.open(stored, &snapshot_place(stream, sequence), &held).ok();
        let state = opened.and_then(|state| serde_json::from_str(&state).ok());
        let event_id = EventId(row.get(1));
        Ok(state.map(|state| Snapshot { version, sequence, event_id, state }))
    }

    async fn sealed_snapshot(&self, stream: &StreamId, snapshot: &Snapshot) -> Result<String, ReadError> {
        let failed = |error: CodecError| ReadError::Unavailable(error.to_string());
        let state = self.codec.clear(snapshot.state.to_string()).map_err(failed)?;
        let held = self.codec.for_opening(Clear::subjects([&state])).await;
        let held = held.map_err(|error| ReadError::Unavailable(error.to_string()))?;
        let mut new_keys = Vec::new();
        let place = snapshot_place(stream, snapshot.sequence);
        let text = state.sealed(&place, &held, &mut new_keys).map_err(failed)?;
        // Nothing is sealed under a key that could be lost; whose key is new has few events to fold.
        if !new_keys.is_empty() {
            return Err(ReadError::Unavailable("a key is not durable yet".to_owned()));
        }
        Ok(text)
    }

    async fn held_for(&self, document: &str) -> Result<Held, ReadError> {
        // A field that says of nobody shows when it is opened.
        let subjects = self.codec.subjects([document]).unwrap_or_default();
        self.codec.for_opening(subjects).await.map_err(|error| ReadError::Unavailable(error.to_string()))
    }

    fn unsettled(&self) -> std::sync::MutexGuard<'_, Vec<Arc<DataKey>>> {
        self.unsettled.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn snapshot_place(stream: &StreamId, sequence: u64) -> Place<'_> {
    Place { kind: SNAPSHOT, of: &stream.aggregate_type, id: stream.id, number: u128::from(sequence) }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn unavailable(error: Error) -> ReadError {
    ReadError::Unavailable(error.to_string())
}

/// Why PostgreSQL can't be had, with its code if it said so itself.
fn reason(error: &Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |refusal| format!("SQLSTATE {}: {}", refusal.code().code(), refusal.message()),
    )
}
