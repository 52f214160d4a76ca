//! `GET /api/v1/invitations`

use axum::response::Response;
use projections::MembershipDirectory;

use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::InvitationView;

/// List the tenant's open invitations
///
/// Also those that have expired: they can be sent anew. Filters: `role`, `kind` (eq, ne, in), `email` (eq, ne, in, like),
/// `expires_at`, `created_at`, `updated_at` (gt, lt). Sort: `created_at`.
#[utoipa::path(
    get,
    path = "/api/v1/invitations",
    tag = "invitations",
    responses((status = OK, description = "A page of invitations.", body = PageBody<InvitationView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, MembershipDirectory::INVITATIONS, &[])?;
    let client = read.connection("membership_directory").await?;
    let page = MembershipDirectory::invitations(&client, read.sight()?, &listing.query).await?;
    let now = read.now();
    Ok(listing.page(page, |row| InvitationView::of(row, now)))
}
