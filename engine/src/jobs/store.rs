//! The table `jobs`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Pool;
use kernel::{Clock, PersonId, TenantId};
use tokio::sync::Notify;
use tokio_postgres::Row;

use super::{
    Allowance, Asked, DEAD_KEPT_DAYS, DONE_KEPT_DAYS, Job, JobError, JobId, JobState, JobStatus, JobsHealth,
    NewJob, pause_after,
};

/// Jobs whose lease lapsed, or that are forgotten, in one transaction at most.
const BATCH_MAX: i64 = 1_000;
/// A job that failed this often without being dead is told of.
const STRUGGLING_ATTEMPTS: i32 = 3;
/// How long a job that died is told of, in hours; it can be looked at for longer.
const LATELY_HOURS: i64 = 24;
/// Kinds and words that are told of at most.
const WORDS_MAX: i64 = 5;
/// How often it is tried to ask for a job while others come and go.
const REQUEST_TRIES_MAX: u32 = 3;

/// The jobs can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
}

/// What is to be done in the background.
#[derive(Clone)]
pub struct Jobs {
    pool: Pool,
    clock: Arc<dyn Clock>,
    /// Wakes the workers of this process; those of others look by themselves.
    pub(super) wake: Arc<Notify>,
}

/// How an attempt ended.
struct Ended<'a> {
    state: &'static str,
    run_at: Option<DateTime<Utc>>,
    word: Option<&'a str>,
    finished_at: Option<DateTime<Utc>>,
}

impl Jobs {
    /// `pool`: the server's role.
    pub fn new(pool: Pool, clock: Arc<dyn Clock>) -> Self {
        Self { pool, clock, wake: Arc::default() }
    }

    /// Asks for a job; false if it was asked for before, by whomever.
    ///
    /// # Errors
    /// [`JobsError`]: it may be asked for or not; asking again is harmless.
    pub async fn enqueue(&self, job: NewJob) -> Result<bool, JobsError> {
        let now = self.clock.now();
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(include_str!("sql/enqueue.sql")).await?;
        let added = client
            .execute(
                &statement,
                &[
                    &job.id.0,
                    &job.kind,
                    &job.payload,
                    &job.tenant.map(|tenant| tenant.0),
                    &(job.priority as i16),
                    &i32::try_from(job.attempts_max.max(1)).unwrap_or(i32::MAX),
                    &job.run_at.unwrap_or(now),
                    &now,
                ],
            )
            .await?;
        self.wake.notify_waiters();
        Ok(added == 1)
    }

    /// Asks for a job in a person's name. Of its kind they have one under way at a time, and no more than they are
    /// allowed; a second request for the same one is answered with it, whatever is allowed by then.
    ///
    /// # Errors
    /// As [`Jobs::enqueue`].
    pub async fn request(
        &self,
        job: &NewJob,
        requester: PersonId,
        allowed: Allowance,
    ) -> Result<Asked, JobsError> {
        let now = self.clock.now();
        let since = now - allowed.within;
        let client = self.pool.get().await?;
        let request = client.prepare_cached(include_str!("sql/request.sql")).await?;
        for _ in 0..REQUEST_TRIES_MAX {
            let requested = include_str!("sql/requested.sql");
            let found = client.query_opt(requested, &[&job.id.0, &requester.0, &job.kind]).await?;
            if let Some(row) = found {
                return Ok(Asked::There(JobId(row.get(0))));
            }
            let added = client
                .execute(
                    &request,
                    &[
                        &job.id.0,
                        &job.kind,
                        &job.payload,
                        &job.tenant.map(|tenant| tenant.0),
                        &(job.priority as i16),
                        &i32::try_from(job.attempts_max.max(1)).unwrap_or(i32::MAX),
                        &job.run_at.unwrap_or(now),
                        &now,
                        &requester.0,
                        &since,
                        &i64::from(allowed.at_most),
                    ],
                )
                .await?;
            if added == 1 {
                self.wake.notify_waiters();
                return Ok(Asked::Added);
            }
            // Either there are as many as there may be, or another request came first: then it is found.
            let sql = "SELECT created_at FROM jobs WHERE requester = $1 AND kind = $2 AND created_at > $3 \
                       ORDER BY created_at DESC OFFSET $4 LIMIT 1";
            let first = i64::from(allowed.at_most.max(1)) - 1;
            let oldest = client.query_opt(sql, &[&requester.0, &job.kind, &since, &first]).await?;
            if let Some(row) = oldest {
                return Ok(Asked::Full { until: row.get::<_, DateTime<Utc>>(0) + allowed.within });
            }
        }
        Ok(Asked::Full { until: now + TimeDelta::seconds(1) })
    }

    /// How a job is; `None`: there is none, or it is forgotten.
    ///
    /// # Errors
    /// [`JobsError`]
    pub async fn find(&self, id: JobId) -> Result<Option<JobStatus>, JobsError> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(include_str!("sql/find.sql")).await?;
        let row = client.query_opt(&statement, &[&id.0, &self.clock.now()]).await?;
        Ok(row.as_ref().and_then(status))
    }

    /// Another round of attempts, the first at once, for a job that is dead or waits; false if there is no such job.
    ///
    /// # Errors
    /// [`JobsError`]
    pub async fn retry(&self, id: JobId) -> Result<bool, JobsError> {
        let retried = self
            .pool
            .get()
            .await?
            .execute(include_str!("sql/retry.sql"), &[&id.0, &self.clock.now()])
            .await?;
        self.wake.notify_waiters();
        Ok(retried == 1)
    }

    /// The most urgent job that is due, which is ours until the lease lapses.
    pub(super) async fn take(&self, kinds: &[&str], lease: Duration) -> Result<Option<Job>, JobsError> {
        let now = self.clock.now();
        let locked_until = now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(include_str!("sql/take.sql")).await?;
        let row = client.query_opt(&statement, &[&kinds, &now, &locked_until]).await?;
        Ok(row.map(|row| job(&row, locked_until)))
    }

    /// Writes down how an attempt ended; false if the job is somebody else's by now.
    pub(super) async fn settle(&self, job: &Job, result: &Result<(), JobError>) -> Result<bool, JobsError> {
        let ended = ended(job, result, self.clock.now());
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(include_str!("sql/settle.sql")).await?;
        let settled = client
            .execute(
                &statement,
                &[
                    &job.id.0,
                    &i32::try_from(job.attempt).unwrap_or(i32::MAX),
                    &job.locked_until,
                    &ended.state,
                    &ended.run_at,
                    &ended.word,
                    &ended.finished_at,
                ],
            )
            .await?;
        Ok(settled == 1)
    }

    /// Takes jobs back from whoever died over them; returns how many.
    pub(super) async fn reclaim(&self) -> Result<u64, JobsError> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(include_str!("sql/reclaim.sql")).await?;
        let reclaimed = client.execute(&statement, &[&self.clock.now(), &BATCH_MAX]).await?;
        if reclaimed > 0 {
            tracing::warn!(jobs = reclaimed, "jobs whose worker died or was too slow wait again");
            self.wake.notify_waiters();
        }
        Ok(reclaimed)
    }

    /// Forgets jobs after their time, and what they made; returns how many jobs, at most a batch.
    pub(super) async fn prune(&self) -> Result<u64, JobsError> {
        let now = self.clock.now();
        let (done, dead) = (now - TimeDelta::days(DONE_KEPT_DAYS), now - TimeDelta::days(DEAD_KEPT_DAYS));
        let client = self.pool.get().await?;
        client.execute(include_str!("sql/prune_results.sql"), &[&now, &BATCH_MAX]).await?;
        Ok(client.execute(include_str!("sql/prune.sql"), &[&done, &dead, &BATCH_MAX]).await?)
    }

    /// How they are, as far as the database knows.
    pub(super) async fn count(&self) -> Result<JobsHealth, JobsError> {
        let now = self.clock.now();
        let lately = now - TimeDelta::hours(LATELY_HOURS);
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(include_str!("sql/count.sql")).await?;
        let row = client.query_one(&statement, &[&lately, &STRUGGLING_ATTEMPTS, &WORDS_MAX]).await?;
        let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        let first_due: Option<DateTime<Utc>> = row.get(3);
        Ok(JobsHealth {
            waiting: number(0),
            running: number(1),
            dead: number(2),
            overdue: first_due.and_then(|due| (now - due).to_std().ok()).unwrap_or_default(),
            died_lately: number(4),
            struggling: number(5),
            words: row.get(6),
            trouble: None,
        })
    }
}

fn job(row: &Row, locked_until: DateTime<Utc>) -> Job {
    Job {
        id: JobId(row.get(0)),
        kind: row.get(1),
        payload: row.get(2),
        tenant: row.get::<_, Option<_>>(3).map(TenantId),
        attempt: row.get::<_, i32>(4).unsigned_abs(),
        attempts_max: row.get::<_, i32>(5).unsigned_abs(),
        created_at: row.get(6),
        requester: row.get::<_, Option<_>>(7).map(PersonId),
        locked_until,
    }
}

/// The database holds no other words.
fn status(row: &Row) -> Option<JobStatus> {
    Some(JobStatus {
        id: JobId(row.get(0)),
        kind: row.get(1),
        requester: row.get::<_, Option<_>>(2).map(PersonId),
        state: JobState::parse(row.get(3))?,
        attempts: row.get::<_, i32>(4).unsigned_abs(),
        attempts_max: row.get::<_, i32>(5).unsigned_abs(),
        last_error: row.get(6),
        created_at: row.get(7),
        finished_at: row.get(8),
        result_until: row.get(9),
    })
}

fn ended<'a>(job: &Job, result: &'a Result<(), JobError>, now: DateTime<Utc>) -> Ended<'a> {
    match result {
        Ok(()) => Ended { state: "done", run_at: None, word: None, finished_at: Some(now) },
        Err(error @ JobError::Later(_)) if job.attempt < job.attempts_max => {
            let run_at = Some(now + pause_after(job.attempt));
            Ended { state: "waiting", run_at, word: Some(error.word()), finished_at: None }
        }
        Err(error) => Ended { state: "dead", run_at: None, word: Some(error.word()), finished_at: Some(now) },
    }
}
