//! `GET /api/developer/applications`

use axum::response::Response;
use projections::ApplicationDirectory;

use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::ApplicationView;

/// List applications
///
/// Filters: `name`, `owner` (eq, ne, in, like), `environment`, `status` (eq, ne, in), `created_at`, `updated_at`
/// (gt, lt). Sorts: `name`, `created_at`.
#[utoipa::path(
    get,
    path = "/api/developer/applications",
    tag = "applications",
    responses((status = OK, description = "A page of applications.", body = PageBody<ApplicationView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, ApplicationDirectory::LIST, &[])?;
    let client = read.connection("application_directory").await?;
    let page = ApplicationDirectory::list(&client, read.sight()?, &listing.query).await?;
    Ok(listing.page(page, ApplicationView::from))
}
