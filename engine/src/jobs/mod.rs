//! Background jobs: what is to be done once, soon, outside of a request, and again until it worked (REQUIREMENTS §9).
//!
//! A job is a row: asked for by whoever has a cause, taken by a worker under a lease, repeated with growing pauses, and
//! dead when it can't be done. At least once: a worker that dies after its work and before it said so has its job done
//! again, so what a job does must be recognisable as the same by whoever receives it.

mod results;
mod runner;
mod store;

use std::borrow::Cow;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use kernel::{EventId, PersonId, TenantId};
use serde_json::Value;
use uuid::Uuid;

pub use results::{Draft, JobResults, Kept, RESULT_KEPT_DAYS, ResultsError};
pub use runner::{JobRunner, JobSettings, JobsHealth};
pub use store::{Jobs, JobsError};

/// How long a job that is done is remembered, in days: asked for again within them, it is not done again.
pub const DONE_KEPT_DAYS: i64 = 7;
/// How long a dead job can be looked at and tried again, in days.
pub const DEAD_KEPT_DAYS: i64 = 90;
/// How often a job is tried unless it says otherwise: with the pauses between, for five hours.
pub const ATTEMPTS_MAX: u32 = 12;
/// The pause after the first attempt that failed, in seconds; it doubles up to the longest.
const PAUSE_MIN_SECONDS: i64 = 30;
const PAUSE_MAX_SECONDS: i64 = 3_600;

/// The namespace of derived job ids. Part of the storage format: a new one would do everything twice.
const DERIVED_JOBS: Uuid = Uuid::from_u128(0x2b8e_41d7_9c35_5f06_8a1e_6d90_c4f7_35ab);

/// What makes a job the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(pub Uuid);

impl JobId {
    /// The id of what follows from an event (UUID version 5): the same whenever it is asked for again. `step` tells
    /// apart what follows from one event, such as `mail.invitation`. Never rename a step.
    pub fn derived(event: EventId, step: &str) -> Self {
        let mut name = event.0.as_bytes().to_vec();
        name.extend_from_slice(step.as_bytes());
        Self(Uuid::new_v5(&DERIVED_JOBS, &name))
    }
}

/// What is done first when much waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for it.
    High = 0,
    Normal = 1,
    /// Whenever there is nothing else.
    Low = 2,
}

/// A job that is asked for.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: JobId,
    /// Which handler does it. Part of the storage format.
    pub kind: &'static str,
    /// References only: ids, words, times. **Never** an address, a name, a token or a secret: whatever a job needs of
    /// that sort, its handler looks up, and finds nothing when it was forgotten meanwhile.
    pub payload: Value,
    pub tenant: Option<TenantId>,
    pub priority: Priority,
    pub attempts_max: u32,
    /// Not before; `None`: at once.
    pub run_at: Option<DateTime<Utc>>,
}

impl NewJob {
    /// One of no tenant, of normal priority, to be tried at once and [`ATTEMPTS_MAX`] times at most.
    pub fn new(id: JobId, kind: &'static str, payload: Value) -> Self {
        let (tenant, priority) = (None, Priority::Normal);
        Self { id, kind, payload, tenant, priority, attempts_max: ATTEMPTS_MAX, run_at: None }
    }
}

/// How many jobs of a kind somebody may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub at_most: u32,
    pub within: TimeDelta,
}

/// What came of asking for a job in somebody's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Added,
    /// It was asked for before, or another one of its kind is under way: that one.
    There(JobId),
    /// They had as many as they may; one more not before then.
    Full {
        until: DateTime<Utc>,
    },
}

/// How a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    pub id: JobId,
    pub kind: String,
    /// The person who asked for it; none: something that happened.
    pub requester: Option<PersonId>,
    pub state: JobState,
    /// Attempts so far, the one under way included.
    pub attempts: u32,
    pub attempts_max: u32,
    /// Why the last attempt failed, in a machine's word.
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Until when there is what it made, if it made anything.
    pub result_until: Option<DateTime<Utc>>,
}

/// The states of a job. These names are the storage format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// For its first attempt, or for the next.
    Waiting,
    Running,
    Done,
    Dead,
}

impl JobState {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "waiting" => Self::Waiting,
            "running" => Self::Running,
            "done" => Self::Done,
            "dead" => Self::Dead,
            _ => return None,
        })
    }
}

/// A job under way.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    pub payload: Value,
    pub tenant: Option<TenantId>,
    /// The person who asked for it.
    pub requester: Option<PersonId>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    pub attempts_max: u32,
    pub created_at: DateTime<Utc>,
    /// Until when it is ours.
    locked_until: DateTime<Utc>,
}

/// Does the jobs of one kind.
#[async_trait]
pub trait JobHandler: Send + Sync + 'static {
    /// Part of the storage format, such as `mail`.
    fn kind(&self) -> &'static str;

    /// Does it. It may have been done before, in an attempt that nobody heard of.
    async fn run(&self, job: &Job) -> Result<(), JobError>;
}

/// It was not done. The word is a machine's (`a-z`, `0-9`, `_`): it is stored, logged and shown to operators, so it says
/// nothing about anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It may work another time.
    #[error("later: {0}")]
    Later(Cow<'static, str>),
    /// It never will: the job is dead.
    #[error("never: {0}")]
    Never(Cow<'static, str>),
}

impl JobError {
    pub fn later(word: impl Into<Cow<'static, str>>) -> Self {
        Self::Later(word.into())
    }

    pub fn never(word: impl Into<Cow<'static, str>>) -> Self {
        Self::Never(word.into())
    }

    /// The word, if it is one: a text that says more than a machine's word is not kept.
    fn word(&self) -> &str {
        const BYTES_MAX: usize = 64;
        let (Self::Later(word) | Self::Never(word)) = self;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=BYTES_MAX).contains(&word.len()) && word.bytes().all(plain) { word } else { "failed" }
    }
}

/// The pause after an attempt that failed, counted from 1.
fn pause_after(attempt: u32) -> TimeDelta {
    let doubled = PAUSE_MIN_SECONDS << attempt.saturating_sub(1).min(16);
    TimeDelta::seconds(doubled.min(PAUSE_MAX_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_job_id_tells_events_and_steps_apart_and_never_changes() {
        let event = EventId(Uuid::from_u128(1));
        let id = JobId::derived(event, "mail.invitation");
        assert_eq!(id, JobId::derived(event, "mail.invitation"));
        assert_ne!(id, JobId::derived(event, "mail.welcome"));
        assert_ne!(id, JobId::derived(EventId(Uuid::from_u128(2)), "mail.invitation"));
        assert_eq!(id.0.to_string(), "083bad01-f11b-5304-8568-99232b5cdef6");
    }

    #[test]
    fn the_pauses_double_from_half_a_minute_to_an_hour() {
        let pauses: Vec<i64> = (1..=9).map(|attempt| pause_after(attempt).num_seconds()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(pause_after(u32::MAX).num_seconds(), 3_600);
    }

    #[test]
    fn only_a_machines_word_is_kept_of_an_error() {
        assert_eq!(JobError::later("smtp_451").word(), "smtp_451");
        for text in ["", "550 no mailbox ann@acme.example", "Ümlaut", &"x".repeat(65)] {
            assert_eq!(JobError::never(text.to_owned()).word(), "failed");
        }
    }
}
