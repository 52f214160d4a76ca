//! Authentications as they come in a day's mix, so many a second, each when its time has come (NFR-PERF-004).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::house::{Connection, House, email};
use super::{AT_WORK, PASSWORD, PEOPLE};
use crate::load::histogram;
use crate::load::open::{self, Pace};
use crate::work::{Contender, Wish};

/// Authentications a second.
pub const PER_SECOND: f64 = 5_000.0;
/// Of a thousand: logins by password, and refreshes. The others are checks of tokens and of keys, half and half.
const LOGINS: u64 = 1;
const REFRESHES: u64 = 10;

/// What the mix took, in microseconds from when each was due.
pub struct Mixed {
    pub all: Histogram<u64>,
    pub logins: Histogram<u64>,
    pub refreshes: Histogram<u64>,
}

struct Mix {
    house: House,
    /// Of each person.
    tokens: Vec<String>,
    key: String,
    flags: String,
    idle: Mutex<Vec<Connection>>,
    /// Refresh tokens that nobody is using now.
    sessions: Mutex<VecDeque<Value>>,
    next: AtomicU64,
    logins: Mutex<Histogram<u64>>,
    refreshes: Mutex<Histogram<u64>>,
}

/// Makes the load on a house, and closes it.
pub async fn run(house: House, warm_up: Duration, measured: Duration) -> Result<Mixed> {
    let key = house.application_key().await?.reveal().to_string();
    let tokens = house.people.iter().map(|person| house.shipped.token_of(*person, Role::User, house.tenant));
    let tokens = tokens.collect::<Result<_>>()?;
    let mut connection = Connection::open(&house.shipped).await?;
    let mut sessions = VecDeque::new();
    for number in 0..AT_WORK {
        let body = json!({"email": email(number), "password": PASSWORD});
        sessions.push_back(connection.post("/auth/login", &body).await?);
    }
    let flags = format!("/api/v1/flags?tenant={}", house.tenant);
    let pace = Pace { per_second: PER_SECOND, tenants: [house.tenant].into(), warm_up, measured, salt: 0 };
    let mix = Arc::new(Mix {
        house,
        tokens,
        key,
        flags,
        idle: Mutex::new(vec![connection]),
        sessions: Mutex::new(sessions),
        next: AtomicU64::new(0),
        logins: Mutex::new(histogram()),
        refreshes: Mutex::new(histogram()),
    });
    let outcome = open::run(mix.clone(), pace).await?;
    let mix = Arc::into_inner(mix).context("the load has ended")?;
    mix.house.shipped.close().await?;
    let inner = |kept: Mutex<Histogram<u64>>| kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Mixed { all: outcome.latencies, logins: inner(mix.logins), refreshes: inner(mix.refreshes) })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(into: &Mutex<Histogram<u64>>, began: Instant) {
    lock(into).saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
}

impl Mix {
    async fn one(&self, connection: &mut Connection, number: u64) -> Result<()> {
        let person = number as usize % PEOPLE;
        let began = Instant::now();
        match number % 1000 {
            0..LOGINS => {
                let body = json!({"email": email(person), "password": PASSWORD});
                connection.post("/auth/login", &body).await?;
                record(&self.logins, began);
            }
            kind if kind < LOGINS + REFRESHES => {
                let session = lock(&self.sessions).pop_front().context("more refreshes than sessions")?;
                let body = json!({"refresh_token": session["refresh_token"]});
                let session = connection.post("/auth/refresh", &body).await?;
                lock(&self.sessions).push_back(session);
                record(&self.refreshes, began);
            }
            kind if kind % 2 == 0 => connection.get("/auth/me/access", &self.tokens[person]).await?,
            _ => connection.get(&self.flags, &self.key).await?,
        }
        Ok(())
    }
}

impl Contender for Mix {
    async fn carry_out(&self, _: usize, _: Uuid, _: Wish) -> Result<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&self.house.shipped).await?,
        };
        self.one(&mut connection, number).await?;
        lock(&self.idle).push(connection);
        Ok(0)
    }
}
