//! `DELETE /api/operator/tenants/{id}/flags/{key}`

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use schemas::values::FlagKey;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Clear a flag of a tenant
///
/// It has no value there any more. Clearing one that has none changes nothing.
#[utoipa::path(
    delete,
    path = "/api/operator/tenants/{id}/flags/{key}",
    tag = "flags",
    params(
        ("id" = Uuid, Path, description = "The tenant"),
        ("key" = String, Path, description = "The flag's key: `[A-Za-z0-9._-]+`"),
    ),
    responses((status = OK, description = "It is cleared.", body = Done)),
)]
pub async fn clear(Path((id, key)): Path<(Uuid, FlagKey)>, write: Write) -> Result<Response, Problem> {
    let receipt = write.dispatch::<Tenant>(id, TenantCommand::ClearFlag { key }).await?;
    Ok(write.done(id, &receipt))
}
