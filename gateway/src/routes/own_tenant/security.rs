//! `GET /api/v1/tenants/me/security` (NFR-SEC-003)

use axum::response::Response;

use super::look;
use crate::extract::Read;
use crate::problem::Problem;
use crate::view::{SecurityView, shown};

/// Show how people get into the own tenant
#[utoipa::path(
    get,
    path = "/api/v1/tenants/me/security",
    tag = "own tenant",
    responses((status = OK, description = "What is asked for.", body = SecurityView)),
)]
pub async fn security(read: Read) -> Result<Response, Problem> {
    let (tenant, revision) = look(&read).await?;
    Ok(shown(&read, revision, &SecurityView { mfa_required: tenant.mfa_required }))
}
