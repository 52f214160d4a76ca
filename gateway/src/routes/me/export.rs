//! `POST /api/v1/users/me/export` (CON-COMP-001: access and portability)

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use engine::jobs::{Asked, JobId};

use crate::export;
use crate::extract::Write;
use crate::problem::{Code, Problem};
use crate::view::JobView;

/// Export what is known of the caller
///
/// Everything in one JSON document, made in the background as of now: `Location` tells how far that is, and a letter says
/// when it is ready. It is kept for seven days, for the caller alone. While one is under way it is that one, and more than
/// three within 24 hours are ERR-RATE-429 `too_many_exports`. It works whatever becomes of the tenant. Wants a fresh
/// authentication.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/export",
    tag = "me",
    responses((status = ACCEPTED, description = "It is under way.", body = JobView)),
)]
pub async fn export(write: Write) -> Result<Response, Problem> {
    let (person, _) = write.caller.signed_in()?;
    // A retry with the same key asks for the same job.
    let job = export::job(JobId(write.new_id("export")));
    let asked = write.app.jobs.request(&job, person, export::ALLOWED).await?;
    let id = match asked {
        Asked::Added => job.id,
        Asked::There(id) => id,
        Asked::Full { until } => {
            let wait = (until - write.now()).to_std().unwrap_or_default();
            return Err(Problem::new(Code::TooMany, "too_many_exports").with_retry_after(wait));
        }
    };
    write.concerns("job", id.0);
    let found = write.app.jobs.find(id).await?.ok_or_else(Problem::unexpected)?;
    let mut response = write.show(&JobView::from(found));
    if response.status().is_success() {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(JobView::location(id.0)) {
        headers.insert(header::LOCATION, location);
    }
    if asked == Asked::There(job.id) {
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}
