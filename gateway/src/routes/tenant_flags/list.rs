//! `GET /api/operator/tenants/{id}/flags`

use axum::response::Response;
use kernel::TenantId;
use projections::{Flags, Scope, TenantDirectory};
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::list::PageBody;
use crate::problem::Problem;
use crate::view::FlagView;

/// List a tenant's flags
///
/// All of them, by key: the plan bounds how many there are.
#[utoipa::path(
    get,
    path = "/api/operator/tenants/{id}/flags",
    tag = "flags",
    params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = OK, description = "The flags.", body = PageBody<FlagView>)),
)]
pub async fn list(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let client = read.connection("flags").await?;
    let rows = Flags::list(&client, TenantId(id)).await?;
    if rows.is_empty() {
        let tenant = TenantDirectory::get(&client, Scope::Platform, TenantId(id)).await?;
        tenant.ok_or_else(Problem::not_found)?;
    }
    let items: Vec<_> = rows.into_iter().map(FlagView::from).collect();
    Ok(read.show(&PageBody { items, next_cursor: None }))
}
