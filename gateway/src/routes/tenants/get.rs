//! `GET /api/operator/tenants/{id}`

use axum::response::Response;
use kernel::TenantId;
use projections::{Scope, TenantDirectory};
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::{TenantView, shown};

/// Show a tenant
#[utoipa::path(
    get,
    path = "/api/operator/tenants/{id}",
    tag = "tenants",
    params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = OK, description = "The tenant.", body = TenantView)),
)]
pub async fn get(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let client = read.connection("tenant_directory").await?;
    let row = TenantDirectory::get(&client, Scope::Platform, TenantId(id)).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    Ok(shown(&read, row.revision, &TenantView::from(row)))
}
