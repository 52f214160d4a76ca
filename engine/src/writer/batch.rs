//! From what has gathered to transactions: what may stand in one batch, and which item spoiled it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use kernel::{Claim, ClaimChange, Position, StreamId};
use serde_json::json;
use tokio::time::Instant;

use super::teller::Committed;
use super::waiting::{Turn, Waiting};
use super::{AppendFailure, Asker, Queued, Writer};
use crate::journal::{AppendError, AppendItem, Appended, NewOutcome, Refusal};

/// Deadlocks in a row before the batch is given up.
const REPEATS_MAX: u32 = 8;

/// Where a command's events stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The last of its events, if it made any.
    pub position: Option<Position>,
    pub recorded_at: DateTime<Utc>,
}

impl Writer {
    /// Appends what of the waiting may stand in the next transaction.
    pub(super) async fn write(&mut self, waiting: &mut Waiting) {
        let batch = self.next_batch(waiting);
        if !batch.is_empty() {
            metrics::histogram!(crate::telemetry::JOURNAL_BATCH_ITEMS).record(batch.len() as f64);
            self.commit(batch).await;
        }
    }

    /// How much of the next batch one tenant may have: all of it, unless others want some, or did a moment ago.
    fn share(&mut self, waiting: &Waiting) -> usize {
        let now = Instant::now();
        if waiting.are_several() {
            self.shared_at = Some(now);
        }
        let is_shared = self.shared_at.is_some_and(|then| now.duration_since(then) < self.config.shares_last);
        if is_shared { self.config.batch_tenant_items_max } else { self.config.batch_items_max }
    }

    /// Takes what may stand in one transaction: of each tenant its share, up to the first item that must wait for the next.
    fn next_batch(&mut self, waiting: &mut Waiting) -> Vec<Queued> {
        let mut batch = Vec::new();
        let mut ends: HashMap<StreamId, u64> = HashMap::new();
        let mut changed: HashSet<Claim> = HashSet::new();
        let share = self.share(waiting);
        waiting.each(share, |queued| {
            if batch.len() >= self.config.batch_items_max {
                return Turn::Later(queued);
            }
            if self.lease.is_none() || !self.trusts(&queued) {
                queued.incarnation.poison();
                refuse(queued, AppendFailure::Superseded);
                return Turn::Dropped;
            }
            // A name that changes twice needs two transactions: within one, both changes see the rows that stood before
            // it. What was freed could not be taken, and what was taken would stay taken.
            if queued.item.claims.iter().any(|change| changed.contains(change.claim())) {
                return Turn::Later(queued);
            }
            // A unique key forbids duplicates, not gaps: those are looked for here.
            let end = ends.get(&queued.item.stream).copied().unwrap_or_else(|| queued.incarnation.durable());
            let contiguous =
                queued.item.events.iter().zip(end + 1..).all(|(event, place)| event.sequence == place);
            if !contiguous {
                queued.incarnation.poison();
                refuse(queued, AppendFailure::Refused(Refusal::Sequence));
                return Turn::Dropped;
            }
            if let Some(last) = queued.item.events.last() {
                ends.insert(queued.item.stream.clone(), last.sequence);
            }
            changed.extend(queued.item.claims.iter().map(|change| change.claim().clone()));
            batch.push(queued);
            Turn::Taken
        });
        batch
    }

    /// Commits a batch; halves it again and again if an item spoils it, left before right, so that order is kept.
    async fn commit(&mut self, batch: Vec<Queued>) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let spoiled = |queued: &Queued| queued.incarnation.is_poisoned() || self.lease.is_none();
            for queued in part.extract_if(.., |queued| spoiled(queued)).collect::<Vec<_>>() {
                refuse(queued, AppendFailure::Superseded);
            }
            if part.is_empty() {
                continue;
            }
            let (items, rest) = split(part);
            match self.append(&items).await {
                Ok(appended) => self.answer(items, rest, appended),
                Err(AppendFailure::Refused(refusal)) if items.len() == 1 => {
                    self.refuse_one(items, rest, refusal).await;
                }
                Err(AppendFailure::Refused(_)) => {
                    let mut left = join(items, rest);
                    let right = left.split_off(left.len() / 2);
                    parts.push(right);
                    parts.push(left);
                }
                Err(failure) => {
                    for queued in join(items, rest) {
                        queued.incarnation.poison();
                        refuse(queued, failure.clone());
                    }
                }
            }
        }
    }

    /// One transaction, repeated after deadlocks, settled if it ends unclear.
    async fn append(&mut self, items: &[AppendItem]) -> Result<Appended, AppendFailure> {
        let mut repeats = 0;
        loop {
            let Some(lease) = self.lease else { return Err(AppendFailure::Superseded) };
            let batch = self.ids.fresh();
            let started = Instant::now();
            let appending = self.journal.append(lease, batch, items, self.clock.now());
            let result = tokio::time::timeout(self.config.answer_max, appending)
                .await
                .unwrap_or_else(|_| Err(AppendError::Unclear("no answer in time".to_owned())));
            metrics::histogram!(crate::telemetry::JOURNAL_COMMIT_SECONDS)
                .record(started.elapsed().as_secs_f64());
            match result {
                Ok(appended) => {
                    self.complain.send_if_modified(|trouble| trouble.take().is_some());
                    return Ok(appended);
                }
                Err(AppendError::Refused(refusal)) => return Err(AppendFailure::Refused(refusal)),
                Err(AppendError::Repeat) if repeats < REPEATS_MAX => repeats += 1,
                Err(AppendError::Repeat) => return Err(AppendFailure::Unavailable("deadlock")),
                Err(AppendError::Unavailable(reason)) => {
                    tracing::error!(
                        reason,
                        "the journal can't be written; commands are refused until it can"
                    );
                    self.complain.send_replace(Some(reason));
                    return Err(AppendFailure::Unavailable("database"));
                }
                Err(AppendError::Fenced { shard, epoch }) => {
                    tracing::error!(
                        shard = shard.0,
                        epoch,
                        "fenced: another node owns the shard; all memory is dropped"
                    );
                    self.lose();
                    return Err(AppendFailure::Unavailable("not_owner"));
                }
                Err(AppendError::Unclear(reason)) => {
                    tracing::warn!(reason, "the outcome of a commit is unclear; settling it");
                    let events = items.iter().map(|item| item.events.len() as u64).sum();
                    if let Some(appended) = self.settle(lease, batch, events).await? {
                        return Ok(appended);
                    }
                    // It never happened and never will: the same batch goes out again under the new epoch.
                }
            }
        }
    }

    /// Takes note of what is durable now; the teller answers.
    fn answer(&self, items: Vec<AppendItem>, rest: Vec<Rest>, appended: Appended) {
        let Appended { base, recorded_at } = appended;
        let mut last = base;
        let mut answers = Vec::with_capacity(rest.len());
        for (item, rest) in items.iter().zip(rest) {
            last = Position(last.0 + item.events.len() as u64);
            if let Some(event) = item.events.last() {
                rest.incarnation.is_durable_to(event.sequence);
                if rest.incarnation.is_poisoned() {
                    // It was given up during the commit: whoever loaded the stream since may have missed this event.
                    self.doubts.of(&item.stream).fetch_add(1, Ordering::AcqRel);
                }
            }
            let position = (!item.events.is_empty()).then_some(last);
            answers.push((rest.asker, Answer { position, recorded_at }));
        }
        metrics::gauge!(crate::telemetry::JOURNAL_POSITION).set(last.0 as f64);
        self.teller.hand_over(Committed { items, answers, first: base.next(), recorded_at });
    }

    /// Refuses the one item that spoiled its batch. That a name was taken is an answer, and is stored like one.
    async fn refuse_one(&mut self, mut items: Vec<AppendItem>, rest: Vec<Rest>, mut refusal: Refusal) {
        for rest in &rest {
            rest.incarnation.poison();
        }
        if let (Refusal::Claim { kind }, Some(item)) = (&mut refusal, items.pop()) {
            self.name_the_taken(&item, kind).await;
            if let Some(outcome) = item.outcome {
                let body = json!({ "claim_taken": kind });
                let outcome = Some(NewOutcome { body, ..outcome });
                let answer = AppendItem { events: vec![], claims: vec![], outcome, prepared: None, ..item };
                if let Err(failure) = Box::pin(self.append(&[answer])).await {
                    // An answer that a retry could contradict is none.
                    tracing::warn!(failure = %failure, "a refusal could not be stored; nobody hears it");
                    for rest in rest {
                        rest.asker.tell(Err(failure.clone()));
                    }
                    return;
                }
            }
        }
        for rest in rest {
            rest.asker.tell(Err(AppendFailure::Refused(refusal.clone())));
        }
    }

    /// Of several names that a command wanted, the one that another stream holds.
    async fn name_the_taken(&self, item: &AppendItem, kind: &mut String) {
        let wanted: Vec<_> = item
            .claims
            .iter()
            .filter_map(|change| match change {
                ClaimChange::Take(claim) => Some(claim),
                ClaimChange::Free(_) => None,
            })
            .collect();
        if wanted.len() < 2 {
            return;
        }
        for claim in wanted {
            // If that can't be asked now, the first of them stands for all.
            if let Ok(Some(holder)) = self.journal.claim_holder(claim).await
                && holder != item.stream
            {
                claim.kind.clone_into(kind);
                return;
            }
        }
    }
}

/// What stays with the writer while the items are in the journal's hands.
struct Rest {
    incarnation: Arc<super::Incarnation>,
    asker: Asker,
}

fn split(batch: Vec<Queued>) -> (Vec<AppendItem>, Vec<Rest>) {
    batch.into_iter().map(|Queued { item, incarnation, asker }| (item, Rest { incarnation, asker })).unzip()
}

fn join(items: Vec<AppendItem>, rest: Vec<Rest>) -> Vec<Queued> {
    items
        .into_iter()
        .zip(rest)
        .map(|(item, Rest { incarnation, asker })| Queued { item, incarnation, asker })
        .collect()
}

pub(super) fn refuse(queued: Queued, failure: AppendFailure) {
    queued.asker.tell(Err(failure));
}
