//! A closed loop: each worker sends its next command when it has its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use disintegrate::DecisionError;
use disintegrate_postgres::{Error as StoreError, PgEventId};
use futures::future::try_join_all;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use crate::tenants::{FlagValue, Metadata, Refusal, SetFlag, Tenants};

const FLAGS: u64 = 8;
/// Numbers as long as the benchmark's: round 1, then the worker, then the count.
const ROUND: u64 = 1 << 48;

/// What the workers share.
pub struct Load {
    store: Tenants,
    tenants: Vec<Uuid>,
    since: Instant,
    until: Instant,
}

/// What became of one worker's commands.
#[derive(Default)]
pub struct Worker {
    /// Also those before and after the measured time: the number of each, and the id of its event.
    pub acknowledged: Vec<(u64, PgEventId)>,
    pub counted: u64,
    pub repeats: u64,
    pub latencies: Vec<Duration>,
}

impl Load {
    /// Runs so many workers to their end.
    pub async fn run(
        store: Tenants,
        tenants: Vec<Uuid>,
        in_flight: u64,
        warm_up: Duration,
        measured: Duration,
    ) -> Result<Vec<Worker>> {
        let since = Instant::now() + warm_up;
        let load = Arc::new(Self { store, tenants, since, until: since + measured });
        let workers = (0..in_flight).map(|number| {
            let load = load.clone();
            async move { tokio::spawn(async move { load.work(number).await }).await? }
        });
        try_join_all(workers).await
    }

    async fn work(&self, worker: u64) -> Result<Worker> {
        let mut draw = SmallRng::seed_from_u64(worker);
        let mut done = Worker::default();
        loop {
            let tenant = *self.tenants.choose(&mut draw).context("there are no tenants")?;
            let number = ROUND | worker << 32 | done.acknowledged.len() as u64;
            let sent = Instant::now();
            if sent >= self.until {
                return Ok(done);
            }
            let Some((event, repeats)) = self.carry_out(tenant, number).await? else { return Ok(done) };
            let answered = Instant::now();
            done.acknowledged.push((number, event));
            if (self.since..self.until).contains(&answered) {
                done.counted += 1;
                done.repeats += repeats;
            }
            if sent >= self.since {
                done.latencies.push(answered - sent);
            }
        }
    }

    /// Gives the id of the event and how often the command was repeated; `None` if it lost a race after the time and
    /// wrote nothing.
    async fn carry_out(&self, tenant: Uuid, number: u64) -> Result<Option<(PgEventId, u64)>> {
        let decision = SetFlag {
            tenant,
            key: format!("checkout.variant-{}", number % FLAGS),
            value: FlagValue::String(flag_text(number)),
            metadata: metadata("flags:set"),
        };
        let mut repeats = 0;
        loop {
            match self.store.make(decision.clone()).await {
                Ok(events) => {
                    let event = events.first().context("the library stored no event")?;
                    return Ok(Some((event.id(), repeats)));
                }
                Err(error) if !lost_race(&error) => {
                    return Err(error).context("a command was not carried out");
                }
                Err(_) if Instant::now() >= self.until => return Ok(None),
                Err(_) => repeats += 1,
            }
        }
    }
}

/// The text a number sets its flag to.
fn flag_text(number: u64) -> String {
    format!("variant {number}")
}

/// The number that such a text has.
pub fn number_of(text: &str) -> Option<u64> {
    text.strip_prefix("variant ")?.parse().ok()
}

pub fn metadata(action: &str) -> Metadata {
    Metadata {
        action: action.to_owned(),
        actor: "00000000-0000-7000-8000-00000000beef".to_owned(),
        actor_kind: "operator".to_owned(),
        role: "operator".to_owned(),
        correlation_id: fresh_id(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a peer is no part of the workspace and knows no kernel")]
pub fn fresh_id() -> Uuid {
    Uuid::new_v4()
}

/// True if nothing was written because another command came first. Of PostgreSQL's serialisation failures the library
/// names those of the commit so, and hands those of a statement on as they are.
pub fn lost_race(error: &DecisionError<Refusal>) -> bool {
    let DecisionError::StateStore(error) = error else { return false };
    match error.downcast_ref::<StoreError>() {
        Some(StoreError::Concurrency) => true,
        Some(StoreError::Database(sqlx::Error::Database(error))) => error.code().as_deref() == Some("40001"),
        _ => false,
    }
}
