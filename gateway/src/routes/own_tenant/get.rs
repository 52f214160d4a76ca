//! `GET /api/v1/tenants/me`

use axum::response::Response;
use projections::TenantDirectory;

use crate::extract::Read;
use crate::problem::Problem;
use crate::view::{OwnTenantView, shown};

/// Show the own tenant
#[utoipa::path(
    get,
    path = "/api/v1/tenants/me",
    tag = "own tenant",
    responses((status = OK, description = "The tenant.", body = OwnTenantView)),
)]
pub async fn get(read: Read) -> Result<Response, Problem> {
    let tenant = read.tenant()?;
    read.concerns("tenant", tenant);
    let client = read.connection("tenant_directory").await?;
    let row = TenantDirectory::get(&client, read.sight()?, tenant).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    Ok(shown(&read, row.revision, &OwnTenantView::from(row)))
}
