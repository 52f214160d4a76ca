//! `DELETE /api/v1/memberships/{id}/permissions/{permission}`

use aggregates::Membership;
use aggregates::membership::{Grant, MembershipCommand};
use axum::response::Response;

use super::PermissionPath;
use crate::extract::{Done, Path, Write};
use crate::grants::{may_change, of_caller};
use crate::members::member_by_membership;
use crate::problem::Problem;

/// Take a permission from a member
///
/// The one that was given to them alone: what a role gives stays. Who may not give it may not take it either.
#[utoipa::path(
    delete,
    path = "/api/v1/memberships/{id}/permissions/{permission}",
    tag = "memberships",
    params(PermissionPath),
    responses((status = OK, description = "They no longer hold it.", body = Done)),
)]
pub async fn revoke_permission(Path(path): Path<PermissionPath>, write: Write) -> Result<Response, Problem> {
    let (id, permission) = path.read()?;
    let member = member_by_membership(&write, id)?;
    may_change(&write, &member)?;
    of_caller(&write)?.may_take([&permission])?;
    let command = MembershipCommand::Grant(Grant::Permission { permission, held: false });
    let receipt = write.dispatch::<Membership>(id, command).await?;
    Ok(write.done(id, &receipt))
}
