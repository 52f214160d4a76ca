//! Closed-loop load: so many workers, each with one command under way, each sending the next when it has its answer.
//!
//! A closed loop omits what it would have sent during a stall (coordinated omission): one stall of a second is one
//! slow answer per worker, and the percentiles hardly show it. So latencies are counted from the first attempt, retries
//! included, and given twice: as measured, and corrected, with the commands filled in that each worker would have
//! sent at its usual pace while it waited.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::histogram;
use crate::work::{Contender, GaveUp, Wish};

/// Histograms the workers share, so that they neither wait for each other nor take memory for one each.
const HISTOGRAMS: usize = 8;
/// Tenants asked at once outside of the load itself.
const AT_ONCE: usize = 64;

/// What load to make.
#[derive(Clone, Debug)]
pub struct Plan {
    pub in_flight: usize,
    pub tenants: Arc<[Uuid]>,
    pub warm_up: Duration,
    pub measured: Duration,
    /// The same seed draws the same tenants.
    pub seed: u64,
    /// Tells this load's values from those of earlier ones on the same tenants; at most 65,535.
    pub salt: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Commands answered, also before and after the measured time.
    pub acknowledged: u64,
    /// Commands answered within the measured time.
    pub counted: u64,
    /// How often one of those had to be repeated.
    pub repeats: u64,
    pub elapsed: Duration,
    /// In microseconds, of commands sent in the measured time.
    pub latencies: Histogram<u64>,
    /// The same, corrected for what the workers did not send while they waited.
    pub corrected: Histogram<u64>,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.counted as f64 / self.elapsed.as_secs_f64()
    }
}

struct Shared<C> {
    contender: Arc<C>,
    plan: Plan,
    from: Instant,
    until: Instant,
    counted: AtomicU64,
    repeats: AtomicU64,
    acknowledged: AtomicU64,
    latencies: [Mutex<Histogram<u64>>; HISTOGRAMS],
}

/// Gives every tenant its first event.
pub async fn provision<C: Contender>(contender: &C, tenants: &[Uuid]) -> Result<()> {
    each(contender, tenants, |_| Wish::Provision).await
}

/// Asks every tenant for one thing, told its index.
pub async fn each<C: Contender>(
    contender: &C,
    tenants: &[Uuid],
    wish: impl Fn(usize) -> Wish + Sync,
) -> Result<()> {
    stream::iter(tenants.iter().copied().enumerate())
        .map(|(index, tenant)| contender.carry_out(index, tenant, wish(index)))
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}

/// Makes the load. `begins` and `ends` are called at the edges of the measured time, `ticks` now and then with the
/// number of commands so far.
pub async fn run<C: Contender, T>(
    contender: Arc<C>,
    plan: Plan,
    mut edge: impl AsyncFnMut() -> Result<T>,
    mut tick: impl FnMut(Duration, u64),
) -> Result<(Outcome, T, T)> {
    let start = Instant::now();
    let from = start + plan.warm_up;
    let shared = Arc::new(Shared {
        contender,
        from,
        until: from + plan.measured,
        counted: AtomicU64::new(0),
        repeats: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        latencies: std::array::from_fn(|_| Mutex::new(histogram())),
        plan,
    });
    let mut workers = JoinSet::new();
    for number in 0..shared.plan.in_flight {
        workers.spawn(work(shared.clone(), number));
    }
    tokio::time::sleep_until(shared.from.into()).await;
    let before = edge().await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(shared.until.into()) => break,
            _ = ticks.tick() => tick(from.elapsed(), shared.counted.load(Ordering::Relaxed)),
            // A worker that ends before the time has failed.
            Some(ended) = workers.join_next() => ended.context("a worker panicked")??,
        }
    }
    let after = edge().await?;
    shared.contender.wind_up();
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker panicked")??;
    }
    Ok((outcome(&shared), before, after))
}

async fn work<C: Contender>(shared: Arc<Shared<C>>, worker: usize) -> Result<()> {
    let plan = &shared.plan;
    let mut random = SmallRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003) ^ worker as u64);
    for count in 0_u64.. {
        let tenant = plan.tenants[random.random_range(0..plan.tenants.len())];
        let sent = Instant::now();
        if sent >= shared.until {
            break;
        }
        // Never the same number twice, also not on what earlier rounds left.
        let number = (plan.salt << 48) | ((worker as u64) << 32) | count;
        let repeats = match shared.contender.carry_out(worker, tenant, Wish::SetFlag(number)).await {
            Err(error) if error.is::<GaveUp>() => break,
            done => done?,
        };
        let answered = Instant::now();
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        if answered >= shared.from && answered < shared.until {
            shared.counted.fetch_add(1, Ordering::Relaxed);
            shared.repeats.fetch_add(repeats, Ordering::Relaxed);
        }
        if sent >= shared.from {
            let micros = u64::try_from((answered - sent).as_micros()).unwrap_or(u64::MAX);
            let histogram = &shared.latencies[worker % HISTOGRAMS];
            histogram.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
        }
    }
    Ok(())
}

fn outcome<C>(shared: &Shared<C>) -> Outcome {
    let mut latencies = histogram();
    for part in &shared.latencies {
        let part = part.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.add(&*part).expect("all histograms have the same bounds");
    }
    let usual_micros = latencies.value_at_quantile(0.5);
    Outcome {
        acknowledged: shared.acknowledged.load(Ordering::Relaxed),
        counted: shared.counted.load(Ordering::Relaxed),
        repeats: shared.repeats.load(Ordering::Relaxed),
        elapsed: shared.plan.measured,
        corrected: latencies.clone_correct(usual_micros),
        latencies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work;

    /// Answers at once, but for one stall of all workers.
    struct Stalling {
        since: Instant,
    }

    impl Contender for Stalling {
        async fn carry_out(&self, _: usize, _: Uuid, _: Wish) -> Result<u64> {
            let stall = Duration::from_millis(200)..Duration::from_millis(400);
            let pause = if stall.contains(&self.since.elapsed()) { 200 } else { 1 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Ok(0)
        }
    }

    struct Failing;

    impl Contender for Failing {
        async fn carry_out(&self, _: usize, _: Uuid, _: Wish) -> Result<u64> {
            anyhow::bail!("no")
        }
    }

    fn plan() -> Plan {
        Plan {
            in_flight: 4,
            tenants: work::tenants(16).into(),
            warm_up: Duration::ZERO,
            measured: Duration::from_secs(1),
            seed: 1,
            salt: 1,
        }
    }

    #[tokio::test]
    async fn a_stall_shows_in_the_corrected_percentiles() {
        let contender = Arc::new(Stalling { since: Instant::now() });
        let (outcome, (), ()) = run(contender, plan(), async || Ok(()), |_, _| {}).await.unwrap();
        assert!(outcome.counted > 100 && outcome.counted <= outcome.acknowledged, "{outcome:?}");
        assert!(outcome.latencies.value_at_quantile(0.9) < 50_000);
        assert!(outcome.corrected.value_at_quantile(0.9) > 50_000);
    }

    #[tokio::test]
    async fn a_command_that_fails_ends_the_run() {
        let error = run(Arc::new(Failing), plan(), async || Ok(()), |_, _| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "no");
    }
}
