//! `POST /auth/invitations/accept` (UC-TENANT-INVITE)

use axum::response::Response;

use crate::acceptance::{Accept, Accepted, Kind, accept};
use crate::extract::Write;
use crate::problem::Problem;

/// Accept an invitation
///
/// The link proves the address. Nobody is signed in by it: sign in with the password next. A link that is not the last
/// one is ERR-VAL-422 `invitation_invalid`, one that is too old `invitation_expired`.
#[utoipa::path(
    post,
    path = "/auth/invitations/accept",
    tag = "authentication",
    request_body = Accept,
    responses((status = OK, description = "The person is a member.", body = Accepted)),
)]
pub async fn accept_invitation(write: Write<Accept>) -> Result<Response, Problem> {
    accept(write, Kind::Invitation).await
}
