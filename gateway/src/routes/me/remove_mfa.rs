//! `DELETE /api/v1/users/me/mfa/totp` (NFR-SEC-003)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;

use crate::extract::Write;
use crate::problem::Problem;
use crate::sign_in::showed_second_factor;

/// Do without one-time codes
///
/// Recovery codes are void too, unless there are passkeys. Wants a fresh authentication, with the second factor.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/mfa/totp",
    tag = "me",
    responses((status = NO_CONTENT, description = "There are no one-time codes any more.")),
)]
pub async fn remove_mfa(write: Write) -> Result<StatusCode, Problem> {
    let (person, _) = write.caller.signed_in()?;
    showed_second_factor(&write)?;
    write.dispatch::<User>(person.0, UserCommand::RemoveMfa).await?;
    Ok(StatusCode::NO_CONTENT)
}
