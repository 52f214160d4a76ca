//! Aggregates that can't be loaded or that crash again and again are set aside for a while; their neighbours work on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::StreamId;
use serde::Serialize;
use tokio::time::Instant;

/// Crashes in a row before a stream is set aside.
const CRASHES_MAX: u32 = 3;
/// The first pause; it doubles with every further failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Streams remembered at most; beyond that the oldest failures are forgotten.
const STREAMS_MAX: usize = 10_000;

/// A stream that is set aside, as health reports it.
#[derive(Clone, Debug, Serialize)]
pub struct Quarantined {
    pub stream: String,
    pub reason: String,
    pub failures: u32,
    /// Seconds until it is tried again.
    pub retry_in_seconds: u64,
}

#[derive(Debug)]
struct Record {
    failures: u32,
    until: Instant,
    reason: String,
}

/// What is set aside on this node.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    known: AtomicUsize,
    records: Mutex<HashMap<StreamId, Record>>,
}

impl Quarantine {
    /// How long the stream stays set aside, if it is.
    pub(crate) fn holds(&self, stream: &StreamId, now: Instant) -> Option<Duration> {
        if self.known.load(Ordering::Acquire) == 0 {
            return None;
        }
        let records = self.lock();
        let record = records.get(stream).filter(|record| record.failures >= CRASHES_MAX)?;
        let left = record.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// It can't be read: set aside at once.
    pub(crate) fn corrupt(&self, stream: &StreamId, reason: &str, now: Instant) {
        self.record(stream, CRASHES_MAX, reason, now);
    }

    /// Its actor crashed: set aside if that happens again and again.
    pub(crate) fn crashed(&self, stream: &StreamId, now: Instant) {
        self.record(stream, 1, "its actor crashed", now);
    }

    /// It works: forget its failures.
    pub(crate) fn recovered(&self, stream: &StreamId) {
        if self.known.load(Ordering::Acquire) > 0 {
            let mut records = self.lock();
            records.remove(stream);
            self.known.store(records.len(), Ordering::Release);
        }
    }

    pub(crate) fn list(&self, now: Instant) -> Vec<Quarantined> {
        self.lock()
            .iter()
            .filter(|(_, record)| record.failures >= CRASHES_MAX)
            .map(|(stream, record)| Quarantined {
                stream: stream.to_string(),
                reason: record.reason.clone(),
                failures: record.failures,
                retry_in_seconds: record.until.saturating_duration_since(now).as_secs(),
            })
            .collect()
    }

    fn record(&self, stream: &StreamId, failures: u32, reason: &str, now: Instant) {
        let mut records = self.lock();
        if records.len() >= STREAMS_MAX && !records.contains_key(stream) {
            let oldest =
                records.iter().min_by_key(|(_, record)| record.until).map(|(stream, _)| stream.clone());
            if let Some(oldest) = oldest {
                records.remove(&oldest);
            }
        }
        let record = records.entry(stream.clone()).or_insert(Record {
            failures: 0,
            until: now,
            reason: String::new(),
        });
        let before = record.failures;
        record.failures = record.failures.saturating_add(failures);
        reason.clone_into(&mut record.reason);
        if record.failures >= CRASHES_MAX {
            let doublings = (record.failures - CRASHES_MAX).min(16);
            record.until = now + PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
            if before < CRASHES_MAX {
                metrics::counter!(crate::telemetry::QUARANTINED).increment(1);
                tracing::error!(stream = %stream, reason, "an aggregate is quarantined; inspect it with `replay inspect`");
            }
        }
        self.known.store(records.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn stream(n: u128) -> StreamId {
        StreamId::new("counter", Uuid::from_u128(n))
    }

    #[test]
    fn a_crash_is_forgiven_a_habit_is_not() {
        let (quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.crashed(&stream(1), now);
        quarantine.crashed(&stream(1), now);
        assert!(quarantine.holds(&stream(1), now).is_none());
        quarantine.crashed(&stream(1), now);
        assert!(quarantine.holds(&stream(1), now).is_some());
        assert!(quarantine.holds(&stream(2), now).is_none(), "its neighbour works on");
    }

    #[test]
    fn what_is_set_aside_is_tried_again_later_and_forgotten_when_it_works() {
        let (quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.corrupt(&stream(1), "bad payload", now);
        let pause = quarantine.holds(&stream(1), now).unwrap();
        let later = now + pause;
        assert!(quarantine.holds(&stream(1), later).is_none());
        quarantine.corrupt(&stream(1), "bad payload", later);
        assert!(quarantine.holds(&stream(1), later).unwrap() > pause, "the pause grows");
        quarantine.recovered(&stream(1));
        assert!(quarantine.list(later).is_empty());
    }
}
