//! An ordered follower of one shard of a feed.
//!
//! It takes what the in-process channel brings only if it is exactly what comes next; otherwise it reads the feed.
//! So a lost, late or doubled wake-up loses nothing, and polling finds what other processes appended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Envelope, Position};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::feed::{Feed, FeedError};

/// How a follower reads and retries.
#[derive(Clone, Copy, Debug)]
pub struct FollowSettings {
    /// How long it waits for a wake-up before it looks itself.
    pub poll: Duration,
    /// How many stored events it takes at once.
    pub batch_events_max: usize,
    /// The first wait after an error; it doubles with each further one.
    pub retry_min: Duration,
    pub retry_max: Duration,
}

impl Default for FollowSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(250),
            batch_events_max: 1_000,
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
        }
    }
}

impl FollowSettings {
    /// How long to wait after the n-th failure in a row, from 1.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        self.retry_min.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.retry_max)
    }
}

/// What a subscription saw last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The furthest position known to be committed.
    pub head: Position,
    /// When it last knew that there was nothing more.
    pub current_at: Option<Instant>,
}

pub(crate) struct Subscription {
    feed: Arc<dyn Feed>,
    live: broadcast::Receiver<Arc<[Envelope]>>,
    settings: FollowSettings,
    stop: CancellationToken,
    /// True while the feed itself must be read: at first, after a gap, and until a read comes back short.
    behind: bool,
    seen: Seen,
    head_asked_at: Option<Instant>,
}

impl Subscription {
    /// Listens from now on, so that nothing falls between the first read and the first wake-up.
    pub fn new(feed: Arc<dyn Feed>, settings: FollowSettings, stop: CancellationToken) -> Self {
        let live = feed.live();
        Self {
            feed,
            live,
            settings,
            stop,
            behind: true,
            seen: Seen { head: Position::ZERO, current_at: None },
            head_asked_at: None,
        }
    }

    pub fn seen(&self) -> Seen {
        self.seen
    }

    pub fn feed(&self) -> &dyn Feed {
        self.feed.as_ref()
    }

    /// What was taken could not be worked on: the next events come from the feed.
    pub fn reread(&mut self) {
        self.behind = true;
    }

    /// The events right after a position, parts of one stored event together. Empty when nothing came within
    /// a poll interval, or when it is to stop.
    pub async fn next(&mut self, after: Position) -> Result<Vec<Envelope>, FeedError> {
        if self.behind {
            return self.read(after).await;
        }
        let woken = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(Vec::new()),
            batch = self.live.recv() => Some(batch),
            () = tokio::time::sleep(self.settings.poll) => None,
        };
        match woken {
            Some(Ok(batch)) => {
                let events = self.gather(after, batch);
                if events.is_empty() && self.behind { self.read(after).await } else { Ok(events) }
            }
            // Lagged: others were told more than the channel holds. Closed: nobody appends here.
            Some(Err(RecvError::Lagged(_))) => self.read(after).await,
            Some(Err(RecvError::Closed)) => {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(Vec::new()),
                    () = tokio::time::sleep(self.settings.poll) => {}
                }
                self.read(after).await
            }
            None => self.read(after).await,
        }
    }

    async fn read(&mut self, after: Position) -> Result<Vec<Envelope>, FeedError> {
        self.behind = true;
        let asked_at = Instant::now();
        let events = match self.feed.read(after, self.settings.batch_events_max).await {
            // The events before it can be had.
            Err(FeedError::Undecodable { position, .. }) if position > after.next() => {
                let before = usize::try_from(position.0 - after.0 - 1).unwrap_or(usize::MAX);
                self.feed.read(after, before.min(self.settings.batch_events_max)).await?
            }
            read => read?,
        };
        let last = events.last().map_or(after, |event| event.position);
        if events.is_empty() {
            self.behind = false;
            self.seen = Seen { head: after, current_at: Some(asked_at) };
        } else if self.head_asked_at.is_none_or(|then| then.elapsed() > self.settings.poll) {
            self.seen.head = self.feed.head().await?.max(last);
            self.head_asked_at = Some(asked_at);
        } else {
            self.seen.head = self.seen.head.max(last);
        }
        Ok(events)
    }

    /// Takes a live batch and whatever waits behind it, as far as it is gapless.
    fn gather(&mut self, after: Position, first: Arc<[Envelope]>) -> Vec<Envelope> {
        let mut events: Vec<Envelope> = Vec::new();
        let mut waiting = VecDeque::from([first]);
        while let Some(batch) = waiting.pop_front() {
            for event in batch.iter() {
                let last = events.last().map_or(after, |last: &Envelope| last.position);
                // A further part of the same stored event, not the same event told twice.
                let is_part = events
                    .last()
                    .is_some_and(|last| last.position == event.position && event.part > last.part);
                if event.position == last.next() || is_part {
                    events.push(event.clone());
                } else if event.position > last {
                    self.behind = true;
                    return events;
                }
            }
            if events.len() < self.settings.batch_events_max {
                match self.live.try_recv() {
                    Ok(batch) => waiting.push_back(batch),
                    Err(TryRecvError::Lagged(_)) => self.behind = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => {}
                }
            }
        }
        if let Some(last) = events.last() {
            self.seen = Seen { head: last.position.max(self.seen.head), current_at: Some(Instant::now()) };
        }
        events
    }
}
