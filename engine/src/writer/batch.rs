//! From what has gathered to transactions: what may stand in one batch, and which item spoiled it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::{Claim, ClaimChange, Position};
use serde_json::json;
use tokio::time::Instant;

use super::flight::{Ends, Flight, Flights, Rest, join, split, taken};
use super::teller::Committed;
use super::waiting::{Turn, Waiting};
use super::{AppendFailure, Queued, Writer};
use crate::journal::{AppendError, AppendItem, Appended, NewOutcome, Refusal, Sent};

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
    /// Sends what of the waiting may stand in the next transaction, behind the batch that is under way if one is.
    pub(super) fn send(&mut self, waiting: &mut Waiting, flights: &mut Flights) {
        let before = flights.only();
        let after = before.map(|flight| flight.sent.batch);
        let (batch, ends) = self.next_batch(waiting, before.map(|flight| &flight.ends));
        let Some(lease) = self.lease.filter(|_| !batch.is_empty()) else { return };
        metrics::histogram!(crate::telemetry::JOURNAL_BATCH_ITEMS).record(batch.len() as f64);
        let (items, rest) = split(batch);
        let sent = self.sent(&items);
        let items = Arc::new(items);
        let flight = Flight { lease, sent, started: Instant::now(), ends, items: Arc::clone(&items), rest };
        let (journal, now, answer_max) =
            (Arc::clone(&self.journal), self.clock.now(), self.config.answer_max);
        let answer = async move {
            let appending = journal.append(lease, sent.batch, after, &items, now);
            in_time(answer_max, appending).await
        };
        flights.launch(flight, Box::pin(answer));
    }

    /// What becomes of a batch that was answered, and of the one behind it if it failed.
    pub(super) async fn land(
        &mut self,
        flight: Flight,
        answer: Result<Appended, AppendError>,
        flights: &mut Flights,
    ) {
        took(flight.started);
        let error = match answer {
            Ok(appended) => {
                self.complain.send_if_modified(|trouble| trouble.take().is_some());
                return self.answer(taken(flight.items), flight.rest, appended);
            }
            Err(error) => error,
        };
        let lease = flight.lease;
        let mut under_way = flights.recall();
        under_way.push_front(flight);
        // Behind a batch that is known not to be written nothing is written either. Of one that ended unclear, nor is it
        // known of what was sent behind it.
        let failure = if let AppendError::Unclear(reason) = error {
            let sent: Vec<Sent> = under_way.iter().map(|flight| flight.sent).collect();
            match self.settle(lease, &sent, &reason).await {
                Ok(committed) => {
                    for appended in committed {
                        let Some(flight) = under_way.pop_front() else { break };
                        self.answer(taken(flight.items), flight.rest, appended);
                    }
                    None
                }
                Err(failure) => return refuse_all(batches(under_way).flatten(), &failure),
            }
        } else {
            self.failure(error, &mut 0)
        };
        self.commit(batches(under_way).rev().collect(), failure).await;
    }

    /// Waits until nothing is under way.
    pub(super) async fn land_all(&mut self, flights: &mut Flights) {
        while !flights.is_empty() {
            let (flight, answer) = flights.landed().await;
            self.land(flight, answer, flights).await;
        }
    }

    /// A batch of these items, under a name that no other has.
    fn sent(&self, items: &[AppendItem]) -> Sent {
        Sent { batch: self.ids.fresh(), events: items.iter().map(|item| item.events.len() as u64).sum() }
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
    /// `before`: how far the batch that is under way takes its streams.
    fn next_batch(&mut self, waiting: &mut Waiting, before: Option<&Ends>) -> (Vec<Queued>, Ends) {
        let mut batch = Vec::new();
        let mut ends = Ends::new();
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
            let under_way = before.and_then(|before| before.get(&queued.item.stream));
            // Another life of the aggregate is being committed: whether this one knows of that shows when it is durable.
            if under_way.is_some_and(|(_, life)| !Arc::ptr_eq(life, &queued.incarnation)) {
                return Turn::Later(queued);
            }
            // A unique key forbids duplicates, not gaps: those are looked for here.
            let known = ends.get(&queued.item.stream).or(under_way);
            let end = known.map_or_else(|| queued.incarnation.durable(), |(end, _)| *end);
            let contiguous =
                queued.item.events.iter().zip(end + 1..).all(|(event, place)| event.sequence == place);
            if !contiguous {
                queued.incarnation.poison();
                refuse(queued, AppendFailure::Refused(Refusal::Sequence));
                return Turn::Dropped;
            }
            if let Some(last) = queued.item.events.last() {
                let end = (last.sequence, Arc::clone(&queued.incarnation));
                ends.insert(queued.item.stream.clone(), end);
            }
            changed.extend(queued.item.claims.iter().map(|change| change.claim().clone()));
            batch.push(queued);
            Turn::Taken
        });
        (batch, ends)
    }

    /// Commits batches one by one, the last one first; halves each again and again if an item spoils it, left before
    /// right, so that order is kept. `failure`: why the first could not be written, if it was tried already.
    async fn commit(&mut self, mut parts: Vec<Vec<Queued>>, mut failure: Option<AppendFailure>) {
        while let Some(mut part) = parts.pop() {
            let spoiled = |queued: &Queued| queued.incarnation.is_poisoned() || self.lease.is_none();
            // What was tried is judged as it was tried.
            if failure.is_none() {
                for queued in part.extract_if(.., |queued| spoiled(queued)).collect::<Vec<_>>() {
                    refuse(queued, AppendFailure::Superseded);
                }
            }
            if part.is_empty() {
                continue;
            }
            let (items, rest) = split(part);
            let appended = match failure.take() {
                Some(failure) => Err(failure),
                None => self.append(&items).await,
            };
            match appended {
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
                Err(failure) => refuse_all(join(items, rest), &failure),
            }
        }
    }

    /// One transaction, repeated after deadlocks, settled if it ends unclear.
    async fn append(&mut self, items: &[AppendItem]) -> Result<Appended, AppendFailure> {
        let mut repeats = 0;
        loop {
            let Some(lease) = self.lease else { return Err(AppendFailure::Superseded) };
            let sent = self.sent(items);
            let started = Instant::now();
            let appending = self.journal.append(lease, sent.batch, None, items, self.clock.now());
            let answer = in_time(self.config.answer_max, appending).await;
            took(started);
            match answer {
                Ok(appended) => {
                    self.complain.send_if_modified(|trouble| trouble.take().is_some());
                    return Ok(appended);
                }
                Err(AppendError::Unclear(reason)) => {
                    // If it never happened it never will: the same items go out again under the new epoch.
                    if let Some(appended) = self.settle(lease, &[sent], &reason).await?.pop() {
                        return Ok(appended);
                    }
                }
                Err(error) => {
                    if let Some(failure) = self.failure(error, &mut repeats) {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// What it means that nothing was written; `None`: it is to be tried again at once.
    fn failure(&mut self, error: AppendError, repeats: &mut u32) -> Option<AppendFailure> {
        match error {
            AppendError::Refused(refusal) => Some(AppendFailure::Refused(refusal)),
            AppendError::Repeat | AppendError::OutOfOrder if *repeats < REPEATS_MAX => {
                *repeats += 1;
                None
            }
            AppendError::Repeat | AppendError::OutOfOrder => Some(AppendFailure::Unavailable("deadlock")),
            AppendError::Unavailable(reason) => {
                tracing::error!(reason, "the journal can't be written; commands are refused until it can");
                self.complain.send_replace(Some(reason));
                Some(AppendFailure::Unavailable("database"))
            }
            AppendError::Fenced { shard, epoch } => {
                tracing::error!(
                    shard = shard.0,
                    epoch,
                    "fenced: another node owns the shard; all memory is dropped"
                );
                self.lose();
                Some(AppendFailure::Unavailable("not_owner"))
            }
            AppendError::Unclear(_) => Some(AppendFailure::OutcomeUnknown),
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

/// No answer in time may be the answer of a connection that went silent: it is not known what became of the batch.
async fn in_time(
    answer_max: Duration,
    appending: impl Future<Output = Result<Appended, AppendError>>,
) -> Result<Appended, AppendError> {
    tokio::time::timeout(answer_max, appending)
        .await
        .unwrap_or_else(|_| Err(AppendError::Unclear("no answer in time".to_owned())))
}

fn took(started: Instant) {
    metrics::histogram!(crate::telemetry::JOURNAL_COMMIT_SECONDS).record(started.elapsed().as_secs_f64());
}

fn batches(flights: VecDeque<Flight>) -> impl DoubleEndedIterator<Item = Vec<Queued>> {
    flights.into_iter().map(Flight::into_batch)
}

/// Refuses items with all that was decided behind them.
fn refuse_all(batch: impl IntoIterator<Item = Queued>, failure: &AppendFailure) {
    for queued in batch {
        queued.incarnation.poison();
        refuse(queued, failure.clone());
    }
}

pub(super) fn refuse(queued: Queued, failure: AppendFailure) {
    queued.asker.tell(Err(failure));
}
