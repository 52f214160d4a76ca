//! The threads that hash: a fixed number, apart from the runtime's, with a bounded queue before them.
//!
//! A hash takes tens of milliseconds of a core and must take them. In the runtime's threads it would stop everything
//! else; in tokio's blocking ones hundreds could run at once, each with its memory.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::stored::Memory;
use crate::telemetry;

/// How much nicer than others the threads are to the scheduler (Linux; -20 to 19). While requests that need no hash
/// keep every core busy, hashing gets about a third of a thread's share, and all of a core that is idle.
const NICENESS: i32 = 5;
/// What a job is taken to need until some have been measured.
const JOB_SECONDS_EXPECTED: f64 = 0.05;
/// How much one job moves the expectation of the next.
const JOB_WEIGHT: f64 = 0.1;
/// The longest that anybody is told to stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a job has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoResult {
    /// As many wait as may. Ask again after this, at least a second.
    Busy { retry_after: Duration },
    /// It panicked, or the pool has been dropped.
    Ended,
}

/// Dropping it ends the threads, each after the job it is at; whoever waits hears [`NoResult::Ended`].
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    threads: usize,
    waiting_max: usize,
}

struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    job_seconds: f64,
    stopped: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.jobs.len()).field("stopped", &self.stopped).finish()
    }
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system gives no thread. Those it gave end.
    pub(super) fn start(threads: usize, waiting_max: usize) -> std::io::Result<Self> {
        let queue = Queue { jobs: VecDeque::new(), job_seconds: JOB_SECONDS_EXPECTED, stopped: false };
        let shared =
            Arc::new(Shared { queue: Mutex::new(queue), wake: Condvar::new(), threads, waiting_max });
        let pool = Self { shared };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            std::thread::Builder::new().name(format!("password-{number}")).spawn(move || work_on(&shared))?;
        }
        Ok(pool)
    }

    /// Has the work done by a thread, and waits for it. Dropped before a thread has begun, it is never begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        kind: &'static str,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Box::new(Asked { kind, asked_at: Instant::now(), work, answer })).inspect_err(|_| {
            telemetry::password_job(kind, "refused");
        })?;
        answered.await.map_err(|_| NoResult::Ended)
    }

    fn enqueue(&self, job: Box<dyn Job>) -> Result<(), NoResult> {
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= self.shared.waiting_max {
            // Whoever went away leaves their place to others, not only when it would be their turn.
            queue.jobs.retain(|job| {
                let is_abandoned = job.is_abandoned();
                if is_abandoned {
                    telemetry::password_job(job.kind(), "abandoned");
                }
                !is_abandoned
            });
        }
        if queue.jobs.len() >= self.shared.waiting_max {
            return Err(NoResult::Busy { retry_after: self.shared.patience(&queue) });
        }
        queue.jobs.push_back(job);
        telemetry::passwords_waiting(queue.jobs.len());
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.stopped = true;
        let left = std::mem::take(&mut queue.jobs);
        drop(queue);
        self.shared.wake.notify_all();
        drop(left);
    }
}

impl Shared {
    /// A panic while it was held would leave it whole: nothing that can panic is done under it.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the jobs that wait will take, about.
    fn patience(&self, queue: &Queue) -> Duration {
        let rounds = queue.jobs.len() as f64 / self.threads as f64 + 1.0;
        let seconds = (rounds * queue.job_seconds).ceil().clamp(1.0, RETRY_AFTER_MAX.as_secs_f64());
        Duration::from_secs_f64(seconds)
    }

    /// The next job that somebody waits for; `None` when there will be none.
    fn next(&self) -> Option<Box<dyn Job>> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            let Some(job) = queue.jobs.pop_front() else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            telemetry::passwords_waiting(queue.jobs.len());
            if !job.is_abandoned() {
                return Some(job);
            }
            telemetry::password_job(job.kind(), "abandoned");
        }
    }

    fn took(&self, seconds: f64) {
        let mut queue = self.lock();
        queue.job_seconds += JOB_WEIGHT * (seconds - queue.job_seconds);
    }
}

/// A thread's life.
fn work_on(shared: &Shared) {
    be_nice();
    let mut memory = Memory::default();
    while let Some(job) = shared.next() {
        let kind = job.kind();
        telemetry::password_waited(job.waited());
        let begun_at = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run(&mut memory)));
        let took = begun_at.elapsed();
        shared.took(took.as_secs_f64());
        telemetry::password_took(kind, took);
        if outcome.is_ok() {
            telemetry::password_job(kind, "done");
        } else {
            telemetry::password_job(kind, "panicked");
            tracing::error!(job = kind, "a thread for passwords panicked at its work");
            memory = Memory::default();
        }
    }
}

/// Lowers this thread's priority, so that whoever needs no hash doesn't wait for those who do.
fn be_nice() {
    // On Linux it is the thread's own; elsewhere it would be the whole process's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the threads for passwords keep the priority of others");
    }
}

trait Job: Send {
    fn kind(&self) -> &'static str;
    fn waited(&self) -> Duration;
    /// Nobody waits for its result any more.
    fn is_abandoned(&self) -> bool;
    fn run(self: Box<Self>, memory: &mut Memory);
}

struct Asked<W, T> {
    kind: &'static str,
    asked_at: Instant,
    work: W,
    answer: oneshot::Sender<T>,
}

impl<W: FnOnce(&mut Memory) -> T + Send, T: Send> Job for Asked<W, T> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn waited(&self) -> Duration {
        self.asked_at.elapsed()
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn run(self: Box<Self>, memory: &mut Memory) {
        let Self { work, answer, .. } = *self;
        // Whoever asked may be gone by now.
        let _ = answer.send(work(memory));
    }
}

#[cfg(test)]
mod tests;
