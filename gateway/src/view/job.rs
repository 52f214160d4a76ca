//! A job, as whoever asked for it and operators see it.

use chrono::{DateTime, Utc};
use engine::jobs::{JobState, JobStatus};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use uuid::Uuid;

use super::audience::{EVERYONE, OPERATOR, THEMSELF};
use super::fields::fields;

/// What is done in the background.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Job, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b20", "kind": "export", "status": "succeeded", "attempts": 1,
    "attempts_max": 8, "requested_at": "2027-01-01T09:00:00Z", "finished_at": "2027-01-01T09:00:02Z",
    "result": "/api/v1/jobs/018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b20/result", "result_until": "2027-01-08T09:00:02Z"
}))]
pub struct JobView {
    pub id: Uuid,
    /// What it does, such as `export`.
    pub kind: String,
    /// `queued` also between two attempts.
    #[schema(schema_with = status)]
    pub status: &'static str,
    /// So many so far; after the last of them it has failed.
    pub attempts: u32,
    pub attempts_max: u32,
    /// Why the last attempt failed, in a machine's word.
    pub reason: Option<String>,
    pub requested_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Where what it made can be fetched; `null`: it made nothing yet, or that has expired.
    pub result: Option<String>,
    /// Until when.
    pub result_until: Option<DateTime<Utc>>,
}

fields! { JobView {
    id: EVERYONE,
    kind: EVERYONE,
    status: EVERYONE,
    attempts: EVERYONE,
    attempts_max: EVERYONE,
    // It names insides.
    reason: OPERATOR,
    requested_at: EVERYONE,
    finished_at: EVERYONE,
    // Nobody else gets it.
    result: THEMSELF,
    result_until: EVERYONE,
} }

fn status() -> Schema {
    let words = ["queued", "running", "succeeded", "failed"];
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

impl JobView {
    /// Where a job's status is.
    pub fn location(id: Uuid) -> String {
        format!("/api/v1/jobs/{id}/status")
    }
}

impl From<JobStatus> for JobView {
    fn from(job: JobStatus) -> Self {
        let status = match job.state {
            JobState::Waiting => "queued",
            JobState::Running => "running",
            JobState::Done => "succeeded",
            JobState::Dead => "failed",
        };
        let id = job.id.0;
        Self {
            id,
            kind: job.kind,
            status,
            attempts: job.attempts,
            attempts_max: job.attempts_max,
            reason: job.last_error,
            requested_at: job.created_at,
            finished_at: job.finished_at,
            result: job.result_until.map(|_| format!("/api/v1/jobs/{id}/result")),
            result_until: job.result_until,
        }
    }
}
