//! The journal in PostgreSQL.
//!
//! Appends go over one connection of their own, in order, also those that don't wait for the answer to the one before;
//! reads go through the pool. A broken append connection is opened anew by [`PgJournal::resolve`] or by the next append
//! that names none before it, never silently between two that belong together.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use kernel::{CommandId, Envelope, EventId, Position, ShardId, StreamId};
use tokio::sync::Mutex;
use tokio_postgres::{Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::appender::Appender;
use super::postgres_feed::{journal_head, read_journal};
use super::postgres_history::{opened, page, recorded_at, streams};
use super::snapshots::{Sealed, SnapshotColumns};
use super::statement::{Columns, OUTCOME, SNAPSHOT, Unsealed, signed, unsigned};
use super::trouble::append_error;
use super::unsettled::UnsettledKeys;
use super::{
    AppendError, AppendItem, Appended, Journal, Lease, Loaded, PrepareError, Prepared, ReadError, Refusal,
    Resolution, Sent, Snapshot, StoredOutcome,
};
use crate::codec::{Clear, Codec, CodecError, Place};
use crate::database::{DatabaseError, prepared, tls};
use crate::feed::{FeedError, Interest};
use crate::keyring::Held;

/// A journal in PostgreSQL; give each shard's writer one of its own.
pub struct PgJournal {
    config: Config,
    tls: MakeRustlsConnect,
    pool: Pool,
    codec: Codec,
    /// Locked until an append is sent, so that they are sent in the order in which they came.
    appender: Mutex<Option<Arc<Appender>>>,
    unsettled: UnsettledKeys,
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
            unsettled: UnsettledKeys::default(),
        })
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
        after: Option<Uuid>,
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
        let columns = Columns::of(items, &ready, &self.codec, &self.unsettled.of(after));
        let mut slot = self.appender.lock().await;
        let appender = match &*slot {
            Some(appender) if !appender.client.is_closed() => Arc::clone(appender),
            // The batch before it went over the connection that is no more.
            _ if after.is_some() => return Err(AppendError::OutOfOrder),
            _ => {
                *slot = None;
                let opened = Appender::open(&self.config, &self.tls).await;
                let opened = opened.map_err(|error| AppendError::Unavailable(reason(&error)))?;
                Arc::clone(slot.insert(Arc::new(opened)))
            }
        };
        let brings: Vec<_> = columns.keys.keys.iter().map(|key| Arc::clone(key)).collect();
        self.unsettled.begin(batch, after, &brings);
        let mut appending = pin!(async {
            // A batch of answers without events and outcomes needs no write: that the epoch still stands is all it asks.
            if columns.is_empty() {
                appender.still_owned(lease, after, now).await
            } else {
                let appended = appender.append(lease, batch, after, &columns, now).await;
                appended.map_err(|error| append_error(&error, lease, items))
            }
        });
        // It is sent now; the next one may be sent behind it.
        let sent = futures::poll!(appending.as_mut());
        drop(slot);
        let appended = match sent {
            Poll::Ready(appended) => appended,
            Poll::Pending => appending.await,
        };
        match &appended {
            Ok(_) => self.unsettled.settle(batch, true),
            // Whether its keys are durable is settled with it, on a new connection.
            Err(AppendError::Unclear(_)) => self.give_up(&appender).await,
            Err(error) => {
                self.unsettled.settle(batch, false);
                // Of several items it is not known whose key it is: they are tried again in parts.
                if items.len() == 1 && matches!(error, AppendError::Refused(Refusal::KeyTaken)) {
                    self.codec.discard(&brings);
                }
            }
        }
        appended
    }

    async fn resolve(&self, lease: Lease, sent: &[Sent]) -> Result<Resolution, ReadError> {
        let mut slot = self.appender.lock().await;
        *slot = None;
        let appender = Appender::open(&self.config, &self.tls).await.map_err(unavailable)?;
        let row = appender
            .client
            .query_opt(include_str!("sql/resolve.sql"), &[&lease.shard.0, &lease.epoch])
            .await
            .map_err(unavailable)?;
        let appender = slot.insert(Arc::new(appender));
        let Some(row) = row else {
            return Ok(Resolution::Lost);
        };
        let last: Option<Uuid> = row.get(1);
        let written = sent.iter().position(|sent| Some(sent.batch) == last).map_or(0, |place| place + 1);
        let (mut end, mut recorded_at) = (unsigned(row.get(2)), row.get(3));
        let mut committed = Vec::with_capacity(written);
        for (place, sent) in sent[..written].iter().enumerate().rev() {
            let base = Position(end - sent.events);
            committed.push(Appended { base, recorded_at });
            end = base.0;
            if place > 0 {
                let sql = "SELECT recorded_at FROM events WHERE shard = $1 AND position = $2";
                let row = appender.client.query_one(sql, &[&lease.shard.0, &signed(end)]).await;
                recorded_at = row.map_err(unavailable)?.get(0);
            }
        }
        committed.reverse();
        for (place, sent) in sent.iter().enumerate() {
            self.unsettled.settle(sent.batch, place < written);
        }
        Ok(Resolution::Kept { lease: Lease { shard: lease.shard, epoch: row.get(0) }, committed })
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

    async fn save_snapshots(
        &self,
        snapshots: &[(StreamId, Snapshot)],
        now: DateTime<Utc>,
    ) -> Result<u64, ReadError> {
        let sealed = self.sealed_snapshots(snapshots).await?;
        let columns = SnapshotColumns::of(&sealed);
        let client = self.client().await?;
        let statement =
            client.prepare_cached(include_str!("sql/save_snapshots.sql")).await.map_err(unavailable)?;
        client.execute(&statement, &columns.parameters(&now)).await.map_err(unavailable)?;
        Ok(sealed.len() as u64)
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

    /// The newest of each stream's, in the order of streams, with its state as it is stored. Those that can't be sealed now
    /// are left out.
    async fn sealed_snapshots<'s>(
        &self,
        snapshots: &'s [(StreamId, Snapshot)],
    ) -> Result<Vec<Sealed<'s>>, ReadError> {
        let mut newest: BTreeMap<&StreamId, (&Snapshot, Clear<'static>)> = BTreeMap::new();
        for (stream, snapshot) in snapshots {
            if let Ok(state) = self.codec.clear(snapshot.state.to_string())
                && newest.get(stream).is_none_or(|(known, _)| known.sequence < snapshot.sequence)
            {
                newest.insert(stream, (snapshot, state));
            }
        }
        let held = self.codec.for_opening(Clear::subjects(newest.values().map(|(_, state)| state))).await;
        let held = held.map_err(|error| ReadError::Unavailable(error.to_string()))?;
        let sealed = newest.into_iter().filter_map(|(stream, (snapshot, state))| {
            let mut new_keys = Vec::new();
            let place = snapshot_place(stream, snapshot.sequence);
            let state = state.sealed(&place, &held, &mut new_keys).ok()?;
            // Nothing is sealed under a key that could be lost; whose key is new has few events to fold.
            new_keys.is_empty().then_some(Sealed { stream, snapshot, state })
        });
        Ok(sealed.collect())
    }

    async fn held_for(&self, document: &str) -> Result<Held, ReadError> {
        // A field that says of nobody shows when it is opened.
        let subjects = self.codec.subjects([document]).unwrap_or_default();
        self.codec.for_opening(subjects).await.map_err(|error| ReadError::Unavailable(error.to_string()))
    }

    /// After an unclear end a connection is never used again: resolving happens on a new one.
    async fn give_up(&self, appender: &Arc<Appender>) {
        let mut slot = self.appender.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, appender)) {
            *slot = None;
        }
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
