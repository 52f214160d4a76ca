//! `GET /api/operator/tenants/{id}/flags`

use axum::response::Response;
use kernel::TenantId;
use uuid::Uuid;

use crate::delivery::Known;
use crate::extract::{Path, Read};
use crate::list::PageBody;
use crate::problem::Problem;
use crate::view::FlagView;

/// List a tenant's flags
///
/// All of them, by key: the plan bounds how many there are. `Age` tells, in seconds, that the node could not learn of
/// changes for so long.
#[utoipa::path(
    get,
    path = "/api/operator/tenants/{id}/flags",
    tag = "flags",
    params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = OK, description = "The flags.", body = PageBody<FlagView>)),
)]
pub async fn list(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let known = Known::of(&read, TenantId(id)).await?;
    let items: Vec<_> = known.flags.flags.iter().map(|(key, flag)| FlagView::of(key, flag)).collect();
    Ok(known.aged(read.show(&PageBody { items, next_cursor: None })))
}
