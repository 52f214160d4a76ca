//! `GET /api/v1/users/me/sessions` (FR-AUTH-005)

use axum::response::Response;

use crate::extract::Read;
use crate::problem::Problem;
use crate::sign_in;
use crate::view::{SessionList, SessionView};

/// List the caller's sessions
///
/// Those that go on, the one used last first, with device and place.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/sessions",
    tag = "me",
    responses((status = OK, description = "The sessions.", body = SessionList)),
)]
pub async fn sessions(read: Read) -> Result<Response, Problem> {
    let (person, session) = read.caller.signed_in()?;
    let known = sign_in::by_id(&read.app, person).await?.ok_or_else(Problem::not_found)?;
    Ok(read.show(&SessionView::list(&read.app.access.memory, &known, Some(session), None, read.now())))
}
