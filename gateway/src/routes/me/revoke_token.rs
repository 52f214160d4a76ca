//! `DELETE /api/v1/users/me/tokens/{id}`

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use kernel::TokenId;
use uuid::Uuid;

use crate::extract::{Path, Write};
use crate::problem::Problem;

/// Revoke one of the caller's access tokens
///
/// It is void from the next request on.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/tokens/{id}",
    tag = "me",
    params(("id" = Uuid, Path, description = "The token")),
    responses((status = NO_CONTENT, description = "It is void.")),
)]
pub async fn revoke_token(Path(id): Path<Uuid>, write: Write) -> Result<StatusCode, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let command = UserCommand::RevokeToken { token: TokenId(id) };
    let receipt = write.dispatch::<User>(person.0, command).await?;
    // Another person's token is not there either.
    if receipt.changed() { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}
