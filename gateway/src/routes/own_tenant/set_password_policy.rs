//! `PUT /api/v1/tenants/me/password-policy` (FR-AUTH-006, CON-SEC-001)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;

use crate::extract::{Done, Write};
use crate::problem::Problem;
use crate::view::PasswordPolicyView;

/// Say what the own tenant asks of passwords
///
/// Of new ones; those that were chosen before stay. Whoever belongs to several tenants has one password, which has to satisfy
/// all of them. What is left out is as by default. Wants a fresh authentication.
#[utoipa::path(
    put,
    path = "/api/v1/tenants/me/password-policy",
    tag = "own tenant",
    request_body = PasswordPolicyView,
    responses((status = OK, description = "It is asked for.", body = Done)),
)]
pub async fn set_password_policy(write: Write<PasswordPolicyView>) -> Result<Response, Problem> {
    let id = write.tenant()?.0;
    let command = TenantCommand::SetPasswordPolicy { policy: write.body.into() };
    let receipt = write.dispatch::<Tenant>(id, command).await?;
    Ok(write.done(id, &receipt))
}
