//! `GET /api/auditor/audit-logs` (FR-LOG-003)

use axum::response::Response;
use projections::AuditTrail;

use super::range;
use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::view::AuditView;

/// List the audit trail
///
/// Who did what, also what was refused. Filters: `actor`, `role`, `action`, `resource_type`, `resource_id`, `code`,
/// `event_type`, `address` (eq, ne, in, like), `actor_kind`, `outcome`, `tenant`, `event_id`, `correlation_id` (eq, ne, in),
/// `recorded_at` (gt, lt). Sort: `recorded_at`.
#[utoipa::path(
    get,
    path = "/api/auditor/audit-logs",
    tag = "audit",
    params(
        ("from" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this time (RFC 3339)"),
    ),
    responses((status = OK, description = "A page of entries.", body = PageBody<AuditView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, AuditTrail::LIST, range::PARAMETERS)?;
    let range = range::of(&listing.own)?;
    let client = read.connection("audit_trail").await?;
    let page = AuditTrail::list(&client, read.sight()?, range, &listing.query).await?;
    Ok(listing.page(page, AuditView::from))
}
