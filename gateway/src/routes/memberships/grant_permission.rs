//! `PUT /api/v1/memberships/{id}/permissions/{permission}`

use aggregates::Membership;
use aggregates::membership::{Grant, MembershipCommand};
use axum::response::Response;

use super::PermissionPath;
use crate::extract::{Done, Path, Write};
use crate::grants::{may_change, of_caller};
use crate::members::member_by_membership;
use crate::problem::Problem;

/// Give a member a permission
///
/// Beside what their roles give. Nobody gives what they don't hold, or may not pass on (ERR-AUTH-403 `not_held`).
#[utoipa::path(
    put,
    path = "/api/v1/memberships/{id}/permissions/{permission}",
    tag = "memberships",
    params(PermissionPath),
    responses((status = OK, description = "They hold it.", body = Done)),
)]
pub async fn grant_permission(Path(path): Path<PermissionPath>, write: Write) -> Result<Response, Problem> {
    let (id, permission) = path.read()?;
    let member = member_by_membership(&write, id)?;
    may_change(&write, &member)?;
    of_caller(&write)?.may_grant([&permission])?;
    let command = MembershipCommand::Grant(Grant::Permission { permission, held: true });
    let receipt = write.dispatch::<Membership>(id, command).await?;
    Ok(write.done(id, &receipt))
}
