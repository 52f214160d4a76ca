//! `PUT /api/v1/users/{id}/role` (FR-TENANT-004, UC-TENANT-USER-UPDATE)

use axum::response::Response;
use schemas::values::Role;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::{self, member};
use crate::problem::Problem;
use crate::view::words;

/// The role from now on.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetUserRole, example = json!({"role": "administrator"}))]
pub struct SetRole {
    #[schema(schema_with = words::tenant_role)]
    role: Role,
}

/// Give a person another role in the tenant
///
/// Their tokens stop working at once. Only owners make and unmake owners; the last owner stays. `If-Match` and the
/// answer's `ETag` are the membership's sequence.
#[utoipa::path(
    put,
    path = "/api/v1/users/{id}/role",
    tag = "users",
    params(("id" = Uuid, Path, description = "The person")),
    request_body = SetRole,
    responses((status = OK, description = "They have the role.", body = Done)),
)]
pub async fn set_role(Path(id): Path<Uuid>, write: Write<SetRole>) -> Result<Response, Problem> {
    let (member, role) = (member(&write, id)?, write.body.role);
    let (write, receipt) = members::set_role(write, member, role).await?;
    Ok(write.done(id, &receipt))
}
