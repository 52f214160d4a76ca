//! `GET /api/operator/tenants/{id}/flags/{key}`

use axum::Json;
use kernel::TenantId;
use projections::Flags;
use schemas::values::FlagKey;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::FlagView;

/// Show a flag of a tenant
#[utoipa::path(
    get,
    path = "/api/operator/tenants/{id}/flags/{key}",
    tag = "flags",
    params(
        ("id" = Uuid, Path, description = "The tenant"),
        ("key" = String, Path, description = "The flag's key: `[A-Za-z0-9._-]+`"),
    ),
    responses((status = OK, description = "The flag.", body = FlagView)),
)]
pub async fn get(Path((id, key)): Path<(Uuid, FlagKey)>, read: Read) -> Result<Json<FlagView>, Problem> {
    let client = read.connection("flags").await?;
    let row = Flags::get(&client, TenantId(id), key.as_str()).await?;
    row.map(FlagView::from).map(Json).ok_or_else(Problem::not_found)
}
