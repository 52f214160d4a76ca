//! `PUT /api/operator/tenants/{id}/access-mode`

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use schemas::values::AccessMode;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;
use crate::view::words;

/// What may be done in the tenant from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetAccessMode, example = json!({"mode": "read_only"}))]
pub struct SetAccessMode {
    #[schema(schema_with = words::access_mode)]
    mode: AccessMode,
}

/// Set a tenant's access mode
///
/// Suspension and an expired trial may restrict the tenant further.
#[utoipa::path(
    put,
    path = "/api/operator/tenants/{id}/access-mode",
    tag = "tenants",
    params(("id" = Uuid, Path, description = "The tenant")),
    request_body = SetAccessMode,
    responses((status = OK, description = "It is set.", body = Done)),
)]
pub async fn set_access_mode(Path(id): Path<Uuid>, write: Write<SetAccessMode>) -> Result<Response, Problem> {
    let command = TenantCommand::SetAccessMode { mode: write.body.mode };
    let receipt = write.dispatch::<Tenant>(id, command).await?;
    Ok(write.done(id, &receipt))
}
