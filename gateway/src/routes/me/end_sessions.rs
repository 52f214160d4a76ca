//! `DELETE /api/v1/users/me/sessions` (FR-AUTH-005)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use schemas::values::SessionEnd;

use crate::extract::Write;
use crate::problem::Problem;

/// End all sessions of the caller
///
/// This one too, as `POST /auth/logout-all` does.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/sessions",
    tag = "me",
    responses((status = NO_CONTENT, description = "They have ended.")),
)]
pub async fn end_sessions(write: Write) -> Result<StatusCode, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let command = UserCommand::EndSessions { because: SessionEnd::Revoked };
    write.dispatch::<User>(person.0, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
