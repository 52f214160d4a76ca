//! `PUT /api/v1/tenants/me/plan` (FR-TENANT-003)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;

use crate::extract::{Done, Write};
use crate::problem::Problem;
use crate::routes::tenants::change_plan::ChangePlan;

/// Change the own tenant's plan
///
/// A plan that is too small for what the tenant has is refused with detail `capacity`.
#[utoipa::path(
    put,
    path = "/api/v1/tenants/me/plan",
    tag = "own tenant",
    request_body = ChangePlan,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn change_plan(write: Write<ChangePlan>) -> Result<Response, Problem> {
    let id = write.tenant()?.0;
    let receipt = write.dispatch::<Tenant>(id, TenantCommand::ChangePlan { plan: write.body.plan }).await?;
    Ok(write.done(id, &receipt))
}
