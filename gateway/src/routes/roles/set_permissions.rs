//! `PUT /api/v1/roles/{id}/permissions`

use std::collections::BTreeSet;

use aggregates::role::{Role, RoleCommand};
use axum::response::Response;
use schemas::values::Permission;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::grants::{of_caller, role};
use crate::problem::Problem;

/// What a role gives.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetRolePermissions, example = json!({"permissions": ["finance.*", "users:read"]}))]
pub struct SetPermissions {
    /// At most 200, in place of those before.
    #[schema(value_type = Vec<String>)]
    permissions: BTreeSet<Permission>,
}

/// Set what a role gives
///
/// To all who have it, from their next request on. Who sets it must hold what the role gives then, and what it gave before
/// (ERR-AUTH-403 `not_held`).
#[utoipa::path(
    put,
    path = "/api/v1/roles/{id}/permissions",
    tag = "roles",
    params(("id" = Uuid, Path, description = "The role")),
    request_body = SetPermissions,
    responses((status = OK, description = "They are set.", body = Done)),
)]
pub async fn set_permissions(
    Path(id): Path<Uuid>,
    write: Write<SetPermissions>,
) -> Result<Response, Problem> {
    let role = role(&write.app, write.tenant()?, id)?;
    let permissions = write.body.permissions.clone();
    let own = of_caller(&write)?;
    own.may_take(&*role.permissions)?;
    own.may_grant(&permissions)?;
    let receipt = write.dispatch::<Role>(id, RoleCommand::SetPermissions { permissions }).await?;
    Ok(write.done(id, &receipt))
}
