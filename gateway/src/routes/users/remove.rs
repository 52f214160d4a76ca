//! `DELETE /api/v1/users/{id}` (FR-TENANT-002, UC-TENANT-USER-DELETE)

use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::{self, member};
use crate::problem::Problem;

/// Remove a person from the tenant
///
/// Their tokens for this tenant stop working at once. The last owner stays.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}",
    tag = "users",
    params(("id" = Uuid, Path, description = "The person")),
    responses((status = OK, description = "They are removed.", body = Done)),
)]
pub async fn remove(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let member = member(&write, id)?;
    let (write, receipt) = members::remove(write, member).await?;
    Ok(write.done(id, &receipt))
}
