//! Open-loop load: commands at a fixed rate, each sent when its time has come, whether or not earlier ones have answers.
//!
//! Latencies count from when a command was due, so a stall shows in every command that fell due in it: nothing is
//! omitted. Timers have a grain of a millisecond, which is part of every figure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::histogram;
use crate::work::{Contender, Wish};

/// Commands without an answer, at most: with more the contender doesn't keep up, and there is nothing to measure.
const UNANSWERED_MAX: u64 = 20_000;

/// What load to make.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Commands a second, over all tenants in turn.
    pub per_second: f64,
    pub tenants: Arc<[Uuid]>,
    pub warm_up: Duration,
    pub measured: Duration,
    /// Tells this load's values from those of others on the same tenants; at most 65,535.
    pub salt: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In microseconds, from when each was due; all that fell due in the measured time were answered.
    pub latencies: Histogram<u64>,
}

pub async fn run<C: Contender>(contender: Arc<C>, pace: Pace) -> Result<Outcome> {
    let start = Instant::now();
    let (from, until) = (start + pace.warm_up, start + pace.warm_up + pace.measured);
    let latencies = Arc::new(Mutex::new(histogram()));
    let answered = Arc::new(AtomicU64::new(0));
    let mut under_way = JoinSet::new();
    let mut count = 0_u64;
    loop {
        let due = start + Duration::from_secs_f64(count as f64 / pace.per_second);
        if due >= until {
            break;
        }
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        while let Some(ended) = under_way.try_join_next() {
            ended.context("a command panicked")??;
        }
        let unanswered = count - answered.load(Ordering::Relaxed);
        ensure!(unanswered < UNANSWERED_MAX, "{unanswered} commands wait for an answer: it doesn't keep up");
        let tenant = pace.tenants[count as usize % pace.tenants.len()];
        let number = (pace.salt << 48) | count;
        let (contender, latencies, answered) = (contender.clone(), latencies.clone(), answered.clone());
        let counts = due >= from;
        under_way.spawn(async move {
            contender.carry_out(0, tenant, Wish::SetFlag(number)).await?;
            answered.fetch_add(1, Ordering::Relaxed);
            if counts {
                let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                latencies.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
            }
            anyhow::Ok(())
        });
        count += 1;
    }
    while let Some(ended) = under_way.join_next().await {
        ended.context("a command panicked")??;
    }
    let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Outcome { latencies })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work;

    /// Stalls once, for whoever comes first.
    struct Stalling(tokio::sync::Mutex<bool>);

    impl Contender for Stalling {
        async fn carry_out(&self, _: usize, _: Uuid, _: Wish) -> Result<u64> {
            let mut stalled = self.0.lock().await;
            if !std::mem::replace(&mut *stalled, true) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(0)
        }
    }

    #[tokio::test]
    async fn what_falls_due_in_a_stall_is_late_too() {
        let pace = Pace {
            per_second: 100.0,
            tenants: work::tenants(4).into(),
            warm_up: Duration::ZERO,
            measured: Duration::from_millis(400),
            salt: 1,
        };
        let outcome = run(Arc::new(Stalling(tokio::sync::Mutex::new(false))), pace).await.unwrap();
        assert_eq!(outcome.latencies.len(), 40);
        let late = outcome.latencies.count_between(50_000, 300_000);
        assert!((10..=25).contains(&late), "{late} of 40 were late");
    }
}
