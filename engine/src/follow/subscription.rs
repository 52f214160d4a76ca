//! An ordered follower of one shard of a feed.
//!
//! It takes what the in-process channel brings only if it is exactly what comes next; otherwise it reads the feed.
//! So a lost, late or doubled wake-up loses nothing, and polling finds what other processes appended.

use std::sync::Arc;
use std::time::Duration;

use kernel::Position;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::feed::{Feed, FeedError, Interest, Read, Told, read_up_to_trouble};

/// How a follower reads and retries.
#[derive(Clone, Copy, Debug)]
pub struct FollowSettings {
    /// How long it waits for a wake-up before it looks itself.
    pub poll: Duration,
    /// How many positions it looks at, or stored events it takes, at once.
    pub batch_events_max: usize,
    /// How long a read model rests after it took what came, while nobody waits for what it does not show yet: what comes
    /// meanwhile shares the next transaction.
    pub rest: Duration,
    /// The first wait after an error; it doubles with each further one.
    pub retry_min: Duration,
    pub retry_max: Duration,
}

impl Default for FollowSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(250),
            batch_events_max: 4_096,
            rest: Duration::from_millis(40),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
        }
    }
}

impl FollowSettings {
    /// How often a follower writes down how far it passed what does not concern it, while there is more: so much it looks
    /// at again after a crash. Once nothing comes it writes it down at once.
    pub(crate) fn settle(&self) -> Duration {
        self.poll * 8
    }

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
    of: Interest,
    live: broadcast::Receiver<Told>,
    settings: FollowSettings,
    stop: CancellationToken,
    /// True while the feed itself must be read: at first, after a gap, and until a read finds nothing more.
    behind: bool,
    seen: Seen,
}

impl Subscription {
    /// Listens from now on, so that nothing falls between the first read and the first wake-up.
    pub fn new(feed: Arc<dyn Feed>, of: Interest, settings: FollowSettings, stop: CancellationToken) -> Self {
        let live = feed.live();
        let seen = Seen { head: Position::ZERO, current_at: None };
        Self { feed, of, live, settings, stop, behind: true, seen }
    }

    pub fn seen(&self) -> Seen {
        self.seen
    }

    pub fn feed(&self) -> &dyn Feed {
        self.feed.as_ref()
    }

    /// True if there may be more than it was told of.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// What was taken could not be worked on: the next events come from the feed.
    pub fn reread(&mut self) {
        self.behind = true;
    }

    /// What comes right after a position, parts of one stored event together. Not beyond that position when nothing
    /// came within a poll interval, or when it is to stop.
    pub async fn next(&mut self, after: Position) -> Result<Read, FeedError> {
        if self.behind {
            return self.read(after).await;
        }
        let nothing = Read { events: Vec::new(), through: after, head: self.seen.head };
        let woken = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(nothing),
            batch = self.live.recv() => Some(batch),
            () = tokio::time::sleep(self.settings.poll) => None,
        };
        match woken {
            Some(Ok(batch)) => {
                let read = self.gather(after, batch);
                if read.through == after && self.behind { self.read(after).await } else { Ok(read) }
            }
            // Lagged: others were told more than the channel holds. Closed: nobody appends here.
            Some(Err(RecvError::Lagged(_))) => self.read(after).await,
            Some(Err(RecvError::Closed)) => {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(nothing),
                    () = tokio::time::sleep(self.settings.poll) => {}
                }
                self.read(after).await
            }
            None => self.read(after).await,
        }
    }

    async fn read(&mut self, after: Position) -> Result<Read, FeedError> {
        self.behind = true;
        let asked_at = Instant::now();
        let limit = self.settings.batch_events_max;
        let read = read_up_to_trouble(self.feed.as_ref(), after, limit, self.of).await?;
        self.seen.head = read.head;
        if read.through == after {
            self.behind = false;
            self.seen.current_at = Some(asked_at);
        }
        Ok(read)
    }

    /// Takes a live batch and whatever waits behind it, as far as it is gapless.
    fn gather(&mut self, after: Position, first: Told) -> Read {
        let mut read = Read { events: Vec::new(), through: after, head: self.seen.head };
        let mut next = Some(first);
        while let Some(batch) = next.take() {
            self.take(&batch, &mut read);
            if !self.behind && read.events.len() < self.settings.batch_events_max {
                match self.live.try_recv() {
                    Ok(batch) => next = Some(batch),
                    Err(TryRecvError::Lagged(_)) => self.behind = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => {}
                }
            }
        }
        read.head = read.head.max(read.through);
        self.seen.head = read.head;
        // Who knows of a gap is not complete.
        if read.through > after && !self.behind {
            self.seen.current_at = Some(Instant::now());
        }
        read
    }

    /// What of a batch comes next, of the streams that concern this follower.
    fn take(&mut self, batch: &Told, read: &mut Read) {
        let mut part = None;
        for event in batch.iter() {
            let is_next = event.position == read.through.next();
            // A further part of the same stored event, not the same event told twice.
            let is_part = event.position == read.through && part.is_some_and(|part| event.part > part);
            if is_next || is_part {
                (read.through, part) = (event.position, Some(event.part));
                if self.of.concerns(&event.stream) {
                    read.events.push(Arc::clone(event));
                }
            } else if event.position > read.through {
                self.behind = true;
                read.head = read.head.max(event.position);
                return;
            }
        }
    }
}
