//! `GET /api/v1/roles`

use axum::response::Response;
use projections::RoleDirectory;

use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::RoleView;

/// List the tenant's own roles
///
/// Filters: `name` (eq, ne, in, like), `created_at`, `updated_at` (gt, lt). Sorts: `name`, `created_at`.
#[utoipa::path(
    get,
    path = "/api/v1/roles",
    tag = "roles",
    responses((status = OK, description = "A page of roles.", body = PageBody<RoleView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, RoleDirectory::LIST, &[])?;
    let client = read.connection("role_directory").await?;
    let page = RoleDirectory::list(&client, read.tenant()?, &listing.query).await?;
    Ok(listing.page(page, RoleView::from))
}
