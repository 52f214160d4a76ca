//! `GET /api/v1/users/me/passkeys` (NFR-SEC-003)

use axum::response::Response;

use crate::extract::Read;
use crate::problem::Problem;
use crate::sign_in;
use crate::view::{PasskeyList, PasskeyView};

/// List the caller's passkeys
#[utoipa::path(
    get,
    path = "/api/v1/users/me/passkeys",
    tag = "me",
    responses((status = OK, description = "The passkeys, the oldest first.", body = PasskeyList)),
)]
pub async fn passkeys(read: Read) -> Result<Response, Problem> {
    let (person, _) = read.caller.signed_in()?;
    let known = sign_in::by_id(&read.app, person).await?.ok_or_else(Problem::not_found)?;
    Ok(read.show(&PasskeyView::list(&known)))
}
