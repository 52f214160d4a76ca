//! `DELETE /api/v1/tenants/me/sso/{id}` (FR-AUTH-003)

use aggregates::tenant::SsoCommand;
use aggregates::{Tenant, TenantCommand};
use axum::http::StatusCode;
use kernel::SsoProviderId;
use uuid::Uuid;

use super::provider_of;
use crate::extract::{Path, Write};
use crate::problem::Problem;

/// Let nobody sign in by an OpenID provider any more
///
/// Every session that a provider of the tenant's began ends at once: whoever has another one signs in by that again. Wants a
/// fresh authentication.
#[utoipa::path(
    delete,
    path = "/api/v1/tenants/me/sso/{id}",
    tag = "own tenant",
    params(("id" = Uuid, Path, description = "The provider")),
    responses((status = NO_CONTENT, description = "It is removed.")),
)]
pub async fn remove(Path(id): Path<Uuid>, write: Write) -> Result<StatusCode, Problem> {
    provider_of(&write, id).await?;
    let command = TenantCommand::Sso(SsoCommand::Remove { provider: SsoProviderId(id) });
    write.dispatch::<Tenant>(write.tenant()?.0, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
