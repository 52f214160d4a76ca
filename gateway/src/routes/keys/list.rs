//! `GET /api/developer/applications/{id}/keys`

use axum::response::Response;
use kernel::ApplicationId;
use projections::ApplicationDirectory;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::KeyView;

/// List an application's keys
///
/// Without their secrets. Filters: `prefix` (eq, ne, in, like), `status` (eq, ne, in), `expires_at`, `created_at`
/// (gt, lt). Sort: `created_at`.
#[utoipa::path(
    get,
    path = "/api/developer/applications/{id}/keys",
    tag = "keys",
    params(("id" = Uuid, Path, description = "The application")),
    responses((status = OK, description = "A page of keys.", body = PageBody<KeyView>)),
)]
pub async fn list(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, ApplicationDirectory::KEYS, &[])?;
    let client = read.connection("application_directory").await?;
    let page = ApplicationDirectory::keys(&client, ApplicationId(id), &listing.query).await?;
    if page.rows.is_empty() {
        let application = ApplicationDirectory::get(&client, read.sight()?, ApplicationId(id)).await?;
        application.ok_or_else(Problem::not_found)?;
    }
    Ok(listing.page(page, KeyView::from))
}
