//! `GET /api/v1/tenants/me/sso/{id}` (FR-AUTH-003)

use axum::response::Response;
use kernel::SsoProviderId;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::routes::own_tenant::look;
use crate::sso::redirect_uri;
use crate::view::{SsoProviderView, shown};

/// Show an OpenID provider of the own tenant
///
/// Its secret is never shown again.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/me/sso/{id}",
    tag = "own tenant",
    params(("id" = Uuid, Path, description = "The provider")),
    responses((status = OK, description = "The provider.", body = SsoProviderView)),
)]
pub async fn get(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let (tenant, sequence) = look(&read).await?;
    let provider = tenant.sso.get(SsoProviderId(id)).ok_or_else(Problem::not_found)?;
    Ok(shown(&read, sequence, &SsoProviderView::of(provider, redirect_uri(&read.app))))
}
