//! `GET /api/v1/tenants/me/password-policy` (FR-AUTH-006)

use axum::response::Response;

use super::look;
use crate::extract::Read;
use crate::problem::Problem;
use crate::view::{PasswordPolicyView, shown};

/// Show what the own tenant asks of passwords
#[utoipa::path(
    get,
    path = "/api/v1/tenants/me/password-policy",
    tag = "own tenant",
    responses((status = OK, description = "The policy.", body = PasswordPolicyView)),
)]
pub async fn password_policy(read: Read) -> Result<Response, Problem> {
    let (tenant, revision) = look(&read).await?;
    Ok(shown(&read, revision, &PasswordPolicyView::from(tenant.password_policy)))
}
