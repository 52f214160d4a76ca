//! `GET /api/v1/roles/{id}`

use axum::response::Response;
use kernel::RoleId;
use projections::RoleDirectory;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::grants::role;
use crate::problem::Problem;
use crate::view::{RoleView, shown};

/// Show a role
#[utoipa::path(
    get,
    path = "/api/v1/roles/{id}",
    tag = "roles",
    params(("id" = Uuid, Path, description = "The role")),
    responses((status = OK, description = "The role.", body = RoleView)),
)]
pub async fn get(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let tenant = read.tenant()?;
    role(&read.app, tenant, id)?;
    let client = read.connection("role_directory").await?;
    let row = RoleDirectory::get(&client, tenant, RoleId(id)).await?.ok_or_else(Problem::not_found)?;
    Ok(shown(&read, row.sequence, &RoleView::from(row)))
}
