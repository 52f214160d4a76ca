//! `DELETE /api/operator/policies/{id}`

use aggregates::{Policy, PolicyCommand};
use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Withdraw a published policy
///
/// It is no longer in force when this answers. Withdrawing one that is withdrawn changes nothing.
#[utoipa::path(
    delete,
    path = "/api/operator/policies/{id}",
    tag = "policies",
    params(("id" = Uuid, Path, description = "The policy")),
    responses((status = OK, description = "It is withdrawn.", body = Done)),
)]
pub async fn withdraw(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let receipt = write.dispatch::<Policy>(id, PolicyCommand::Withdraw).await?;
    Ok(write.done(id, &receipt))
}
