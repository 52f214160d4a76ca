//! `DELETE /api/operator/users/{id}/mfa` (NFR-SEC-003)

use aggregates::{User, UserCommand};
use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Take a person's second factors away
///
/// For whoever lost theirs, or has one that somebody else added: one-time codes, passkeys and recovery codes are void, and all
/// sessions and access tokens end. They sign in with the password next, and can reset that by mail. Make sure first who asks
/// for it. Whoever has none stays as they are. Wants a fresh authentication.
#[utoipa::path(
    delete,
    path = "/api/operator/users/{id}/mfa",
    tag = "platform",
    params(("id" = Uuid, Path, description = "The person")),
    responses((status = OK, description = "They have no second factor.", body = Done)),
)]
pub async fn reset_mfa(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let receipt = write.dispatch::<User>(id, UserCommand::ResetSecondFactors).await?;
    Ok(write.done(id, &receipt))
}
