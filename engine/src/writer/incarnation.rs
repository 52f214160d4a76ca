//! One life of an aggregate in memory, and how far it may be believed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel::StreamId;

/// Grounds on which a stream that was loaded may be taken for the newest there is; to be asked for before loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The unbroken ownership of the shard.
    pub(super) lineage: u64,
    /// How often streams like this one were written to by an incarnation that was given up already.
    pub(super) doubts: u64,
}

/// Counts the commits that nobody in memory knows of, by a byte of the stream's id.
///
/// An incarnation can be given up (its actor crashes, or a command of it can't be stored) while earlier items of it are
/// being committed. Whoever loads the stream meanwhile misses them, and would answer from a state that is past.
#[derive(Debug)]
pub(super) struct Doubts([AtomicU64; 256]);

impl Default for Doubts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Doubts {
    pub(super) fn of(&self, stream: &StreamId) -> &AtomicU64 {
        &self.0[usize::from(stream.id.as_bytes()[15])]
    }
}

/// One life of an aggregate in memory: from a load to the first failure, passivation or loss of the shard.
#[derive(Debug)]
pub struct Incarnation {
    trust: Trust,
    poisoned: AtomicBool,
    /// The last sequence of the stream that is durable, as far as this incarnation knows.
    durable: AtomicU64,
}

impl Incarnation {
    /// `trust` as [`WriterHandle::trust`] told it *before* the stream was loaded up to `sequence`.
    pub fn new(trust: Trust, sequence: u64) -> Self {
        Self { trust, poisoned: AtomicBool::new(false), durable: AtomicU64::new(sequence) }
    }

    /// Its memory is worth nothing any more.
    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub fn trust(&self) -> Trust {
        self.trust
    }

    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Its stream is durable up to a sequence.
    pub(super) fn is_durable_to(&self, sequence: u64) {
        self.durable.store(sequence, Ordering::Release);
    }
}
