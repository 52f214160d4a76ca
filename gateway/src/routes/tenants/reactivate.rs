//! `POST /api/operator/tenants/{id}/reactivate` (FR-OPS-001)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use schemas::values::Reason;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Why a tenant is reactivated, if there is something to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReactivateTenant, example = json!({"reason": "The invoice is paid."}))]
pub struct Reactivate {
    /// One printable line.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500)]
    reason: Option<Reason>,
}

/// Reactivate a tenant
///
/// The suspension ends; what an operator set as access mode stands. A tenant that is not suspended stays as it is.
#[utoipa::path(
    post,
    path = "/api/operator/tenants/{id}/reactivate",
    tag = "tenants",
    params(("id" = Uuid, Path, description = "The tenant")),
    request_body = Reactivate,
    responses((status = OK, description = "It is not suspended.", body = Done)),
)]
pub async fn reactivate(Path(id): Path<Uuid>, write: Write<Reactivate>) -> Result<Response, Problem> {
    let command = TenantCommand::Reactivate { reason: write.body.reason.clone() };
    let receipt = write.dispatch::<Tenant>(id, command).await?;
    Ok(write.done(id, &receipt))
}
