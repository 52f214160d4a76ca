//! Does jobs: a bounded number of supervised workers, and a caretaker that takes back, forgets and counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Job, JobError, JobHandler, Jobs, JobsError};
use crate::follow::{Followers, SpawnError, StartWork, Work};
use crate::telemetry;

/// How often jobs are looked for that are to be forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// How often it is tried to write down how an attempt ended, and the pause between. After that the lease lapses.
const SETTLE_TRIES_MAX: u32 = 5;
const SETTLE_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after the database refused; it doubles from a poll interval.
const TROUBLE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How many jobs are under way at once, how long they may take, and how often is looked for more.
#[derive(Clone, Copy, Debug)]
pub struct JobSettings {
    /// Jobs under way at once.
    pub workers: usize,
    /// How often is looked for jobs that are due, or that another process was asked for.
    pub poll: Duration,
    /// How long an attempt may take.
    pub attempt_max: Duration,
    /// How long a job is its worker's. Much longer than an attempt, so that none is taken from a living worker.
    pub lease: Duration,
    /// How long an attempt under way may still take when the server stops.
    pub drain_max: Duration,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            workers: 4,
            poll: Duration::from_secs(2),
            attempt_max: Duration::from_secs(60),
            lease: Duration::from_secs(300),
            drain_max: Duration::from_secs(10),
        }
    }
}

/// How the jobs are, as an operator reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobsHealth {
    pub waiting: u64,
    pub running: u64,
    /// Those that can't be done, as long as they are kept.
    pub dead: u64,
    /// Those of them that died within a day.
    pub died_lately: u64,
    /// Those that wait although they were tried several times.
    pub struggling: u64,
    /// How long the first of those that are due has waited.
    pub overdue: Duration,
    /// What died lately and what struggles: kinds and machine words, such as `mail smtp_550`; the first few.
    pub words: Vec<String>,
    /// Why the jobs can't be looked after now.
    pub trouble: Option<String>,
}

/// The running workers of one process.
pub struct JobRunner {
    followers: Followers,
    health: Arc<Mutex<JobsHealth>>,
}

type Handlers = Arc<HashMap<&'static str, Arc<dyn JobHandler>>>;

impl JobRunner {
    /// Starts the workers; without a handler there is nothing to do, and nobody. Jobs of kinds without a handler wait for
    /// a binary that has one.
    pub async fn start(
        jobs: &Jobs,
        handlers: Vec<Arc<dyn JobHandler>>,
        settings: JobSettings,
    ) -> Result<Self, SpawnError> {
        let handlers: Handlers =
            Arc::new(handlers.into_iter().map(|handler| (handler.kind(), handler)).collect());
        let health = Arc::new(Mutex::new(JobsHealth::default()));
        if handlers.is_empty() {
            return Ok(Self { followers: Followers::spawn(Vec::new()).await?, health });
        }
        let mut works: Vec<(String, StartWork)> = Vec::new();
        for number in 0..settings.workers {
            let (jobs, handlers) = (jobs.clone(), handlers.clone());
            let start: StartWork = Arc::new(move |stop| -> Box<dyn Work> {
                let (jobs, handlers) = (jobs.clone(), handlers.clone());
                Box::new(Worker { jobs, handlers, settings, stop, failures: 0 })
            });
            works.push((format!("worker {number} of the jobs"), start));
        }
        let (jobs, told) = (jobs.clone(), health.clone());
        let start: StartWork = Arc::new(move |stop| -> Box<dyn Work> {
            let (jobs, health) = (jobs.clone(), told.clone());
            Box::new(Caretaker { jobs, health, settings, stop, pruned_at: None })
        });
        works.push(("caretaker of the jobs".to_owned(), start));
        Ok(Self { followers: Followers::spawn(works).await?, health })
    }

    /// As the caretaker found them last.
    pub fn health(&self) -> JobsHealth {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets attempts under way end, within bounds, and returns when all workers have stopped.
    pub async fn drain(&self) {
        self.followers.drain().await;
    }
}

struct Worker {
    jobs: Jobs,
    handlers: Handlers,
    settings: JobSettings,
    stop: CancellationToken,
    failures: u32,
}

impl Worker {
    async fn attempt(&self, job: Job) {
        let begun = Instant::now();
        let result = self.carry_out(&job).await;
        let outcome = match &result {
            Ok(()) => "done",
            Err(JobError::Later(_)) if job.attempt < job.attempts_max => "later",
            Err(_) => "dead",
        };
        let kind = job.kind.clone();
        metrics::counter!(telemetry::JOB_ATTEMPTS, "kind" => kind.clone(), "outcome" => outcome).increment(1);
        metrics::histogram!(telemetry::JOB_SECONDS, "kind" => kind).record(begun.elapsed().as_secs_f64());
        let word = result.as_ref().err().map(JobError::word);
        match outcome {
            "dead" => {
                tracing::error!(job.id = %job.id.0, job.kind, job.attempt, reason = word, "a job is dead")
            }
            "later" => {
                tracing::warn!(job.id = %job.id.0, job.kind, job.attempt, reason = word, "a job is tried again later")
            }
            _ => tracing::debug!(job.id = %job.id.0, job.kind, job.attempt, "a job is done"),
        }
        self.settle(&job, &result).await;
    }

    /// Lets the handler do it in a task of its own, so that one that panics harms nobody else.
    async fn carry_out(&self, job: &Job) -> Result<(), JobError> {
        let Some(handler) = self.handlers.get(job.kind.as_str()).cloned() else {
            return Err(JobError::later("no_handler"));
        };
        let attempted = job.clone();
        let mut attempt = tokio::spawn(async move { handler.run(&attempted).await });
        let stopped = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.settings.drain_max).await;
        };
        let result = tokio::select! {
            ended = &mut attempt => return ended.unwrap_or_else(|_| Err(JobError::later("panicked"))),
            () = tokio::time::sleep(self.settings.attempt_max) => Err(JobError::later("timed_out")),
            () = stopped => Err(JobError::later("stopped")),
        };
        attempt.abort();
        result
    }

    async fn settle(&self, job: &Job, result: &Result<(), JobError>) {
        for _ in 0..SETTLE_TRIES_MAX {
            match self.jobs.settle(job, result).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!(job.id = %job.id.0, job.kind, "a job's lease lapsed before it ended: it is done again");
                    return;
                }
                Err(error) => {
                    tracing::warn!(job.id = %job.id.0, job.kind, %error, "how a job ended can't be written down yet");
                    tokio::time::sleep(SETTLE_PAUSE).await;
                }
            }
        }
    }
}

#[async_trait]
impl Work for Worker {
    async fn step(&mut self) {
        let wake = self.jobs.wake.clone();
        let mut woken = std::pin::pin!(wake.notified());
        // From here on, so that no job is missed that is asked for while there is none to be found.
        woken.as_mut().enable();
        let kinds: Vec<&str> = self.handlers.keys().copied().collect();
        let pause = match self.jobs.take(&kinds, self.settings.lease).await {
            Ok(Some(job)) => {
                self.failures = 0;
                return self.attempt(job).await;
            }
            Ok(None) => {
                self.failures = 0;
                self.settings.poll
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(%error, "a worker can't take a job; it tries again");
                self.settings.poll.saturating_mul(1 << self.failures.min(8)).min(TROUBLE_PAUSE_MAX)
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = woken, if self.failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Caretaker {
    jobs: Jobs,
    health: Arc<Mutex<JobsHealth>>,
    settings: JobSettings,
    stop: CancellationToken,
    pruned_at: Option<Instant>,
}

impl Caretaker {
    async fn look_after(&mut self) -> Result<JobsHealth, JobsError> {
        self.jobs.reclaim().await?;
        if self.pruned_at.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
            self.jobs.prune().await?;
            self.pruned_at = Some(Instant::now());
        }
        self.jobs.count().await
    }
}

#[async_trait]
impl Work for Caretaker {
    async fn step(&mut self) {
        let looked = self.look_after().await;
        {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            match looked {
                Ok(counted) => *health = counted,
                Err(error) => {
                    tracing::warn!(%error, "the jobs can't be looked after; it is tried again");
                    health.trouble = Some(error.to_string());
                }
            }
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(self.settings.poll) => {}
        }
    }
}
