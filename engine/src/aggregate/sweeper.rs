//! Passivation: idle actors leave, and when there are too many the least recently used leave first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernel::Subject;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often idle actors are looked for.
const ROUND: Duration = Duration::from_secs(1);
/// How far the cap may be passed while the sweeper works, in per cent.
const SLACK_PERCENT: usize = 10;

/// A directory as the sweeper sees it.
pub(crate) trait Sweep: Send + Sync {
    /// When each live actor got its last order, in milliseconds since the start.
    fn uses(&self, into: &mut Vec<u64>);
    /// Asks actors that got no order since to leave.
    fn passivate_unused_since(&self, limit_ms: u64);
    /// Ends all actors, whatever they wait for.
    fn end(&self);
    /// Asks actors that hold something of the subject's to drop it.
    fn forget(&self, subject: Subject);
}

/// Counts the live actors and keeps their number down.
pub(crate) struct Sweeper {
    started: Instant,
    idle_max: Duration,
    live_max: usize,
    live: AtomicUsize,
    crowded: Notify,
    directories: Mutex<Vec<Arc<dyn Sweep>>>,
}

impl Sweeper {
    pub(crate) fn new(idle_max: Duration, live_max: usize) -> Self {
        Self {
            started: Instant::now(),
            idle_max,
            live_max,
            live: AtomicUsize::new(0),
            crowded: Notify::new(),
            directories: Mutex::default(),
        }
    }

    pub(crate) fn watch(&self, directory: Arc<dyn Sweep>) {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).push(directory);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// False once the cap is passed by more than the slack: memory is bounded before speed is served.
    pub(crate) fn has_room(&self) -> bool {
        self.live() < self.live_max + (self.live_max * SLACK_PERCENT / 100).max(1)
    }

    pub(crate) fn came(&self) {
        if self.live.fetch_add(1, Ordering::AcqRel) >= self.live_max {
            self.crowded.notify_one();
        }
    }

    pub(crate) fn left(&self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
        metrics::counter!(crate::telemetry::ACTORS_PASSIVATED).increment(1);
    }

    /// Ends all actors. The supervisor would too, but in no order: a simulation could not be repeated.
    pub(crate) fn end(&self) {
        for directory in self.directories.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            directory.end();
        }
    }

    /// Whoever was forgotten is dropped from memory too.
    pub(crate) fn forget(&self, subject: Subject) {
        let directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner).clone();
        directories.iter().for_each(|directory| directory.forget(subject));
    }

    /// Runs until the task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(ROUND) => {}
                () = self.crowded.notified() => {}
            }
            self.round();
            // Those who were asked to leave get a moment to do so before the next are chosen.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn round(&self) {
        let live = self.live();
        metrics::gauge!(crate::telemetry::ACTORS_LIVE).set(live as f64);
        let directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let idle_max_ms = u64::try_from(self.idle_max.as_millis()).unwrap_or(u64::MAX);
        let mut limit = self.now_ms().checked_sub(idle_max_ms);
        if live > self.live_max {
            // A tenth more than needed goes, so that the next new actor doesn't start the search again.
            let surplus = live - self.live_max + self.live_max / 10;
            let mut uses = Vec::with_capacity(live);
            for directory in &directories {
                directory.uses(&mut uses);
            }
            if !uses.is_empty() {
                let nth = surplus.min(uses.len()) - 1;
                let (_, oldest, _) = uses.select_nth_unstable(nth);
                limit = limit.max(Some(*oldest));
            }
        }
        if let Some(limit) = limit {
            for directory in &directories {
                directory.passivate_unused_since(limit);
            }
        }
    }
}
