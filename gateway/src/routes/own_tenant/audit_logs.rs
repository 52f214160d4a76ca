//! `GET /api/v1/tenants/me/audit-logs`

use axum::response::Response;
use projections::AuditTrail;

use crate::extract::Read;
use crate::list::{Listing, PageBody};
use crate::problem::Problem;
use crate::routes::audit::range;
use crate::view::AuditView;

/// List the own tenant's audit trail
///
/// Where operators and machines of the platform came from is not told.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/me/audit-logs",
    tag = "own tenant",
    params(
        ("from" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this time (RFC 3339)"),
    ),
    responses((status = OK, description = "A page of entries.", body = PageBody<AuditView>)),
)]
pub async fn audit_logs(read: Read) -> Result<Response, Problem> {
    let listing = Listing::of(&read, AuditTrail::LIST, range::PARAMETERS)?;
    // Asking for one after the other would tell what is not shown.
    if listing.query.fields().any(|field| field == "address") {
        return Err(Problem::parameter("address", "is not known here"));
    }
    let range = range::of(&listing.own)?;
    let client = read.connection("audit_trail").await?;
    let page = AuditTrail::list(&client, read.sight()?, range, &listing.query).await?;
    Ok(listing.page(page, AuditView::from))
}
