//! `POST /auth/logout` (FR-AUTH-005, UC-LOGOUT)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use schemas::values::SessionEnd;

use crate::extract::Write;
use crate::problem::Problem;

/// Sign out
///
/// The session ends: its access tokens fail from the next request on, and its refresh token too.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "authentication",
    responses((status = NO_CONTENT, description = "The session has ended.")),
)]
pub async fn log_out(write: Write) -> Result<StatusCode, Problem> {
    let (person, session) = write.caller.signed_in()?;
    let command = UserCommand::EndSession { session, because: SessionEnd::Logout };
    write.dispatch::<User>(person.0, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
