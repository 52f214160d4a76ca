//! A map that never grows beyond its bound, and knows what to part with.

use std::hash::{Hash, RandomState};

use chrono::{DateTime, Utc};
use hashlink::LinkedHashMap;

use super::LadderSettings;
use super::rungs::Rung;
use crate::telemetry;

/// How much of a shelf may be kept by what slows somebody, in quarters. The rest is for what may come to: were it all
/// taken, each new attacker would be forgotten as soon as they began.
const SLOWING_QUARTERS_MAX: usize = 3;
/// How many that are over are swept away with each that is put back, so that a shelf empties when an attack is over.
const SWEPT: usize = 2;

/// Rungs by key, at most so many. Two rows, each from the longest to the shortest untouched: `slowing` holds what made
/// somebody wait when it was last touched, `calm` all others.
///
/// When it is full, what has been untouched for longest goes: of the calm ones while those that slow have no more than
/// three quarters of the room, else of these.
#[derive(Debug)]
pub(super) struct Shelf<K, R> {
    calm: LinkedHashMap<K, R, RandomState>,
    slowing: LinkedHashMap<K, R, RandomState>,
    ground: &'static str,
    entries_max: usize,
}

impl<K: Hash + Eq, R: Rung> Shelf<K, R> {
    pub(super) fn new(ground: &'static str, entries_max: usize) -> Self {
        let row = || LinkedHashMap::with_hasher(RandomState::new());
        Self { calm: row(), slowing: row(), ground, entries_max }
    }

    pub(super) fn get(&self, key: &K) -> Option<&R> {
        self.slowing.get(key).or_else(|| self.calm.get(key))
    }

    /// Takes it out, to be changed and put back.
    pub(super) fn take(&mut self, key: &K) -> Option<R> {
        self.slowing.remove(key).or_else(|| self.calm.remove(key))
    }

    /// Puts it where it belongs now, and parts with another if there is no room.
    pub(super) fn put(&mut self, key: K, rung: R, settings: &LadderSettings, now: DateTime<Utc>) {
        for row in [&mut self.calm, &mut self.slowing] {
            for _ in 0..SWEPT {
                if !row.front().is_some_and(|(_, oldest)| oldest.is_over(settings, now)) {
                    break;
                }
                row.pop_front();
            }
        }
        if rung.is_empty() {
            return;
        }
        let row = if rung.wait(settings, now).is_some() { &mut self.slowing } else { &mut self.calm };
        row.insert(key, rung);
        while self.len() > self.entries_max {
            self.part_with_one(settings, now);
        }
    }

    fn part_with_one(&mut self, settings: &LadderSettings, now: DateTime<Utc>) {
        let slowing_max = self.entries_max / 4 * SLOWING_QUARTERS_MAX;
        if self.slowing.len() <= slowing_max && self.calm.pop_front().is_some() {
            return;
        }
        if let Some((_, rung)) = self.slowing.pop_front()
            && rung.wait(settings, now).is_some()
        {
            telemetry::slowdown_displaced(self.ground);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.calm.len() + self.slowing.len()
    }
}
