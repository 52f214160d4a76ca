//! A journal in memory, for unit tests and simulation only: it forgets everything and says so by its name.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use kernel::{ClaimChange, CommandId, Envelope, Position, ShardId, StreamId};
use uuid::Uuid;

use super::{
    AppendError, AppendItem, Appended, Journal, Lease, Loaded, ReadError, Refusal, Resolution, Sent,
    Snapshot, StoredOutcome, envelopes,
};
use crate::feed::FeedError;

/// What can go wrong on demand, once, with the next append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The batch commits but the answer is lost.
    AnswerLost,
    /// The connection breaks before the batch commits.
    NeverCommitted,
    /// The database refuses the batch for a reason of its own.
    Unavailable,
    /// Two transactions were in each other's way.
    Deadlock,
    /// This one goes well.
    None,
}

/// A journal in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    shards: Mutex<HashMap<ShardId, Shard>>,
    faults: Mutex<VecDeque<Fault>>,
    commits: Arc<tokio::sync::Mutex<()>>,
    begun: AtomicUsize,
    snapshots_kept: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    epoch: i64,
    owner: Option<Uuid>,
    last_batch: Option<Uuid>,
    last_recorded_at: DateTime<Utc>,
    events: Vec<Envelope>,
    lengths: HashMap<StreamId, u64>,
    claims: HashMap<(String, String), StreamId>,
    outcomes: HashMap<CommandId, StoredOutcome>,
    snapshots: HashMap<StreamId, Snapshot>,
}

impl MemoryJournal {
    /// Lets the next append fail; several faults strike one append each, in order.
    pub fn inject(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// Lets no append go on, and no snapshot be kept, until the guard is dropped.
    pub async fn hold(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.commits.clone().lock_owned().await
    }

    /// How many appends were begun, held ones among them.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many snapshots were handed to it and taken.
    pub fn snapshots_kept(&self) -> usize {
        self.snapshots_kept.load(Ordering::SeqCst)
    }

    /// As if another node had taken the shard: every lease given out so far is fenced.
    pub fn usurp(&self, shard: ShardId) {
        let mut shards = self.lock();
        let shard = shards.entry(shard).or_default();
        shard.epoch += 1;
        shard.owner = None;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShardId, Shard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn check(&self, items: &[AppendItem]) -> Result<(), Refusal> {
        let mut lengths = HashMap::new();
        // As in one statement of SQL every change sees the rows that stood before it: what the same batch frees can't
        // be taken in it.
        let mut taken = std::collections::HashSet::new();
        let mut answered = std::collections::HashSet::new();
        let key = |claim: &kernel::Claim| (claim.kind.to_owned(), claim.value.clone());
        for item in items {
            let length = lengths
                .entry(&item.stream)
                .or_insert_with(|| self.lengths.get(&item.stream).copied().unwrap_or_default());
            for event in &item.events {
                if event.sequence <= *length {
                    return Err(Refusal::Sequence);
                }
                *length = event.sequence;
            }
            for change in &item.claims {
                if let ClaimChange::Take(claim) = change
                    && (self.claims.contains_key(&key(claim)) || !taken.insert(key(claim)))
                {
                    return Err(Refusal::Claim { kind: claim.kind.to_owned() });
                }
            }
            if let Some(outcome) = &item.outcome
                && (self.outcomes.contains_key(&outcome.command_id) || !answered.insert(outcome.command_id))
            {
                return Err(Refusal::DuplicateCommand);
            }
        }
        Ok(())
    }

    fn write(&mut self, shard: ShardId, batch: Uuid, items: &[AppendItem], now: DateTime<Utc>) -> Appended {
        let base = Position(self.events.len() as u64);
        let recorded_at = now.max(self.last_recorded_at);
        (self.last_batch, self.last_recorded_at) = (Some(batch), recorded_at);
        let changes = |item: &AppendItem| item.claims.clone();
        for item in items {
            for change in changes(item) {
                if let ClaimChange::Free(claim) = change {
                    let key = (claim.kind.to_owned(), claim.value);
                    if self.claims.get(&key) == Some(&item.stream) {
                        self.claims.remove(&key);
                    }
                }
            }
        }
        for item in items {
            for change in changes(item) {
                if let ClaimChange::Take(claim) = change {
                    self.claims.insert((claim.kind.to_owned(), claim.value), item.stream.clone());
                }
            }
            let first = Position(self.events.len() as u64 + 1);
            let made: Vec<Envelope> = envelopes(item.clone(), shard, first, recorded_at).collect();
            if let Some(last) = made.last() {
                self.lengths.insert(item.stream.clone(), last.sequence);
            }
            if let Some(outcome) = &item.outcome {
                self.outcomes.insert(
                    outcome.command_id,
                    StoredOutcome {
                        fingerprint: outcome.fingerprint.to_vec(),
                        body: outcome.body.clone(),
                        shard,
                        position: made.last().map(|event| event.position),
                        recorded_at,
                    },
                );
            }
            self.events.extend(made);
        }
        Appended { base, recorded_at }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn acquire(&self, shard: ShardId, node: Uuid, _ttl: Duration) -> Result<Option<Lease>, ReadError> {
        let mut shards = self.lock();
        let state = shards.entry(shard).or_default();
        if state.owner.is_some_and(|owner| owner != node) {
            return Ok(None);
        }
        state.owner = Some(node);
        state.epoch += 1;
        Ok(Some(Lease { shard, epoch: state.epoch }))
    }

    async fn renew(&self, lease: Lease, _ttl: Duration) -> Result<bool, ReadError> {
        Ok(self.lock().get(&lease.shard).is_some_and(|shard| shard.epoch == lease.epoch))
    }

    async fn release(&self, lease: Lease) -> Result<(), ReadError> {
        if let Some(shard) = self.lock().get_mut(&lease.shard)
            && shard.epoch == lease.epoch
        {
            shard.owner = None;
        }
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
        self.begun.fetch_add(1, Ordering::SeqCst);
        // As over one connection: in the order in which they were sent.
        let _turn = self.commits.lock().await;
        // A real journal takes its time: let others queue meanwhile.
        tokio::task::yield_now().await;
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match fault {
            Some(Fault::NeverCommitted) => return Err(AppendError::Unclear("injected".into())),
            Some(Fault::Unavailable) => return Err(AppendError::Unavailable("injected".into())),
            Some(Fault::Deadlock) => return Err(AppendError::Repeat),
            Some(Fault::AnswerLost | Fault::None) | None => {}
        }
        let mut shards = self.lock();
        let shard = shards.entry(lease.shard).or_default();
        if shard.epoch != lease.epoch {
            return Err(AppendError::Fenced { shard: lease.shard, epoch: lease.epoch });
        }
        if after.is_some() && shard.last_batch != after {
            return Err(AppendError::OutOfOrder);
        }
        shard.check(items).map_err(AppendError::Refused)?;
        let writes = items
            .iter()
            .any(|item| !item.events.is_empty() || item.outcome.is_some() || !item.claims.is_empty());
        let appended = if writes {
            shard.write(lease.shard, batch, items, now)
        } else {
            Appended { base: Position(shard.events.len() as u64), recorded_at: now }
        };
        if fault == Some(Fault::AnswerLost) {
            return Err(AppendError::Unclear("injected".into()));
        }
        Ok(appended)
    }

    async fn resolve(&self, lease: Lease, sent: &[Sent]) -> Result<Resolution, ReadError> {
        let mut shards = self.lock();
        let shard = shards.entry(lease.shard).or_default();
        if shard.epoch != lease.epoch {
            return Ok(Resolution::Lost);
        }
        shard.epoch += 1;
        let written =
            sent.iter().rposition(|sent| shard.last_batch == Some(sent.batch)).map_or(0, |last| last + 1);
        let mut end = shard.events.len() as u64;
        let mut recorded_at = shard.last_recorded_at;
        let mut committed = Vec::new();
        for sent in sent[..written].iter().rev() {
            let base = Position(end - sent.events);
            committed.insert(0, Appended { base, recorded_at });
            end = base.0;
            if let Some(before) = usize::try_from(end).ok().and_then(|end| shard.events[..end].last()) {
                recorded_at = before.recorded_at;
            }
        }
        Ok(Resolution::Kept { lease: Lease { shard: lease.shard, epoch: shard.epoch }, committed })
    }

    async fn load(&self, stream: &StreamId, snapshot_version: Option<u32>) -> Result<Loaded, ReadError> {
        let shards = self.lock();
        let Some(shard) = shards.values().find(|shard| shard.lengths.contains_key(stream)) else {
            return Ok(Loaded::default());
        };
        let snapshot = shard.snapshots.get(stream).filter(|s| Some(s.version) == snapshot_version).cloned();
        let after = snapshot.as_ref().map_or(0, |s| s.sequence);
        let tail =
            shard.events.iter().filter(|e| e.stream == *stream && e.sequence > after).cloned().collect();
        Ok(Loaded { snapshot, tail })
    }

    async fn outcome(&self, command: CommandId) -> Result<Option<StoredOutcome>, ReadError> {
        Ok(self.lock().values().find_map(|shard| shard.outcomes.get(&command).cloned()))
    }

    async fn expire_outcomes(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, ReadError> {
        let mut shards = self.lock();
        let mut left = limit;
        let mut expire = |outcome: &StoredOutcome| {
            let expired = outcome.recorded_at < before && left > 0;
            left -= u32::from(expired);
            !expired
        };
        shards.values_mut().for_each(|shard| shard.outcomes.retain(|_, outcome| expire(outcome)));
        Ok(u64::from(limit - left))
    }

    async fn claim_holder(&self, claim: &kernel::Claim) -> Result<Option<StreamId>, ReadError> {
        let key = (claim.kind.to_owned(), claim.value.clone());
        Ok(self.lock().values().find_map(|shard| shard.claims.get(&key).cloned()))
    }

    async fn save_snapshots(
        &self,
        snapshots: &[(StreamId, Snapshot)],
        _: DateTime<Utc>,
    ) -> Result<u64, ReadError> {
        let _turn = self.commits.lock().await;
        self.snapshots_kept.fetch_add(snapshots.len(), Ordering::SeqCst);
        let mut shards = self.lock();
        for (stream, snapshot) in snapshots {
            let Some(shard) = shards.values_mut().find(|shard| shard.lengths.contains_key(stream)) else {
                continue;
            };
            let newer = shard
                .snapshots
                .get(stream)
                .is_none_or(|old| old.sequence < snapshot.sequence || old.version != snapshot.version);
            if newer {
                shard.snapshots.insert(stream.clone(), snapshot.clone());
            }
        }
        Ok(snapshots.len() as u64)
    }

    async fn read(&self, shard: ShardId, after: Position, limit: usize) -> Result<Vec<Envelope>, FeedError> {
        let shards = self.lock();
        let Some(shard) = shards.get(&shard) else { return Ok(Vec::new()) };
        let from = usize::try_from(after.0).unwrap_or(usize::MAX).min(shard.events.len());
        Ok(shard.events[from..].iter().take(limit).cloned().collect())
    }

    async fn head(&self, shard: ShardId) -> Result<Position, FeedError> {
        Ok(Position(self.lock().get(&shard).map_or(0, |shard| shard.events.len() as u64)))
    }
}
