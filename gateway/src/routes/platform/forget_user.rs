//! `DELETE /api/operator/users/{id}` (CON-COMP-001: erasure)

use aggregates::{User, UserCommand};
use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Forget a person
///
/// Whatever is personal of them reads as forgotten from then on, in every tenant and for ever; their tokens stop working
/// at once, and the e-mail address is free. The key that their data is sealed under is destroyed right after. It can't
/// be undone. Forgetting somebody who is forgotten changes nothing.
#[utoipa::path(
    delete,
    path = "/api/operator/users/{id}",
    tag = "platform",
    params(("id" = Uuid, Path, description = "The person")),
    responses((status = OK, description = "They are forgotten.", body = Done)),
)]
pub async fn forget_user(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let receipt = write.dispatch::<User>(id, UserCommand::Forget).await?;
    Ok(write.done(id, &receipt))
}
