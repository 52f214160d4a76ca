//! `DELETE /api/v1/memberships/{id}/modules/{module}`

use aggregates::Membership;
use aggregates::membership::{Grant, MembershipCommand};
use axum::response::Response;

use super::ModulePath;
use crate::extract::{Done, Path, Write};
use crate::grants::{may_change, may_change_module};
use crate::members::member_by_membership;
use crate::problem::Problem;

/// Take a module from a member
///
/// By owners and administrators.
#[utoipa::path(
    delete,
    path = "/api/v1/memberships/{id}/modules/{module}",
    tag = "memberships",
    params(ModulePath),
    responses((status = OK, description = "They may no longer use it.", body = Done)),
)]
pub async fn revoke_module(Path(path): Path<ModulePath>, write: Write) -> Result<Response, Problem> {
    let (id, module) = path.read()?;
    let member = member_by_membership(&write, id)?;
    may_change(&write, &member)?;
    may_change_module(&write, &module, false)?;
    let command = MembershipCommand::Grant(Grant::Module { module, held: false });
    let receipt = write.dispatch::<Membership>(id, command).await?;
    Ok(write.done(id, &receipt))
}
