//! The export of what is known of a person, for that person (CON-COMP-001): a job reads it as of when it was asked for,
//! and keeps it sealed under the person's key for [`engine::jobs::RESULT_KEPT_DAYS`] days.

mod document;
mod events;

use std::sync::Arc;
use std::time::Duration;

use aggregates::User;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Pool;
use engine::Engine;
use engine::history::Told;
use engine::jobs::{Allowance, Job, JobError, JobHandler, JobId, JobResults, Jobs, NewJob, ResultsError};
use engine::projection::Projector;
use kernel::{Decider, PersonId, Position, PositionToken, ShardId, StreamId};
use projections::AccessMemory;
use schemas::events::UserEvent;
use serde_json::json;
use uuid::Uuid;
use workflows::{MailJob, Notice};

use crate::sign_in::Known;

/// The kind of these jobs. Part of the storage format.
pub const KIND: &str = "export";
/// How many exports a person may ask for.
pub const ALLOWED: Allowance = Allowance { at_most: 3, within: TimeDelta::hours(24) };
/// How often it is tried: for some two hours.
const ATTEMPTS_MAX: u32 = 8;
/// How long is waited for the read models to hold what had happened by then, before it is tried later.
const READ_MODELS_WITHIN: Duration = Duration::from_secs(5);

/// An export as it is asked for. Whose, the request says; the payload says nothing.
pub fn job(id: JobId) -> NewJob {
    NewJob { attempts_max: ATTEMPTS_MAX, ..NewJob::new(id, KIND, json!({})) }
}

/// Makes exports.
pub struct ExportHandler {
    pub engine: Engine,
    pub projector: Arc<Projector>,
    pub access: Arc<AccessMemory>,
    /// For queries.
    pub pool: Pool,
    pub jobs: Jobs,
    pub results: JobResults,
}

/// A person as they were when they asked, folded from their stream.
struct Then {
    known: Known,
    /// How many events their stream had.
    events: usize,
    /// Since when they have one-time codes.
    codes_since: Option<DateTime<Utc>>,
    as_of: DateTime<Utc>,
    until: Position,
}

#[async_trait]
impl JobHandler for ExportHandler {
    fn kind(&self) -> &'static str {
        KIND
    }

    /// Done twice it is one result, and one letter.
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let person = job.requester.ok_or_else(|| JobError::never("unreadable"))?;
        let kept = self.results.find(job.id).await.map_err(unwritten)?;
        let until = match kept {
            Some(kept) => Some(kept.expires_at),
            None => self.make(job, person).await?,
        };
        match until {
            Some(until) => self.tell(job, person, until).await,
            None => {
                tracing::info!(job.id = %job.id.0, "an export is not needed any more: its person was forgotten");
                Ok(())
            }
        }
    }
}

impl ExportHandler {
    /// Makes the document; returns until when it is kept. `None`: of the person nothing is known any more.
    async fn make(&self, job: &Job, person: PersonId) -> Result<Option<DateTime<Utc>>, JobError> {
        let (now, _) = self.engine.look::<User>(person.0).await.map_err(unread)?;
        if now.existing().is_none_or(|known| known.forgotten) {
            return Ok(None);
        }
        let Some(then) = self.then(job.created_at, person).await? else { return Ok(None) };
        let at = PositionToken { shard: ShardId::default(), position: then.until };
        for projection in ["membership_directory", "audit_trail"] {
            let reached = self.projector.wait_for(projection, at, READ_MODELS_WITHIN).await;
            reached.map_err(|_| JobError::later("read_model_behind"))?;
        }
        self.write(self.results.draft(job, person), &then).await.map(Some)
    }

    async fn then(&self, as_of: DateTime<Utc>, person: PersonId) -> Result<Option<Then>, JobError> {
        let until = self.engine.position_at(ShardId::default(), as_of).await.map_err(unread)?;
        let (mut user, mut events, mut codes_since) = (User::default(), 0, None);
        let mut history = self.engine.history(vec![stream(person)], until);
        while let Some(told) = history.next().await.map_err(unread)? {
            let (event, envelope) = readable(told)?;
            match event {
                UserEvent::MfaEnrolled { .. } => codes_since = Some(envelope.recorded_at),
                UserEvent::MfaRemoved {} => codes_since = None,
                _ => {}
            }
            user.evolve(&event);
            events += 1;
        }
        let state = user.existing().filter(|known| !known.forgotten).cloned();
        Ok(state.map(|state| Then { known: Known { person, state }, events, codes_since, as_of, until }))
    }

    /// Says by mail that it is there.
    async fn tell(&self, job: &Job, person: PersonId, expires_at: DateTime<Utc>) -> Result<(), JobError> {
        // There is nothing that the read models must hold first.
        let position = PositionToken { shard: ShardId::default(), position: Position::ZERO }.to_string();
        let notice = Notice::ExportReady { person, expires_at };
        let id = JobId(Uuid::new_v5(&job.id.0, notice.step().as_bytes()));
        let payload = serde_json::to_value(MailJob { position, notice });
        let payload = payload.map_err(|_| JobError::never("unwritable"))?;
        let asked = self.jobs.enqueue(NewJob::new(id, MailJob::KIND, payload)).await;
        asked.map(|_| ()).map_err(unread)
    }
}

fn stream(person: PersonId) -> StreamId {
    StreamId::new(User::TYPE, person.0)
}

/// An event of a person. One that can't be read is left out of no document: there is none then.
fn readable(told: Told) -> Result<(UserEvent, kernel::Envelope), JobError> {
    match told {
        Told::Event(envelope) => Ok((envelope.decode().map_err(unread)?, *envelope)),
        Told::Unreadable(stream) => Err(unread(format!("{stream} can't be read to its end"))),
    }
}

fn unread(error: impl std::fmt::Display) -> JobError {
    tracing::warn!(%error, "what is known of a person can't be read for an export");
    JobError::later("journal")
}

fn unwritten(error: ResultsError) -> JobError {
    tracing::warn!(%error, "an export can't be kept");
    JobError::later(if matches!(error, ResultsError::Codec(_)) { "unsealable" } else { "database" })
}
