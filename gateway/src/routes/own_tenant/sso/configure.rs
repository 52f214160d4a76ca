//! `POST /api/v1/tenants/me/sso` (FR-AUTH-003, UC-TENANT-SSO)

use aggregates::tenant::{ConfigureSso, SsoCommand};
use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use kernel::SsoProviderId;
use schemas::events::SsoRules;
use schemas::values::{SsoClientId, SsoClientSecret, SsoIssuer, SsoName};
use serde::Deserialize;
use utoipa::ToSchema;

use super::tenant_of;
use crate::extract::{Done, Write};
use crate::problem::Problem;

/// A provider as it is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfigureSso, example = json!({
    "name": "Acme ID", "issuer": "https://id.acme.example", "client_id": "tenantry",
    "client_secret": "what the provider gave for us", "provision": true
}))]
pub struct Configure {
    /// For people who choose one.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    name: SsoName,
    /// As the provider calls itself.
    #[schema(value_type = String, max_length = 512)]
    issuer: SsoIssuer,
    /// As whom the provider knows this deployment.
    #[schema(value_type = String, min_length = 1, max_length = 255)]
    client_id: SsoClientId,
    /// It is kept encrypted, and never shown again.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 512)]
    client_secret: SsoClientSecret,
    /// Whoever it vouches for, with a verified address in the tenant's domain, becomes a member with the role `user`.
    #[serde(default)]
    provision: bool,
    /// A second factor that it says was shown counts as one.
    #[serde(default)]
    trusts_mfa: bool,
    /// Members other than owners get in only by a provider of the tenant's. Owners keep their passwords, for the day the
    /// provider is gone.
    #[serde(default)]
    required: bool,
}

/// Let the own tenant's people sign in by an OpenID provider
///
/// The provider is asked what it says of itself (OpenID Connect Discovery 1.0): if it does not answer, ERR-VAL-422
/// `sso_unreachable`; if it calls itself otherwise `sso_issuer_mismatch`; `sso_invalid_document`; if it knows no
/// authorization code flow, or signs with nothing that is accepted, `sso_unsupported`. At most five for each tenant
/// (`too_many_sso_providers`). Issuer and client stay as they are: others are another provider. Wants a fresh authentication.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/me/sso",
    tag = "own tenant",
    request_body = Configure,
    responses((status = CREATED, description = "It is configured.", body = Done)),
)]
pub async fn configure(write: Write<Configure>) -> Result<Response, Problem> {
    let (id, tenant) = (write.new_id("sso_provider"), write.tenant()?);
    let provider = SsoProviderId(id);
    let Configure { name, issuer, client_id, client_secret, provision, trusts_mfa, required } = &write.body;
    // A retry of what was done asks nobody again.
    if tenant_of(&write).await?.sso.get(provider).is_none() {
        let providers = &write.app.sign_in.sso;
        if !providers.may_be(issuer) {
            return Err(Problem::field("/issuer", "must be an https URL of a host of the internet"));
        }
        providers.ask(issuer, write.now()).await?;
    }
    let wish = ConfigureSso {
        provider,
        name: name.clone(),
        issuer: issuer.clone(),
        client_id: client_id.clone(),
        client_secret: client_secret.clone(),
        rules: SsoRules { provision: *provision, trusts_mfa: *trusts_mfa, required: *required },
    };
    let command = TenantCommand::Sso(SsoCommand::Configure(Box::new(wish)));
    let receipt = write.dispatch::<Tenant>(tenant.0, command).await?;
    let location = format!("/api/v1/tenants/me/sso/{id}");
    Ok(write.created(&location, &receipt, &Done { id, sequence: receipt.sequence }))
}
