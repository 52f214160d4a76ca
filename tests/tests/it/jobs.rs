//! Background jobs: once though two race, again after a crash, later after a failure, dead when nothing helps.

mod results;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use engine::jobs::{
    DEAD_KEPT_DAYS, DONE_KEPT_DAYS, Job, JobError, JobHandler, JobId, JobRunner, JobSettings, Jobs, NewJob,
    Priority,
};
use kernel::Clock;
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::db::TestDb;
use crate::feeds::{PATIENCE, eventually};

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct MovedClock(Mutex<DateTime<Utc>>);

impl MovedClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())))
    }

    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for MovedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// A job that is always well: once it is done, whatever was due before it has been taken.
const MARKER: JobId = JobId(Uuid::from_u128(99));

/// Does what it is told, and remembers what it was asked for.
#[derive(Default)]
struct Clerk {
    /// Each attempt: which job, and which of its attempts.
    asked: Mutex<Vec<(JobId, u32)>>,
    /// How the next attempts end; all others are well.
    ends: Mutex<VecDeque<Result<(), JobError>>>,
    panics: AtomicBool,
    /// Holds attempts up.
    gate: Option<Arc<Semaphore>>,
}

impl Clerk {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn told(ends: impl IntoIterator<Item = Result<(), JobError>>) -> Arc<Self> {
        Arc::new(Self { ends: Mutex::new(ends.into_iter().collect()), ..Self::default() })
    }

    fn held(gate: &Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self { gate: Some(Arc::clone(gate)), ..Self::default() })
    }

    fn asked(&self) -> Vec<(JobId, u32)> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl JobHandler for Clerk {
    fn kind(&self) -> &'static str {
        "errand"
    }

    async fn run(&self, job: &Job) -> Result<(), JobError> {
        self.asked.lock().unwrap().push((job.id, job.attempt));
        if job.id == MARKER {
            return Ok(());
        }
        assert!(!self.panics.swap(false, Ordering::SeqCst), "a clerk that falls over");
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        self.ends.lock().unwrap().pop_front().unwrap_or(Ok(()))
    }
}

/// A table of jobs, and a clock that its users share.
struct Office {
    db: TestDb,
    clock: Arc<MovedClock>,
    jobs: Jobs,
}

/// What the table says of a job.
#[derive(Debug, PartialEq)]
struct Row {
    state: String,
    attempts: i32,
    last_error: Option<String>,
    /// From now, in seconds.
    due_in: i64,
}

impl Office {
    async fn new() -> Self {
        let (db, clock) = (TestDb::new().await, MovedClock::new());
        let jobs = Jobs::new(db.server.clone(), clock.clone());
        Self { db, clock, jobs }
    }

    /// Jobs of another process: they wake nobody here.
    fn elsewhere(&self) -> Jobs {
        Jobs::new(crate::db::pool(&self.db.server_info), self.clock.clone())
    }

    async fn runner(&self, jobs: &Jobs, clerk: &Arc<Clerk>, workers: usize) -> JobRunner {
        let settings = JobSettings { workers, ..fast() };
        JobRunner::start(jobs, vec![Arc::clone(clerk) as Arc<dyn JobHandler>], settings).await.unwrap()
    }

    async fn ask(&self, number: u128) -> JobId {
        assert!(self.jobs.enqueue(errand(number)).await.unwrap());
        JobId(Uuid::from_u128(number))
    }

    async fn row(&self, id: JobId) -> Option<Row> {
        let client = self.db.server.get().await.unwrap();
        let sql = "SELECT state, attempts, last_error, run_at FROM jobs WHERE id = $1";
        client.query_opt(sql, &[&id.0]).await.unwrap().map(|row| Row {
            state: row.get(0),
            attempts: row.get(1),
            last_error: row.get(2),
            due_in: (row.get::<_, DateTime<Utc>>(3) - self.clock.now()).num_seconds(),
        })
    }

    async fn is(&self, id: JobId, state: &str, attempts: i32) {
        eventually(&format!("{state} after {attempts} attempts"), async || {
            self.row(id).await.is_some_and(|row| row.state == state && row.attempts == attempts)
        })
        .await;
    }
}

fn fast() -> JobSettings {
    JobSettings {
        workers: 1,
        poll: Duration::from_millis(10),
        attempt_max: PATIENCE,
        lease: Duration::from_secs(60),
        drain_max: PATIENCE,
    }
}

fn errand(number: u128) -> NewJob {
    NewJob::new(JobId(Uuid::from_u128(number)), "errand", json!({"number": number.to_string()}))
}

fn later() -> Result<(), JobError> {
    Err(JobError::later("not_yet"))
}

#[tokio::test]
async fn each_job_is_done_once_though_two_runners_race_for_it() {
    let office = Office::new().await;
    let clerk = Clerk::new();
    for number in 0..100 {
        office.ask(number).await;
    }
    let first = office.runner(&office.jobs, &clerk, 4).await;
    let second = office.runner(&office.elsewhere(), &clerk, 4).await;
    for number in 100..200 {
        office.ask(number).await;
    }
    let client = office.db.server.get().await.unwrap();
    eventually("all are done", async || {
        let sql = "SELECT count(*) FROM jobs WHERE state = 'done'";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 200
    })
    .await;
    first.drain().await;
    second.drain().await;
    let mut asked = clerk.asked();
    assert_eq!(asked.len(), 200);
    asked.sort_by_key(|(id, _)| id.0);
    asked.dedup();
    assert_eq!(asked.len(), 200, "each once, and each at its first attempt");
}

#[tokio::test]
async fn a_job_that_is_asked_for_twice_is_done_once() {
    let office = Office::new().await;
    let id = office.ask(1).await;
    assert!(!office.jobs.enqueue(errand(1)).await.unwrap(), "it waits already");
    let clerk = Clerk::new();
    let runner = office.runner(&office.jobs, &clerk, 2).await;
    office.is(id, "done", 1).await;
    assert!(!office.jobs.enqueue(errand(1)).await.unwrap(), "it is done already");
    office.ask(MARKER.0.as_u128()).await;
    office.is(MARKER, "done", 1).await;
    runner.drain().await;
    assert_eq!(clerk.asked(), [(id, 1), (MARKER, 1)]);
}

#[tokio::test]
async fn a_job_whose_worker_died_is_taken_again_when_its_lease_lapses_and_no_sooner() {
    let office = Office::new().await;
    let (gate, next_gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (dying, clerk) = (Clerk::held(&gate), Clerk::held(&next_gate));
    let id = office.ask(1).await;
    let hung = office.runner(&office.elsewhere(), &dying, 1).await;
    eventually("the first has it", async || !dying.asked().is_empty()).await;
    let runner = office.runner(&office.jobs, &clerk, 1).await;

    office.clock.advance(TimeDelta::seconds(59));
    office.ask(MARKER.0.as_u128()).await;
    office.is(MARKER, "done", 1).await;
    assert_eq!(office.row(id).await.unwrap().state, "running", "its lease has not lapsed");

    office.clock.advance(TimeDelta::seconds(1));
    eventually("another has it", async || clerk.asked().contains(&(id, 2))).await;
    // It was not dead but slow: what it says about its attempt counts no more.
    dying.ends.lock().unwrap().push_back(later());
    gate.add_permits(1);
    hung.drain().await;
    office.is(id, "running", 2).await;
    next_gate.add_permits(1);
    office.is(id, "done", 2).await;
    runner.drain().await;
    assert_eq!(dying.asked(), [(id, 1)]);
}

#[tokio::test]
async fn a_job_that_kills_its_worker_each_time_is_dead_in_the_end() {
    let office = Office::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let dying = Clerk::held(&gate);
    let job = NewJob { attempts_max: 1, ..errand(1) };
    let id = job.id;
    office.jobs.enqueue(job).await.unwrap();
    let hung = office.runner(&office.jobs, &dying, 1).await;
    eventually("it is taken", async || !dying.asked().is_empty()).await;
    office.clock.advance(TimeDelta::seconds(60));
    office.is(id, "dead", 1).await;
    gate.add_permits(1);
    hung.drain().await;
    let row = office.row(id).await.unwrap();
    assert_eq!((row.state.as_str(), row.last_error.as_deref()), ("dead", Some("lease_lapsed")));
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_after_a_pause_that_doubles() {
    let office = Office::new().await;
    let clerk = Clerk::told([later(), later()]);
    let id = office.ask(1).await;
    let runner = office.runner(&office.jobs, &clerk, 1).await;
    office.is(id, "waiting", 1).await;
    let failed = |attempts, due_in| {
        let (state, last_error) = ("waiting".to_owned(), Some("not_yet".to_owned()));
        Some(Row { state, attempts, last_error, due_in })
    };
    assert_eq!(office.row(id).await, failed(1, 30));

    // One worker takes what is due for longest: had it been due, it would have come before the other.
    office.clock.advance(TimeDelta::seconds(29));
    office.ask(MARKER.0.as_u128()).await;
    office.is(MARKER, "done", 1).await;
    assert_eq!(office.row(id).await, failed(1, 1));

    office.clock.advance(TimeDelta::seconds(1));
    office.is(id, "waiting", 2).await;
    assert_eq!(office.row(id).await, failed(2, 60));
    office.clock.advance(TimeDelta::seconds(60));
    office.is(id, "done", 3).await;
    runner.drain().await;
}

#[tokio::test]
async fn a_job_is_dead_after_its_last_attempt_and_can_be_tried_again() {
    let office = Office::new().await;
    let clerk = Clerk::told([later(), later(), later()]);
    let job = NewJob { attempts_max: 3, ..errand(1) };
    let id = job.id;
    office.jobs.enqueue(job).await.unwrap();
    let runner = office.runner(&office.jobs, &clerk, 1).await;
    for attempt in 1..=2 {
        office.is(id, "waiting", attempt).await;
        office.clock.advance(TimeDelta::hours(1));
    }
    office.is(id, "dead", 3).await;
    eventually("it is told of", async || {
        let health = runner.health();
        (health.dead, health.died_lately, health.words) == (1, 1, vec!["errand not_yet".to_owned()])
    })
    .await;

    assert!(office.jobs.retry(id).await.unwrap());
    office.is(id, "done", 1).await;
    assert!(!office.jobs.retry(id).await.unwrap(), "what is done is done");
    eventually("nothing is wrong any more", async || runner.health().dead == 0).await;
    runner.drain().await;
}

#[tokio::test]
async fn what_can_never_be_done_is_dead_at_once() {
    let office = Office::new().await;
    let clerk = Clerk::told([Err(JobError::never("nobody_there"))]);
    let id = office.ask(1).await;
    let runner = office.runner(&office.jobs, &clerk, 1).await;
    office.is(id, "dead", 1).await;
    assert_eq!(office.row(id).await.unwrap().last_error.as_deref(), Some("nobody_there"));
    runner.drain().await;
}

#[tokio::test]
async fn a_handler_that_panics_or_hangs_costs_an_attempt_and_no_worker() {
    let office = Office::new().await;
    let clerk = Clerk::new();
    clerk.panics.store(true, Ordering::SeqCst);
    let id = office.ask(1).await;
    let runner = office.runner(&office.jobs, &clerk, 1).await;
    office.is(id, "waiting", 1).await;
    assert_eq!(office.row(id).await.unwrap().last_error.as_deref(), Some("panicked"));
    office.clock.advance(TimeDelta::seconds(30));
    office.is(id, "done", 2).await;
    runner.drain().await;

    let hanging = Clerk::held(&Arc::new(Semaphore::new(0)));
    let settings = JobSettings { attempt_max: Duration::from_millis(10), ..fast() };
    let handlers = vec![Arc::clone(&hanging) as Arc<dyn JobHandler>];
    let runner = JobRunner::start(&office.jobs, handlers, settings).await.unwrap();
    let id = office.ask(2).await;
    office.is(id, "waiting", 1).await;
    assert_eq!(office.row(id).await.unwrap().last_error.as_deref(), Some("timed_out"));
    runner.drain().await;
}

#[tokio::test]
async fn what_somebody_waits_for_comes_first_and_what_nobody_can_do_waits() {
    let office = Office::new().await;
    let mut ids = Vec::new();
    for (number, priority) in [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High)] {
        let job = NewJob { priority, ..errand(number) };
        ids.insert(0, (job.id, 1));
        office.jobs.enqueue(job).await.unwrap();
    }
    let unknown = NewJob { kind: "of_a_newer_binary", priority: Priority::High, ..errand(4) };
    office.jobs.enqueue(unknown).await.unwrap();
    let clerk = Clerk::new();
    let runner = office.runner(&office.jobs, &clerk, 1).await;
    office.is(ids[2].0, "done", 1).await;
    runner.drain().await;
    assert_eq!(clerk.asked(), ids);
    office.is(JobId(Uuid::from_u128(4)), "waiting", 0).await;
}

#[tokio::test]
async fn a_runner_that_stops_lets_what_is_under_way_end_and_begins_nothing() {
    let office = Office::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let clerk = Clerk::held(&gate);
    let (first, second) = (office.ask(1).await, office.ask(2).await);
    let runner = office.runner(&office.jobs, &clerk, 1).await;
    eventually("the first is under way", async || !clerk.asked().is_empty()).await;
    let mut draining = std::pin::pin!(runner.drain());
    assert!(futures::poll!(&mut draining).is_pending());
    gate.add_permits(2);
    draining.await;
    office.is(first, "done", 1).await;
    office.is(second, "waiting", 0).await;
}

#[tokio::test]
async fn jobs_are_forgotten_after_their_time() {
    let office = Office::new().await;
    let clerk = Clerk::told([Ok(()), Err(JobError::never("nobody_there"))]);
    let (done, dead, waiting) = (office.ask(1).await, office.ask(2).await, JobId(Uuid::from_u128(3)));
    let far = office.clock.now() + TimeDelta::days(365);
    office.jobs.enqueue(NewJob { run_at: Some(far), ..errand(3) }).await.unwrap();
    let runner = office.runner(&office.jobs, &clerk, 1).await;
    office.is(dead, "dead", 1).await;
    runner.drain().await;
    let mut left = Vec::new();
    for (days, expected) in [
        (DONE_KEPT_DAYS, vec![true, true, true]),
        (1, vec![false, true, true]),
        (DEAD_KEPT_DAYS - DONE_KEPT_DAYS, vec![false, false, true]),
    ] {
        office.clock.advance(TimeDelta::days(days));
        // The first thing that a caretaker does.
        let runner = office.runner(&office.jobs, &clerk, 1).await;
        eventually("it has looked", async || runner.health().waiting == 1).await;
        runner.drain().await;
        left.clear();
        for id in [done, dead, waiting] {
            left.push(office.row(id).await.is_some());
        }
        assert_eq!(left, expected, "after {days} more days");
    }
}

/// CC-LOG-002: what a job is about is written once, by whoever asks for it.
#[tokio::test]
async fn a_server_can_move_a_job_on_and_not_change_what_it_is() {
    let office = Office::new().await;
    office.ask(1).await;
    let client = office.db.server.get().await.unwrap();
    for change in ["payload = '{}'", "kind = 'other'", "id = gen_random_uuid()"] {
        let refused = client.execute(&format!("UPDATE jobs SET {change}"), &[]).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{change}");
    }
}
