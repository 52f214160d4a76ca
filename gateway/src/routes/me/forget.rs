//! `DELETE /api/v1/users/me` (CON-COMP-001: erasure)

use aggregates::{User, UserCommand};
use axum::http::StatusCode;

use crate::extract::Write;
use crate::members::{leave_all, may_leave_all};
use crate::problem::Problem;

/// Be forgotten
///
/// The caller leaves every tenant, and whatever is personal of them reads as forgotten from then on, for ever; their
/// tokens stop working at once, and the e-mail address is free. It can't be undone. Whoever is the last owner of a tenant
/// names another one first (ERR-VAL-422 `last_owner`): then nothing was done. Wants a fresh authentication.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me",
    tag = "me",
    responses((status = NO_CONTENT, description = "They are forgotten.")),
)]
pub async fn forget(mut write: Write) -> Result<StatusCode, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let memberships = may_leave_all(&write, person).await?;
    // First of all: from here on nobody can ask again in their name, so what is left is done all the same.
    write.dispatch::<User>(person.0, UserCommand::Forget).await?;
    leave_all(&mut write, &memberships).await;
    Ok(StatusCode::NO_CONTENT)
}
