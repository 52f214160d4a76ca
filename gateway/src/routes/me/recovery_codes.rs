//! `POST /api/v1/users/me/recovery-codes` (NFR-SEC-003)

use aggregates::user::{User, UserCommand};
use axum::response::Response;

use super::confirm_totp::{self, RecoveryCodes};
use crate::extract::Write;
use crate::problem::Problem;
use crate::sign_in::showed_second_factor;

/// Get other recovery codes
///
/// The former ones are void. Wants a fresh authentication, with the second factor.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/recovery-codes",
    tag = "me",
    responses((status = OK, description = "The codes. They are shown here only.", body = RecoveryCodes)),
)]
pub async fn recovery_codes(write: Write) -> Result<Response, Problem> {
    let (person, _) = write.caller.signed_in()?;
    showed_second_factor(&write)?;
    let (codes, recovery_codes) = confirm_totp::recovery_codes(&write, person)?;
    let command = UserCommand::ReplaceRecoveryCodes { recovery_codes };
    let receipt = write.dispatch::<User>(person.0, command).await?;
    if !write.may_show_secret(&receipt) {
        return Err(Problem::conflict("already_shown"));
    }
    let mut response = write.show(&codes);
    crate::view::never_stored(&mut response);
    Ok(response)
}
