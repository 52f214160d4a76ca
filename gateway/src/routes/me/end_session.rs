//! `DELETE /api/v1/users/me/sessions/{id}` (FR-AUTH-005)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use kernel::SessionId;
use schemas::values::SessionEnd;
use uuid::Uuid;

use crate::extract::{Path, Write};
use crate::problem::Problem;
use crate::sign_in;

/// End one of the caller's sessions
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/sessions/{id}",
    tag = "me",
    params(("id" = Uuid, Path, description = "The session")),
    responses((status = NO_CONTENT, description = "It has ended.")),
)]
pub async fn end_session(Path(id): Path<Uuid>, write: Write) -> Result<StatusCode, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let session = SessionId(id);
    let known = sign_in::by_id(&write.app, person).await?.ok_or_else(Problem::not_found)?;
    // Another person's session is not there either.
    if !known.state.sign_in.sessions.contains_key(&session) {
        return Err(Problem::not_found());
    }
    let command = UserCommand::EndSession { session, because: SessionEnd::Revoked };
    write.dispatch::<User>(person.0, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
