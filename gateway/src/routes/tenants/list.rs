//! `GET /api/operator/tenants`

use axum::response::Response;
use projections::TenantDirectory;

use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::TenantView;

/// List tenants
///
/// Filters: `name`, `domain`, `slug` (eq, ne, in, like), `plan`, `status`, `access_mode`, `region` (eq, ne, in),
/// `trial_ends_at`, `created_at`, `updated_at` (gt, lt). Sorts: `name`, `domain`, `created_at`.
#[utoipa::path(
    get,
    path = "/api/operator/tenants",
    tag = "tenants",
    responses((status = OK, description = "A page of tenants.", body = PageBody<TenantView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, TenantDirectory::LIST, &[])?;
    let client = read.connection("tenant_directory").await?;
    let page = TenantDirectory::list(&client, read.sight()?, &listing.query).await?;
    Ok(listing.page(page, TenantView::from))
}
