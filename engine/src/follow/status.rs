//! What a follower tells about itself: its position for those who wait, its health for those who watch.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::{Position, ShardId};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::feed::FeedName;

/// What a follower is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowerState {
    Starting,
    /// Reading what it missed.
    CatchingUp,
    /// Everything known to be committed is folded.
    Live,
    /// An error that may pass; it tries again by itself.
    Retrying,
    /// It can't go on past an event, and must not skip it.
    Stuck,
    Stopped,
}

/// One follower's health, as an operator reads it.
#[derive(Clone, Debug, Serialize)]
pub struct FollowerHealth {
    pub name: &'static str,
    pub feed: &'static str,
    pub shard: ShardId,
    pub state: FollowerState,
    pub position: Position,
    /// How many committed events are not folded yet, as far as known.
    pub lag_events: u64,
    /// Events parked because they or an earlier event of their stream can't be folded.
    pub dead_letters: u64,
    /// The last error in words, without personal data.
    pub last_error: Option<String>,
    /// What an operator can do about it.
    pub advice: Option<String>,
    /// How long ago it last knew itself complete; `None` before the first time.
    pub age_ms: Option<u64>,
}

impl FollowerHealth {
    /// True unless an operator should look.
    pub fn is_healthy(&self) -> bool {
        self.dead_letters == 0 && matches!(self.state, FollowerState::CatchingUp | FollowerState::Live)
    }
}

/// Measures all followers of a shard against the furthest that any of them knows of: one that is held up does not see
/// how far behind it falls.
pub fn against_a_common_head(followers: &mut [FollowerHealth]) {
    let mut heads: HashMap<(&'static str, ShardId), u64> = HashMap::new();
    for follower in followers.iter() {
        let head = heads.entry((follower.feed, follower.shard)).or_default();
        *head = (*head).max(follower.position.0 + follower.lag_events);
    }
    for follower in followers {
        let head = heads.get(&(follower.feed, follower.shard)).copied().unwrap_or_default();
        follower.lag_events = head.saturating_sub(follower.position.0);
    }
}

/// A follower did not get there in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    #[error("{found} is reached, {wanted} is not, and the time is over")]
    TimedOut { wanted: Position, found: Position },
    #[error("nothing here follows that shard")]
    UnknownShard,
}

/// Where a follower keeps what it folds; it decides what can be done about events that can't be folded.
#[derive(Clone, Copy, Debug)]
enum Keeps {
    Rows,
    Memory,
}

#[derive(Debug)]
struct Told {
    state: FollowerState,
    head: Position,
    dead_letters: u64,
    last_error: Option<String>,
    advice: Option<String>,
    current_at: Option<Instant>,
}

/// Shared by a follower, its successors after a crash, and those who ask.
#[derive(Debug)]
pub(crate) struct Status {
    pub name: &'static str,
    pub feed: FeedName,
    pub shard: ShardId,
    keeps: Keeps,
    position: watch::Sender<Position>,
    /// How many wait for a position.
    waiting: AtomicUsize,
    waited_for: Notify,
    told: Mutex<Told>,
}

/// Somebody waits for a position; dropped, they don't any more.
struct Waiting<'a>(&'a Status);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Status {
    pub fn new(name: &'static str, feed: FeedName, shard: ShardId) -> Self {
        Self::keeping(Keeps::Rows, name, feed, shard)
    }

    /// Of a follower that keeps what it folds in memory.
    pub fn in_memory(name: &'static str, feed: FeedName, shard: ShardId) -> Self {
        Self::keeping(Keeps::Memory, name, feed, shard)
    }

    fn keeping(keeps: Keeps, name: &'static str, feed: FeedName, shard: ShardId) -> Self {
        Self {
            name,
            feed,
            shard,
            keeps,
            position: watch::Sender::new(Position::ZERO),
            waiting: AtomicUsize::new(0),
            waited_for: Notify::new(),
            told: Mutex::new(Told {
                state: FollowerState::Starting,
                head: Position::ZERO,
                dead_letters: 0,
                last_error: None,
                advice: None,
                current_at: None,
            }),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// Publishes a position, also a smaller one: then what serves now is another generation.
    pub fn reached(&self, position: Position) {
        self.position.send_if_modified(|known| std::mem::replace(known, position) != position);
    }

    /// After a step that went well.
    pub fn well(&self, head: Position, current_at: Option<Instant>) {
        let position = self.position();
        let mut told = self.told();
        told.head = head.max(position);
        told.state = if told.head > position || current_at.is_none() {
            FollowerState::CatchingUp
        } else {
            FollowerState::Live
        };
        if position >= head {
            told.current_at = current_at.or(told.current_at);
        }
        told.last_error = None;
        told.advice = None;
    }

    /// A follower that keeps nothing starts from zero.
    pub fn restarted(&self) {
        self.reached(Position::ZERO);
        let mut told = self.told();
        told.state = FollowerState::Starting;
        told.current_at = None;
        told.dead_letters = 0;
    }

    pub fn parked(&self, dead_letters: u64) {
        self.told().dead_letters = dead_letters;
    }

    pub fn trouble(&self, state: FollowerState, error: String, advice: &str) {
        let mut told = self.told();
        told.state = state;
        told.last_error = Some(error);
        told.advice = Some(advice.to_owned());
    }

    pub fn stopped(&self) {
        self.told().state = FollowerState::Stopped;
    }

    /// How long ago it last knew itself complete.
    pub fn age(&self) -> Option<Duration> {
        self.told().current_at.map(|then| then.elapsed())
    }

    pub fn health(&self) -> FollowerHealth {
        let position = self.position();
        let told = self.told();
        let parked = (told.dead_letters > 0).then(|| match self.keeps {
            Keeps::Rows => format!(
                "{} events are parked: mend the fold, then run `replay dead-letters --retry {}`",
                told.dead_letters, self.name
            ),
            Keeps::Memory => format!(
                "{} events of streams that can't be folded are left out: deploy a binary that can fold them",
                told.dead_letters
            ),
        });
        FollowerHealth {
            name: self.name,
            feed: self.feed.as_str(),
            shard: self.shard,
            state: told.state,
            position,
            lag_events: told.head.0.saturating_sub(position.0),
            dead_letters: told.dead_letters,
            last_error: told.last_error.clone(),
            advice: told.advice.clone().or(parked),
            age_ms: told.current_at.map(|then| u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX)),
        }
    }

    fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.waited_for.notify_one();
        Waiting(self)
    }

    /// Returns at once if somebody waits for a position, else when somebody begins to.
    pub async fn waited_for(&self) {
        while self.waiting.load(Ordering::Acquire) == 0 {
            self.waited_for.notified().await;
        }
    }

    /// Returns once a position is reached.
    pub async fn wait_for(&self, wanted: Position, timeout: Duration) -> Result<(), WaitError> {
        let mut positions = self.position.subscribe();
        let _waiting = (self.position() < wanted).then(|| self.waiting());
        match tokio::time::timeout(timeout, positions.wait_for(|found| *found >= wanted)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(WaitError::TimedOut { wanted, found: self.position() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_held_up_lags_behind_what_its_neighbour_has_seen() {
        let at = |name, feed, position, head| {
            let status = Status::new(name, feed, ShardId(0));
            status.reached(Position(position));
            status.well(Position(head), Some(Instant::now()));
            status.health()
        };
        let mut all = [
            at("held_up", FeedName::Journal, 10, 10),
            at("current", FeedName::Journal, 40, 42),
            at("another_feed", FeedName::Audit, 7, 7),
        ];
        against_a_common_head(&mut all);
        assert_eq!(all.map(|follower| follower.lag_events), [32, 2, 0]);
    }
}
