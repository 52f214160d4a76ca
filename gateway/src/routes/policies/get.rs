//! `GET /api/operator/policies/{id}`

use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::{PolicyView, shown};

/// Show a published policy
#[utoipa::path(
    get,
    path = "/api/operator/policies/{id}",
    tag = "policies",
    params(("id" = Uuid, Path, description = "The policy")),
    responses((status = OK, description = "The policy.", body = PolicyView)),
)]
pub async fn get(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    read.policies_caught_up().await?;
    let policy = read.app.policies.memory.get(id).ok_or_else(Problem::not_found)?;
    Ok(shown(&read, policy.sequence.cast_signed(), &PolicyView::from(policy)))
}
