//! `POST /auth/logout-all` (FR-AUTH-005, UC-LOGOUT)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use schemas::values::SessionEnd;

use crate::extract::Write;
use crate::problem::Problem;

/// Sign out everywhere
///
/// All sessions of the person's end, this one too.
#[utoipa::path(
    post,
    path = "/auth/logout-all",
    tag = "authentication",
    responses((status = NO_CONTENT, description = "All sessions have ended.")),
)]
pub async fn log_out_all(write: Write) -> Result<StatusCode, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let command = UserCommand::EndSessions { because: SessionEnd::Logout };
    write.dispatch::<User>(person.0, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
