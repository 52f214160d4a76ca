//! `PUT /api/v1/tenants/me/security` (NFR-SEC-003, CON-SEC-005)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;

use crate::extract::{Done, Write};
use crate::problem::Problem;
use crate::view::SecurityView;

/// Say how people get into the own tenant
///
/// While a second factor is asked for, whoever signed in without one is refused from the next request on (ERR-AUTH-461),
/// the caller too. They can still enrol one, and sign in again. Wants a fresh authentication.
#[utoipa::path(
    put,
    path = "/api/v1/tenants/me/security",
    tag = "own tenant",
    request_body = SecurityView,
    responses((status = OK, description = "It is asked for.", body = Done)),
)]
pub async fn set_security(write: Write<SecurityView>) -> Result<Response, Problem> {
    let id = write.tenant()?.0;
    let command = TenantCommand::SetSecurity { mfa_required: write.body.mfa_required };
    let receipt = write.dispatch::<Tenant>(id, command).await?;
    Ok(write.done(id, &receipt))
}
