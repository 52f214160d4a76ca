//! Buckets by key, in bounded number: how much of a rate each key has left.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hashlink::LinkedHashMap;

use super::settings::Rate;

/// Callers of one kind hardly ever wait for each other.
const SHARDS: usize = 16;
/// Buckets that are full again and swept away with each that is touched, so that a flood's are gone when it is over.
const SWEPT: usize = 2;

/// What is left in a bucket after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub requests: u32,
    /// How long until it is full again, if nobody asks meanwhile.
    pub full_in: Duration,
    /// How long until it holds one; nothing if it gave one now.
    pub wait: Duration,
}

/// By a keyed hash of its key each bucket is one number: when it will be full again (GCRA's theoretical arrival time), in
/// nanoseconds since 1970. A bucket that is not there is full.
///
/// At most so many buckets, none above about 50 bytes; when a shard is full, what was untouched for longest goes, and is
/// full when it comes again. A bucket that refuses is touched by that, so whoever goes on asking stays.
#[derive(Debug)]
pub(super) struct Buckets {
    hasher: RandomState,
    shards: [Mutex<LinkedHashMap<u64, i64, RandomState>>; SHARDS],
    shard_max: usize,
}

impl Buckets {
    pub(super) fn new(entries_max: usize) -> Self {
        let shard = |_| Mutex::new(LinkedHashMap::with_hasher(RandomState::new()));
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(shard),
            shard_max: entries_max.div_ceil(SHARDS).max(1),
        }
    }

    /// Takes one request out of a key's bucket, if it holds one. Waits for nothing but a few look-ups of another's.
    pub(super) fn take(&self, key: &impl Hash, rate: Rate, now: DateTime<Utc>) -> Left {
        let now = now.timestamp_nanos_opt().unwrap_or(i64::MAX / 2);
        let window = i64::try_from(rate.window.as_nanos()).unwrap_or(i64::MAX / 4);
        let each = (window / i64::from(rate.quota)).max(1);
        let key = self.hasher.hash_one(key);
        let shard = &self.shards[(key % SHARDS as u64) as usize];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..SWEPT {
            if shard.front().is_none_or(|(_, full_at)| *full_at > now) {
                break;
            }
            shard.pop_front();
        }
        // Emptier than empty means that the clock was set back: it begins anew, so that nobody waits for the old time.
        let before = shard.remove(&key).filter(|full_at| *full_at <= now + window).unwrap_or(now).max(now);
        let after = before + each;
        let wait = after - window - now;
        let full_at = if wait > 0 { before } else { after };
        shard.insert(key, full_at);
        while shard.len() > self.shard_max {
            shard.pop_front();
        }
        drop(shard);
        let requests = u32::try_from((window - (full_at - now)) / each).unwrap_or(u32::MAX);
        let nanos = |nanos: i64| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        Left { requests: requests.min(rate.quota), full_in: nanos(full_at - now), wait: nanos(wait) }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn rate(quota: u32, seconds: u64) -> Rate {
        Rate { quota, window: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_as_it_fills() {
        let (buckets, rate) = (Buckets::new(100), rate(4, 2));
        let left: Vec<u32> = (0..4).map(|_| buckets.take(&"ann", rate, at(0)).requests).collect();
        assert_eq!(left, [3, 2, 1, 0]);
        let empty = buckets.take(&"ann", rate, at(0));
        let (full_in, wait) = (Duration::from_secs(2), Duration::from_millis(500));
        assert_eq!(empty, Left { requests: 0, full_in, wait });
        assert_eq!(
            buckets.take(&"ann", rate, at(499)).wait,
            Duration::from_millis(1),
            "asking in vain costs nothing"
        );
        assert_eq!(buckets.take(&"ann", rate, at(500)).wait, Duration::ZERO);
        assert_eq!(buckets.take(&"ben", rate, at(500)).requests, 3, "another's is untouched");
        assert_eq!(buckets.take(&"ann", rate, at(2_500)).requests, 3, "it is full again");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_out() {
        let (buckets, rate) = (Buckets::new(100), rate(4, 2));
        while buckets.take(&"ann", rate, at(3_600_000)).wait.is_zero() {}
        assert_eq!(buckets.take(&"ann", rate, at(0)).requests, 3);
    }

    #[test]
    fn there_are_never_more_than_the_bound_and_none_when_a_flood_is_over() {
        let (buckets, rate) = (Buckets::new(160), rate(4, 2));
        for n in 0..10_000 {
            buckets.take(&n, rate, at(0));
        }
        assert_eq!(buckets.len(), 160);
        for n in 0..10_000 {
            buckets.take(&n, rate, at(10_000 + 1_000 * n));
        }
        assert!(buckets.len() <= 3 * SHARDS, "{}", buckets.len());
    }

    #[test]
    fn whoever_goes_on_asking_is_not_forgotten_in_a_flood() {
        let (buckets, rate) = (Buckets::new(160), rate(4, 2));
        while buckets.take(&"ann", rate, at(0)).wait.is_zero() {}
        for n in 0..10_000 {
            buckets.take(&n, rate, at(0));
            assert!(!buckets.take(&"ann", rate, at(0)).wait.is_zero());
        }
    }

    proptest! {
        /// In any time at most what the bucket holds and what flows in; and whoever keeps to the rate is never refused.
        #[test]
        fn no_more_is_let_in_than_the_bucket_holds_and_flows_in(
            quota in 1_u32..50,
            seconds in 1_u64..100,
            pauses in proptest::collection::vec(0_i64..5_000, 1..300),
        ) {
            let (buckets, rate) = (Buckets::new(16), rate(quota, seconds));
            let mut now = 0;
            let mut let_in: Vec<i64> = Vec::new();
            for pause in pauses {
                now += pause;
                if buckets.take(&0, rate, at(now)).wait.is_zero() {
                    let_in.push(now);
                }
            }
            let window = i64::try_from(seconds * 1_000).unwrap();
            for (n, begin) in let_in.iter().enumerate() {
                for (m, end) in let_in.iter().enumerate().skip(n) {
                    let inflow = (end - begin) * i64::from(quota) / window;
                    let count = i64::try_from(m - n + 1).unwrap();
                    prop_assert!(count <= i64::from(quota) + inflow + 1, "{count} within {} ms", end - begin);
                }
            }
        }

        #[test]
        fn whoever_is_told_to_wait_is_let_in_after_that(quota in 1_u32..50, seconds in 1_u64..100, more in 0_u32..100) {
            let (buckets, rate) = (Buckets::new(16), rate(quota, seconds));
            for _ in 0..quota + more {
                buckets.take(&0, rate, at(0));
            }
            let wait = buckets.take(&0, rate, at(0)).wait;
            let then = at(0) + TimeDelta::from_std(wait).unwrap();
            prop_assert_eq!(buckets.take(&0, rate, then).wait, Duration::ZERO);
        }
    }
}
