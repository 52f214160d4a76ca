//! `PUT /api/operator/tenants/{id}/plan` (FR-TENANT-003 by an operator: REQUIREMENTS §12, ruling 11)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use schemas::values::Plan;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;
use crate::view::words;

/// The plan from now on.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangePlan, example = json!({"plan": "enterprise"}))]
pub struct ChangePlan {
    #[schema(schema_with = words::plan)]
    pub(crate) plan: Plan,
}

/// Change a tenant's plan, as an operator
///
/// Flags that still stand as the former plan set them follow. A plan that is too small for what the tenant has is
/// refused with detail `capacity`.
#[utoipa::path(
    put,
    path = "/api/operator/tenants/{id}/plan",
    tag = "tenants",
    params(("id" = Uuid, Path, description = "The tenant")),
    request_body = ChangePlan,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn change_plan(Path(id): Path<Uuid>, write: Write<ChangePlan>) -> Result<Response, Problem> {
    let receipt = write.dispatch::<Tenant>(id, TenantCommand::ChangePlan { plan: write.body.plan }).await?;
    Ok(write.done(id, &receipt))
}
