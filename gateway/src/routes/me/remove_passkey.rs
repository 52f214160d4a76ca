//! `DELETE /api/v1/users/me/passkeys/{id}` (NFR-SEC-003)

use aggregates::user::{PasskeyCommand, User, UserCommand};
use axum::http::StatusCode;
use kernel::PasskeyId;
use uuid::Uuid;

use crate::extract::{Path, Write};
use crate::problem::Problem;
use crate::sign_in::{self, showed_second_factor};

/// Remove a passkey
///
/// It signs in no more, whatever the authenticator keeps. Recovery codes are void with the last second factor. Wants a fresh
/// authentication, with the second factor.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/passkeys/{id}",
    tag = "me",
    params(("id" = Uuid, Path, description = "The passkey")),
    responses((status = NO_CONTENT, description = "It is removed.")),
)]
pub async fn remove_passkey(Path(id): Path<Uuid>, write: Write) -> Result<StatusCode, Problem> {
    let (person, _) = write.caller.signed_in()?;
    showed_second_factor(&write)?;
    let passkey = PasskeyId(id);
    let known = sign_in::by_id(&write.app, person).await?.ok_or_else(Problem::not_found)?;
    // Another person's passkey is not there either.
    if known.state.sign_in.passkeys.get(passkey).is_none() {
        return Err(Problem::not_found());
    }
    let command = UserCommand::Passkey(PasskeyCommand::Remove { passkey });
    write.dispatch::<User>(person.0, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
