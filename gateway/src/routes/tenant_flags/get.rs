//! `GET /api/operator/tenants/{id}/flags/{key}`

use axum::response::Response;
use kernel::TenantId;
use projections::Flags;

use super::FlagPath;
use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::FlagView;

/// Show a flag of a tenant
#[utoipa::path(
    get,
    path = "/api/operator/tenants/{id}/flags/{key}",
    tag = "flags",
    params(FlagPath),
    responses((status = OK, description = "The flag.", body = FlagView)),
)]
pub async fn get(Path(path): Path<FlagPath>, read: Read) -> Result<Response, Problem> {
    let (id, key) = path.read()?;
    let client = read.connection("flags").await?;
    let row = Flags::get(&client, TenantId(id), key.as_str()).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    Ok(read.show(&FlagView::from(row)))
}
