//! `GET /api/operator/tenants/{id}/flags/{key}`

use axum::response::Response;
use kernel::TenantId;

use super::FlagPath;
use crate::delivery::Known;
use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::{FlagView, shown};

/// Show a flag of a tenant
///
/// Its `ETag` is its own: it changes when the flag does, and not with the tenant or its other flags. `Age` tells, in seconds,
/// that the node could not learn of changes for so long.
#[utoipa::path(
    get,
    path = "/api/operator/tenants/{id}/flags/{key}",
    tag = "flags",
    params(FlagPath),
    responses((status = OK, description = "The flag.", body = FlagView)),
)]
pub async fn get(Path(path): Path<FlagPath>, read: Read) -> Result<Response, Problem> {
    let (id, key) = path.read()?;
    let known = Known::of(&read, TenantId(id)).await?;
    let flag = known.flags.flags.get(&key).ok_or_else(Problem::not_found)?;
    Ok(known.aged(shown(&read, flag.revision.cast_signed(), &FlagView::of(&key, flag))))
}
