//! `GET /api/v1/jobs/{job_id}/result` (CON-COMP-001)

use axum::BoxError;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use engine::jobs::{JobId, JobResults, Kept};
use futures::stream;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;

/// Fetch what a job made
///
/// For whoever asked for it, operators not: it is about them. It is streamed, and ends early, with a broken connection, if
/// it can't be read to its end. After seven days it is not there any more. Wants a fresh authentication.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job_id}/result",
    tag = "jobs",
    params(("job_id" = Uuid, Path, description = "The job")),
    responses((status = OK, description = "The document.", body = Object, content_type = "application/json",
        example = json!({"format": "tenantry.personal_data", "version": 1, "as_of": "2027-01-01T09:00:00Z"}))),
)]
pub async fn result(Path(job): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let (person, _) = read.caller.signed_in()?;
    let results = read.app.results.clone();
    let kept = results.find(JobId(job)).await?.ok_or_else(Problem::not_found)?;
    if kept.person != person {
        return Err(Problem::hidden());
    }
    // Before anything is answered it is known that there is a beginning.
    let first = results.part(kept, 0).await?.ok_or_else(Problem::not_found)?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"personal-data.json\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let rest = stream::try_unfold((results, 1), move |(results, number)| async move {
        next(&results, kept, number).await.map(|part| part.map(|part| (part, (results, number + 1))))
    });
    let first = stream::once(async move { Ok(Bytes::from(first)) });
    Ok((headers, Body::from_stream(futures::StreamExt::chain(first, rest))).into_response())
}

/// The part of a number; `None` after the last.
async fn next(results: &JobResults, of: Kept, number: u32) -> Result<Option<Bytes>, BoxError> {
    if number >= of.parts {
        return Ok(None);
    }
    match results.part(of, number).await {
        Ok(Some(part)) => Ok(Some(Bytes::from(part))),
        Ok(None) => Err("it has expired, or its person was forgotten".into()),
        Err(error) => {
            tracing::warn!(%error, "a result of a job ended early");
            Err(error.into())
        }
    }
}
