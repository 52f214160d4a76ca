//! `DELETE /api/v1/users/{id}/sessions` (UC-TENANT-SESSION-REVOKE)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use schemas::values::{Role, SessionEnd};
use uuid::Uuid;

use crate::extract::{Path, Write};
use crate::members::member;
use crate::problem::Problem;

/// End a person's sessions
///
/// Those that reach the tenant; their tokens fail from the next request on. An administrator ends no owner's.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}/sessions",
    tag = "users",
    params(("id" = Uuid, Path, description = "The person")),
    responses((status = NO_CONTENT, description = "They have ended.")),
)]
pub async fn end_sessions(Path(id): Path<Uuid>, write: Write) -> Result<StatusCode, Problem> {
    let member = member(&write, id)?;
    // Whoever is only invited has no session here; those elsewhere are not the tenant's to end.
    if !member.accepted {
        return Err(Problem::not_found());
    }
    if member.role == Role::Owner && write.caller.role != Some(Role::Owner) {
        return Err(Problem::forbidden("forbidden"));
    }
    let command = UserCommand::EndSessionsIn { tenant: member.tenant, because: SessionEnd::Administrator };
    write.dispatch::<User>(id, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
