//! `GET /api/v1/tenants/me/sso` (FR-AUTH-003)

use axum::response::Response;

use crate::extract::Read;
use crate::problem::Problem;
use crate::routes::own_tenant::look;
use crate::sso::redirect_uri;
use crate::view::{SsoProviderList, SsoProviderView, shown};

/// List the own tenant's OpenID providers
#[utoipa::path(
    get,
    path = "/api/v1/tenants/me/sso",
    tag = "own tenant",
    responses((status = OK, description = "The providers.", body = SsoProviderList)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let (tenant, sequence) = look(&read).await?;
    let view = |provider| SsoProviderView::of(provider, redirect_uri(&read.app));
    Ok(shown(&read, sequence, &SsoProviderList { items: tenant.sso.iter().map(view).collect() }))
}
