//! What is remembered of failures on each ground, and when the next attempt may be made.
//!
//! Each counts an attempt when it is let in, as if it had failed: a hundred at once are a hundred attempts. When it is
//! told that one did not fail, that one is taken back.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Account, LadderSettings};

/// The wait before the first attempt that is not free. Each further one doubles it.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(1);

/// One ground's memory of one key.
pub(super) trait Rung {
    /// How long the next attempt has to wait; `None`: it doesn't.
    fn wait(&self, settings: &LadderSettings, now: DateTime<Utc>) -> Option<TimeDelta>;
    /// Nothing of it counts any more.
    fn is_over(&self, settings: &LadderSettings, now: DateTime<Utc>) -> bool;
    /// There is nothing to remember.
    fn is_empty(&self) -> bool;
}

/// When it was last climbed, and by how many who are not down yet.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: DateTime<Utc>,
    under_way: u32,
    /// The finding was told; not again before it is over.
    is_told: bool,
}

impl Last {
    fn at(now: DateTime<Utc>) -> Self {
        Self { at: now, under_way: 0, is_told: false }
    }

    fn is_over(&self, settings: &LadderSettings, now: DateTime<Utc>) -> bool {
        now - self.at >= settings.forgotten_after
    }

    /// Begins an attempt; gives the time of the one before, to take this one back.
    fn begin(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.under_way = self.under_way.saturating_add(1);
        let before = self.at;
        // A clock that was set back must not shorten anybody's wait.
        self.at = before.max(now);
        before
    }

    fn take_back(&mut self, mark: &Mark) {
        self.under_way = self.under_way.saturating_sub(1);
        // Unless others have come meanwhile.
        if self.at == mark.at {
            self.at = mark.before;
        }
    }

    fn failed(&mut self, now: DateTime<Utc>) {
        self.under_way = self.under_way.saturating_sub(1);
        self.at = self.at.max(now);
    }

    /// What is left of the wait after so many attempts that were not free.
    fn wait(&self, beyond: u32, settings: &LadderSettings, now: DateTime<Utc>) -> Option<TimeDelta> {
        let whole = i32::try_from(beyond)
            .ok()
            .and_then(|n| FIRST_WAIT.checked_mul(1_i32.checked_shl(n.unsigned_abs())?))
            .filter(|wait| *wait > TimeDelta::zero())
            .map_or(settings.wait_max, |wait| wait.min(settings.wait_max));
        // Not more than the whole, should the clock have been set back.
        let left = (self.at + whole - now).min(whole);
        (left > TimeDelta::zero()).then_some(left)
    }
}

/// What one attempt left on a rung, to be taken back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    at: DateTime<Utc>,
    before: DateTime<Utc>,
    /// It was not free any more.
    is_beyond: bool,
    /// It was the first of its account.
    is_new_account: bool,
}

/// Failures of one at one account: from one address, or of one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct One {
    last: Last,
    failures: u32,
}

impl One {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { last: Last::at(now), failures: 0 }
    }

    pub(super) fn begin(&mut self, now: DateTime<Utc>) -> Mark {
        self.failures = self.failures.saturating_add(1);
        let before = self.last.begin(now);
        Mark { at: self.last.at, before, is_beyond: false, is_new_account: false }
    }

    /// They are who they say: what failed before is forgiven, what is under way is not yet.
    pub(super) fn succeeded(&mut self, mark: &Mark) {
        self.last.take_back(mark);
        self.failures = self.last.under_way;
        self.last.is_told = false;
    }

    pub(super) fn take_back(&mut self, mark: &Mark) {
        self.last.take_back(mark);
        self.failures = self.failures.saturating_sub(1);
    }

    /// True if from now on they are slowed, told once.
    pub(super) fn failed(&mut self, settings: &LadderSettings, now: DateTime<Utc>) -> bool {
        self.last.failed(now);
        let settled = self.failures.saturating_sub(self.last.under_way);
        let rises = settled >= settings.failures_free && !self.last.is_told;
        self.last.is_told |= rises;
        rises
    }
}

impl Rung for One {
    fn wait(&self, settings: &LadderSettings, now: DateTime<Utc>) -> Option<TimeDelta> {
        if self.is_over(settings, now) {
            return None;
        }
        self.last.wait(self.failures.checked_sub(settings.failures_free)?, settings, now)
    }

    fn is_over(&self, settings: &LadderSettings, now: DateTime<Utc>) -> bool {
        self.last.is_over(settings, now)
    }

    fn is_empty(&self) -> bool {
        self.failures == 0
    }
}

/// Failures of all strangers together at one account.
#[derive(Clone, Debug)]
pub(super) struct Strangers {
    last: Last,
    /// When the free ones were made, the oldest first; no more than are free.
    free: VecDeque<DateTime<Utc>>,
    /// Those after the free ones were used up.
    beyond: u32,
}

impl Strangers {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { last: Last::at(now), free: VecDeque::new(), beyond: 0 }
    }

    pub(super) fn begin(&mut self, settings: &LadderSettings, now: DateTime<Utc>) -> Mark {
        if self.beyond == 0 {
            while self.free.front().is_some_and(|at| now - *at >= settings.strangers_window) {
                self.free.pop_front();
            }
        }
        let before = self.last.begin(now);
        let is_beyond = self.beyond > 0 || self.free.len() >= settings.strangers_free as usize;
        if is_beyond {
            self.beyond = self.beyond.saturating_add(1);
        } else {
            self.free.push_back(self.last.at);
        }
        Mark { at: self.last.at, before, is_beyond, is_new_account: false }
    }

    pub(super) fn take_back(&mut self, mark: &Mark) {
        self.last.take_back(mark);
        if mark.is_beyond {
            self.beyond = self.beyond.saturating_sub(1);
        } else if let Some(index) = self.free.iter().rposition(|at| *at == mark.at) {
            self.free.remove(index);
        }
    }

    pub(super) fn failed(&mut self, settings: &LadderSettings, now: DateTime<Utc>) -> bool {
        self.last.failed(now);
        let counted = u32::try_from(self.free.len()).unwrap_or(u32::MAX).saturating_add(self.beyond);
        let settled = counted.saturating_sub(self.last.under_way);
        let rises = settled >= settings.strangers_free && !self.last.is_told;
        self.last.is_told |= rises;
        rises
    }
}

impl Rung for Strangers {
    fn wait(&self, settings: &LadderSettings, now: DateTime<Utc>) -> Option<TimeDelta> {
        if self.is_over(settings, now) {
            return None;
        }
        let counting = self.free.iter().filter(|at| now - **at < settings.strangers_window).count();
        let is_used_up = self.beyond > 0 || counting >= settings.strangers_free as usize;
        is_used_up.then(|| self.last.wait(self.beyond, settings, now))?
    }

    fn is_over(&self, settings: &LadderSettings, now: DateTime<Utc>) -> bool {
        self.last.is_over(settings, now)
    }

    fn is_empty(&self) -> bool {
        self.free.is_empty() && self.beyond == 0
    }
}

/// Failures from one address at many accounts.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    last: Last,
    /// The accounts that were free, by a part of their hash, and when each was last tried; no more than are free.
    free: Vec<(u64, DateTime<Utc>)>,
    /// Attempts after the free accounts were used up, at whichever account.
    beyond: u32,
    /// All attempts since there was an account.
    guesses: u32,
}

/// How an address went about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// About one guess for each account.
    OneEach,
    /// Two or more for each.
    SeveralEach,
}

impl Accounts {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { last: Last::at(now), free: Vec::new(), beyond: 0, guesses: 0 }
    }

    pub(super) fn begin(&mut self, account: Account, settings: &LadderSettings, now: DateTime<Utc>) -> Mark {
        if self.beyond == 0 {
            self.free.retain(|(_, at)| now - *at < settings.accounts_window);
            if self.free.is_empty() {
                self.guesses = 0;
            }
        }
        let before = self.last.begin(now);
        let at = self.last.at;
        self.guesses = self.guesses.saturating_add(1);
        let part = part_of(account);
        let mut mark = Mark { at, before, is_beyond: false, is_new_account: false };
        if self.beyond > 0 {
            mark.is_beyond = true;
        } else if let Some(known) = self.free.iter_mut().find(|(known, _)| *known == part) {
            known.1 = at;
        } else if self.free.len() < settings.accounts_free as usize {
            self.free.push((part, at));
            mark.is_new_account = true;
        } else {
            mark.is_beyond = true;
        }
        self.beyond = self.beyond.saturating_add(mark.is_beyond.into());
        mark
    }

    pub(super) fn take_back(&mut self, account: Account, mark: &Mark) {
        self.last.take_back(mark);
        self.guesses = self.guesses.saturating_sub(1);
        if mark.is_beyond {
            self.beyond = self.beyond.saturating_sub(1);
        } else if mark.is_new_account {
            // Unless it was tried again meanwhile.
            self.free.retain(|(known, at)| *known != part_of(account) || *at != mark.at);
        }
    }

    pub(super) fn failed(&mut self, settings: &LadderSettings, now: DateTime<Utc>) -> Option<Manner> {
        self.last.failed(now);
        let accounts = u32::try_from(self.free.len()).unwrap_or(u32::MAX).saturating_add(self.beyond);
        let settled = accounts.saturating_sub(self.last.under_way);
        if self.last.is_told || self.beyond == 0 || settled <= settings.accounts_free {
            return None;
        }
        self.last.is_told = true;
        let several = self.guesses >= accounts.saturating_mul(2);
        Some(if several { Manner::SeveralEach } else { Manner::OneEach })
    }

    /// As [`Rung::wait`], for an attempt at this account: one that is among the free is no further one.
    pub(super) fn wait_at(
        &self,
        account: Account,
        settings: &LadderSettings,
        now: DateTime<Utc>,
    ) -> Option<TimeDelta> {
        if self.is_over(settings, now) {
            return None;
        }
        let part = part_of(account);
        let mut counting = self.free.iter().filter(|(_, at)| now - *at < settings.accounts_window);
        let is_free = self.beyond == 0
            && (counting.clone().count() < settings.accounts_free as usize
                || counting.any(|(known, _)| *known == part));
        (!is_free).then(|| self.last.wait(self.beyond, settings, now))?
    }
}

impl Rung for Accounts {
    fn wait(&self, settings: &LadderSettings, now: DateTime<Utc>) -> Option<TimeDelta> {
        let is_used_up = self.beyond > 0 || self.free.len() >= settings.accounts_free as usize;
        (is_used_up && !self.is_over(settings, now)).then(|| self.last.wait(self.beyond, settings, now))?
    }

    fn is_over(&self, settings: &LadderSettings, now: DateTime<Utc>) -> bool {
        self.last.is_over(settings, now)
    }

    fn is_empty(&self) -> bool {
        self.free.is_empty() && self.beyond == 0
    }
}

/// Enough of a keyed hash to tell accounts of one address apart.
fn part_of(account: Account) -> u64 {
    let (part, _) = account.split_first_chunk().expect("32 bytes begin with 8");
    u64::from_be_bytes(*part)
}
