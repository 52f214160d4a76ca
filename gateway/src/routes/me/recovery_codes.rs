//! `POST /api/v1/users/me/recovery-codes` (NFR-SEC-003)

use aggregates::user::{User, UserCommand};
use axum::Json;

use super::confirm_totp::{self, RecoveryCodes};
use crate::extract::Write;
use crate::problem::Problem;

/// Get other recovery codes
///
/// The former ones are void. Wants a fresh authentication.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/recovery-codes",
    tag = "me",
    responses((status = OK, description = "The codes. They are shown here only.", body = RecoveryCodes)),
)]
pub async fn recovery_codes(write: Write) -> Result<Json<RecoveryCodes>, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let (codes, recovery_codes) = confirm_totp::recovery_codes(&write, person)?;
    write.dispatch::<User>(person.0, UserCommand::ReplaceRecoveryCodes { recovery_codes }).await?;
    Ok(Json(codes))
}
