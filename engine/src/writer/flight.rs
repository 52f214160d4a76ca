//! Batches that are under way: the one that the database works on, and one that was sent behind it before that was
//! answered, so that the database need not wait for the writer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use kernel::StreamId;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Asker, Incarnation, Queued};
use crate::journal::{AppendError, AppendItem, Appended, Lease, Sent};

/// How far a batch takes the streams that it writes to, and in which life of them.
pub(super) type Ends = HashMap<StreamId, (u64, Arc<Incarnation>)>;

/// A batch that was sent.
pub(super) struct Flight {
    pub lease: Lease,
    pub sent: Sent,
    pub started: Instant,
    pub ends: Ends,
    /// Shared with the future that sends them.
    pub items: Arc<Vec<AppendItem>>,
    pub rest: Vec<Rest>,
}

impl Flight {
    /// What was sent, once nobody sends it any more.
    pub fn into_batch(self) -> Vec<Queued> {
        join(taken(self.items), self.rest)
    }
}

/// Items that nobody else holds any more.
pub(super) fn taken(items: Arc<Vec<AppendItem>>) -> Vec<AppendItem> {
    Arc::try_unwrap(items).unwrap_or_else(|shared| (*shared).clone())
}

/// What stays with the writer while the items are in the journal's hands.
pub(super) struct Rest {
    pub incarnation: Arc<Incarnation>,
    pub asker: Asker,
}

pub(super) fn split(batch: Vec<Queued>) -> (Vec<AppendItem>, Vec<Rest>) {
    batch.into_iter().map(|Queued { item, incarnation, asker }| (item, Rest { incarnation, asker })).unzip()
}

pub(super) fn join(items: Vec<AppendItem>, rest: Vec<Rest>) -> Vec<Queued> {
    items
        .into_iter()
        .zip(rest)
        .map(|(item, Rest { incarnation, asker })| Queued { item, incarnation, asker })
        .collect()
}

type Answer = BoxFuture<'static, Result<Appended, AppendError>>;

/// What is under way, in the order in which it was sent.
#[derive(Default)]
pub(super) struct Flights {
    flights: VecDeque<Flight>,
    answers: FuturesOrdered<Answer>,
}

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// The batch that the next one may be sent behind: the only one under way. One without events moves nothing that
    /// could be named.
    pub fn only(&self) -> Option<&Flight> {
        self.flights.front().filter(|flight| self.flights.len() == 1 && flight.sent.events > 0)
    }

    pub fn launch(&mut self, flight: Flight, answer: Answer) {
        self.flights.push_back(flight);
        self.answers.push_back(answer);
    }

    /// The first of them, once it is answered; pending while nothing is under way.
    pub async fn landed(&mut self) -> (Flight, Result<Appended, AppendError>) {
        if let Some(answer) = self.answers.next().await
            && let Some(flight) = self.flights.pop_front()
        {
            return (flight, answer);
        }
        std::future::pending().await
    }

    /// All that are still under way. Nobody waits for their answers any more.
    pub fn recall(&mut self) -> VecDeque<Flight> {
        self.answers = FuturesOrdered::new();
        std::mem::take(&mut self.flights)
    }
}

/// Lets the writer know, once, that as much waits as it asked for.
#[derive(Debug)]
pub(super) struct Enough {
    wanted: AtomicUsize,
    told: Notify,
}

impl Default for Enough {
    fn default() -> Self {
        Self { wanted: AtomicUsize::new(usize::MAX), told: Notify::new() }
    }
}

impl Enough {
    /// Tells of it when so many wait.
    pub fn want(&self, items: usize) {
        self.wanted.store(items, Ordering::SeqCst);
    }

    /// So many wait now.
    pub fn there_are(&self, items: usize) {
        if items >= self.wanted.load(Ordering::SeqCst) {
            self.want(usize::MAX);
            self.told.notify_one();
        }
    }

    pub async fn told(&self) {
        self.told.notified().await;
    }
}
