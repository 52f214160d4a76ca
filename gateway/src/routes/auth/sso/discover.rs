//! `GET /auth/sso/discover` (FR-AUTH-003)

use aggregates::Tenant;
use aggregates::tenant::DOMAIN_CLAIM;
use axum::response::Response;
use kernel::Claim;
use schemas::values::EmailAddress;
use utoipa::ToSchema;
use uuid::Uuid;

use super::parameter;
use crate::extract::Read;
use crate::problem::Problem;
use crate::state::App;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// A provider to sign in by.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b1a", "name": "Acme ID",
    "start_url": "https://app.example/auth/sso/018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b1a/start"
}))]
pub struct SsoChoice {
    pub id: Uuid,
    pub name: Option<String>,
    /// Where the browser begins.
    pub start_url: String,
}

fields! { SsoChoice {
    id: EVERYONE,
    name: EVERYONE,
    start_url: EVERYONE,
} }

/// The providers to sign in by.
#[derive(ToSchema)]
pub struct SsoChoices {
    pub items: Vec<SsoChoice>,
}

fields! { SsoChoices {
    items: EVERYONE,
} }

/// Find by whom an address signs in
///
/// The providers of the tenant whose domain is the address's. Whether there is somebody by this address is not looked at.
#[utoipa::path(
    get,
    path = "/auth/sso/discover",
    tag = "authentication",
    params(("email" = String, Query, description = "The address that somebody would sign in with")),
    responses((status = OK, description = "The providers, if there are any.", body = SsoChoices)),
)]
pub async fn discover(read: Read) -> Result<Response, Problem> {
    let email = parameter(&read.query, "email")?.ok_or_else(|| Problem::parameter("email", "is missing"))?;
    let email: EmailAddress =
        email.parse().map_err(|_| Problem::parameter("email", "must look like name@example.org"))?;
    Ok(read.show(&SsoChoices { items: choices(&read.app, email.domain()).await? }))
}

async fn choices(app: &App, domain: &str) -> Result<Vec<SsoChoice>, Problem> {
    let unreadable = |_| Problem::unavailable("database");
    let holder = app.engine.claim_holder(&Claim::new(DOMAIN_CLAIM, domain)).await.map_err(unreadable)?;
    let id = holder.map_or_else(|| app.ids.fresh(), |stream| stream.id);
    let (tenant, _) = app.engine.look::<Tenant>(id).await.map_err(unreadable)?;
    let tenant = tenant.existing().filter(|tenant| !tenant.purged && !tenant.unverified);
    let providers = tenant.into_iter().flat_map(|tenant| tenant.sso.iter());
    let choice = |provider: &schemas::events::SsoConfigured| SsoChoice {
        id: provider.provider.0,
        name: provider.name.reveal().map(|name| name.as_str().to_owned()),
        start_url: format!("{}/auth/sso/{}/start", app.keys.tokens.issuer(), provider.provider),
    };
    Ok(providers.map(choice).collect())
}
