//! `DELETE /api/operator/tenants/{id}/flags/{key}`

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;

use super::FlagPath;
use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Clear a flag of a tenant
///
/// It has no value there any more. Clearing one that has none changes nothing.
#[utoipa::path(
    delete,
    path = "/api/operator/tenants/{id}/flags/{key}",
    tag = "flags",
    params(FlagPath),
    responses((status = OK, description = "It is cleared.", body = Done)),
)]
pub async fn clear(Path(path): Path<FlagPath>, write: Write) -> Result<Response, Problem> {
    let (id, key) = path.read()?;
    let receipt = write.dispatch::<Tenant>(id, TenantCommand::ClearFlag { key }).await?;
    Ok(write.done(id, &receipt))
}
