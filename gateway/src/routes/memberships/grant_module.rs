//! `PUT /api/v1/memberships/{id}/modules/{module}`

use aggregates::Membership;
use aggregates::membership::{Grant, MembershipCommand};
use axum::response::Response;

use super::ModulePath;
use crate::extract::{Done, Path, Write};
use crate::grants::{may_change, may_change_module};
use crate::members::member_by_membership;
use crate::problem::Problem;

/// Give a member a module
///
/// By owners and administrators. It has to be one that the tenant is entitled to (ERR-AUTH-403 `module_disabled`).
#[utoipa::path(
    put,
    path = "/api/v1/memberships/{id}/modules/{module}",
    tag = "memberships",
    params(ModulePath),
    responses((status = OK, description = "They may use it.", body = Done)),
)]
pub async fn grant_module(Path(path): Path<ModulePath>, write: Write) -> Result<Response, Problem> {
    let (id, module) = path.read()?;
    let member = member_by_membership(&write, id)?;
    may_change(&write, &member)?;
    may_change_module(&write, &module, true)?;
    let command = MembershipCommand::Grant(Grant::Module { module, held: true });
    let receipt = write.dispatch::<Membership>(id, command).await?;
    Ok(write.done(id, &receipt))
}
