//! `PATCH /api/v1/tenants/me/sso/{id}` (FR-AUTH-003)

use aggregates::tenant::SsoCommand;
use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use kernel::SsoProviderId;
use schemas::values::{SsoClientSecret, SsoName};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::provider_of;
use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// What is to change; what is left out stays. Another issuer or client is another provider.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateSso, example = json!({"required": true}))]
pub struct Update {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    name: Option<SsoName>,
    #[schema(value_type = Option<String>, format = Password, min_length = 1, max_length = 512)]
    client_secret: Option<SsoClientSecret>,
    provision: Option<bool>,
    /// Once it is trusted no longer, every session that a provider of the tenant's began ends.
    trusts_mfa: Option<bool>,
    required: Option<bool>,
}

/// Change an OpenID provider of the own tenant
///
/// Wants a fresh authentication.
#[utoipa::path(
    patch,
    path = "/api/v1/tenants/me/sso/{id}",
    tag = "own tenant",
    params(("id" = Uuid, Path, description = "The provider")),
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(Path(id): Path<Uuid>, write: Write<Update>) -> Result<Response, Problem> {
    provider_of(&write, id).await?;
    let Update { name, client_secret, provision, trusts_mfa, required } = &write.body;
    let command = TenantCommand::Sso(SsoCommand::Update {
        provider: SsoProviderId(id),
        name: name.clone(),
        client_secret: client_secret.clone(),
        provision: *provision,
        trusts_mfa: *trusts_mfa,
        required: *required,
    });
    let receipt = write.dispatch::<Tenant>(write.tenant()?.0, command).await?;
    Ok(write.done(id, &receipt))
}
