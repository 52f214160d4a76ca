//! `DELETE /api/v1/memberships/{id}` (FR-TENANT-002)

use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::{self, member_by_membership};
use crate::problem::Problem;

/// Remove a membership
///
/// As `DELETE /api/v1/users/{id}`, by the membership's id.
#[utoipa::path(
    delete,
    path = "/api/v1/memberships/{id}",
    tag = "memberships",
    params(("id" = Uuid, Path, description = "The membership")),
    responses((status = OK, description = "It is removed.", body = Done)),
)]
pub async fn remove(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let member = member_by_membership(&write, id)?;
    let (write, receipt) = members::remove(write, member).await?;
    Ok(write.done(id, &receipt))
}
