//! `POST /api/v1/invitations` (FR-TENANT-001, UC-TENANT-INVITE)

use axum::response::Response;

use crate::extract::{Done, Write};
use crate::members::{self, Invite};
use crate::problem::Problem;

/// Send an invitation
///
/// As `POST /api/v1/users`; the answer names the invitation.
#[utoipa::path(
    post,
    path = "/api/v1/invitations",
    tag = "invitations",
    request_body = Invite,
    responses((status = CREATED, description = "They are invited.", body = Done)),
)]
pub async fn send(write: Write<Invite>) -> Result<Response, Problem> {
    let invited = members::invite(&write).await?;
    let location = format!("/api/v1/users/{}", invited.person);
    let done = Done { id: invited.membership.0, sequence: invited.receipt.sequence };
    Ok(write.created(&location, &invited.receipt, &done))
}
