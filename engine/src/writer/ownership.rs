//! Whether this node owns the shard, as everybody on it can ask or wait for.

use std::sync::{PoisonError, RwLock};

use tokio::sync::Notify;

/// What the writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Another node owns the shard, or it isn't known yet who does.
    Waiting,
    /// This node owns it. The number counts unbroken ownerships.
    Owned { lineage: u64 },
    /// The database can't be reached, or a commit is being settled.
    Recovering,
    /// It has stopped.
    Stopped,
}

/// What the writer tells about it. Whoever waits is woken in the order of coming, unlike with `tokio::sync::watch`,
/// which draws lots: a simulation could not be repeated.
#[derive(Debug)]
pub(super) struct Told {
    now: RwLock<Ownership>,
    changed: Notify,
}

impl Default for Told {
    fn default() -> Self {
        Self { now: RwLock::new(Ownership::Waiting), changed: Notify::new() }
    }
}

impl Told {
    pub(super) fn now(&self) -> Ownership {
        *self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is so from now on; returns what was.
    pub(super) fn tell(&self, ownership: Ownership) -> Ownership {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *now, ownership);
        drop(now);
        self.changed.notify_waiters();
        before
    }

    pub(super) async fn wait_for(&self, wanted: impl Fn(Ownership) -> bool) {
        loop {
            // Listening begins before looking, so that nothing falls between.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if wanted(self.now()) {
                return;
            }
            changed.await;
        }
    }
}
