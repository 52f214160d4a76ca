//! `GET /api/v1/jobs/{job_id}/status` (REQUIREMENTS §9)

use axum::response::Response;
use engine::jobs::JobId;
use schemas::values::Role;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::JobView;

/// Show how a job is
///
/// To whoever asked for it, and to operators. For everybody else it is not there.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job_id}/status",
    tag = "jobs",
    params(("job_id" = Uuid, Path, description = "The job")),
    responses((status = OK, description = "The job.", body = JobView)),
)]
pub async fn status(Path(job): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let job = read.app.jobs.find(JobId(job)).await?.ok_or_else(Problem::not_found)?;
    let own = job.requester.is_some() && job.requester == read.caller.person();
    if !own && read.caller.role != Some(Role::Operator) {
        return Err(Problem::hidden());
    }
    Ok(read.show(&JobView::from(job)))
}
