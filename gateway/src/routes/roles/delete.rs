//! `DELETE /api/v1/roles/{id}`

use aggregates::role::{Role, RoleCommand};
use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::grants::{of_caller, role};
use crate::problem::Problem;

/// Delete a role
///
/// Members who have it have none from then on. Its name is free again, its id is not. Who deletes it must hold what it
/// gives, as for giving it.
#[utoipa::path(
    delete,
    path = "/api/v1/roles/{id}",
    tag = "roles",
    params(("id" = Uuid, Path, description = "The role")),
    responses((status = OK, description = "It is deleted.", body = Done)),
)]
pub async fn delete(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let role = role(&write.app, write.tenant()?, id)?;
    of_caller(&write)?.may_take(&*role.permissions)?;
    let receipt = write.dispatch::<Role>(id, RoleCommand::Delete).await?;
    Ok(write.done(id, &receipt))
}
