//! `POST /api/v1/roles`

use std::collections::BTreeSet;

use aggregates::role::{Role, RoleCommand};
use axum::response::Response;
use kernel::RoleId;
use schemas::values::{Permission, RoleDescription, RoleName};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::{Done, Write};
use crate::grants::{ROLES_MAX, of_caller};
use crate::problem::Problem;

/// A role as it is made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateRole, example = json!({
    "name": "Bookkeepers", "description": "They keep the books", "permissions": ["finance.*", "users:read"]
}))]
pub struct Create {
    /// Unique in the tenant, without regard to case.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    name: RoleName,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500)]
    description: Option<RoleDescription>,
    /// At most 200, each of them the caller's to give.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false)]
    permissions: BTreeSet<Permission>,
}

/// Make a role
///
/// At most 100 in a tenant (ERR-VAL-422 `capacity`). Who makes it must hold what it gives (ERR-AUTH-403 `not_held`).
#[utoipa::path(
    post,
    path = "/api/v1/roles",
    tag = "roles",
    request_body = Create,
    responses((status = CREATED, description = "It is made.", body = Done)),
)]
pub async fn create(write: Write<Create>) -> Result<Response, Problem> {
    let (id, tenant) = (write.new_id("role"), write.tenant()?);
    let Create { name, description, permissions } = &write.body;
    of_caller(&write)?.may_grant(permissions)?;
    let access = &write.app.access.memory;
    // A retry of what was done is no further role. Two at once may both find the last place.
    if access.role(RoleId(id)).is_none() && access.roles_of(tenant) >= ROLES_MAX {
        return Err(Problem::rule("capacity"));
    }
    let command = RoleCommand::Create {
        role: RoleId(id),
        tenant,
        name: name.clone(),
        description: description.clone(),
        permissions: permissions.clone(),
    };
    let receipt = write.dispatch::<Role>(id, command).await?;
    Ok(write.created(&format!("/api/v1/roles/{id}"), &receipt, &Done { id, sequence: receipt.sequence }))
}
