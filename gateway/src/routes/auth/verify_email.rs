//! `POST /auth/email/verify` (REQUIREMENTS §3)

use axum::response::Response;

use crate::acceptance::{Accept, Accepted, Kind, accept};
use crate::extract::Write;
use crate::problem::Problem;

/// Verify the address of a registration
///
/// The link proves the address: its person owns the registered tenant, which is blocked no longer. Nobody is signed in by
/// it: sign in with the password next. A link that is not the last one is ERR-VAL-422 `verification_invalid`, one that is
/// too old `verification_expired`.
#[utoipa::path(
    post,
    path = "/auth/email/verify",
    tag = "authentication",
    request_body = Accept,
    responses((status = OK, description = "The person owns the tenant, which is blocked no longer.", body = Accepted)),
)]
pub async fn verify_email(write: Write<Accept>) -> Result<Response, Problem> {
    accept(write, Kind::Verification).await
}
