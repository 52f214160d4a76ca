//! `POST /api/operator/tenants/{id}/suspend` (FR-OPS-001, UC-TENANT-SUSPEND)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use schemas::values::Reason;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Why a tenant is suspended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SuspendTenant, example = json!({"reason": "The invoice of October is unpaid."}))]
pub struct Suspend {
    /// One printable line.
    #[schema(value_type = String, min_length = 1, max_length = 500)]
    reason: Reason,
}

/// Suspend a tenant
///
/// Everybody's access to it stops on the next request. Suspending one that is suspended changes nothing.
#[utoipa::path(
    post,
    path = "/api/operator/tenants/{id}/suspend",
    tag = "tenants",
    params(("id" = Uuid, Path, description = "The tenant")),
    request_body = Suspend,
    responses((status = OK, description = "It is suspended.", body = Done)),
)]
pub async fn suspend(Path(id): Path<Uuid>, write: Write<Suspend>) -> Result<Response, Problem> {
    let command = TenantCommand::Suspend { reason: write.body.reason.clone() };
    let receipt = write.dispatch::<Tenant>(id, command).await?;
    Ok(write.done(id, &receipt))
}
