//! What happened in a simulation, line by line, and the clock and ids that make it repeatable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::{Clock, Ids};
use tokio::time::Instant;
use uuid::Uuid;

/// The lines so far. Clones write to the same.
#[derive(Clone, Debug)]
pub struct Trace {
    lines: Arc<Mutex<String>>,
    began: Instant,
}

impl Trace {
    pub fn begin() -> Self {
        Self { lines: Arc::default(), began: Instant::now() }
    }

    pub fn tell(&self, line: impl FnOnce() -> String) {
        let mut lines = self.lines.lock().unwrap();
        lines.push_str(&format!("{:>8} ms  {}\n", self.began.elapsed().as_millis(), line()));
    }

    pub fn text(&self) -> String {
        self.lines.lock().unwrap().clone()
    }
}

/// The time of day that goes with the paused clock of the runtime.
#[derive(Clone, Copy, Debug)]
pub struct PausedClock(Instant);

impl PausedClock {
    pub fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Clock for PausedClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.0.elapsed()
    }
}

/// Ids in a row.
#[derive(Debug)]
pub struct CountedIds {
    prefix: u64,
    count: AtomicU64,
}

impl CountedIds {
    /// Those of one prefix differ from those of every other.
    pub fn new(prefix: u64) -> Self {
        Self { prefix, count: AtomicU64::new(0) }
    }
}

impl Ids for CountedIds {
    fn fresh(&self) -> Uuid {
        Uuid::from_u64_pair(self.prefix, self.count.fetch_add(1, Ordering::SeqCst))
    }
}
