//! `GET /api/v1/memberships`

use axum::response::Response;
use projections::MembershipDirectory;

use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::MembershipView;

/// List the tenant's memberships
///
/// Those that were removed included. Filters: `person`, `role`, `kind`, `status` (eq, ne, in), `email`, `first_name`,
/// `last_name` (eq, ne, in, like), `created_at`, `updated_at` (gt, lt). Sort: `created_at`.
#[utoipa::path(
    get,
    path = "/api/v1/memberships",
    tag = "memberships",
    responses((status = OK, description = "A page of memberships.", body = PageBody<MembershipView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, MembershipDirectory::LIST, &[])?;
    let client = read.connection("membership_directory").await?;
    let page = MembershipDirectory::list(&client, read.sight()?, &listing.query).await?;
    let access = read.app.access.current(false)?;
    Ok(listing.page(page, |row| {
        let given = access.grants(row.id);
        let mfa_required = access.membership_by_id(row.id).is_some_and(|member| member.mfa_required);
        MembershipView::of(row, given, mfa_required)
    }))
}
