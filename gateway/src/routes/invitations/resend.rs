//! `POST /api/v1/invitations/{id}/resend` (FR-TENANT-007, UC-TENANT-INVITE-RESEND)

use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::{self, member_by_membership};
use crate::problem::Problem;

/// Send an invitation anew
///
/// With another link, good for seven days from now; the former one is void. One that was accepted is ERR-VAL-409
/// `already_accepted`. An administrator sends no owner's.
#[utoipa::path(
    post,
    path = "/api/v1/invitations/{id}/resend",
    tag = "invitations",
    params(("id" = Uuid, Path, description = "The invitation: its membership")),
    responses((status = OK, description = "It is sent.", body = Done)),
)]
pub async fn resend(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let member = member_by_membership(&write, id)?;
    let receipt = members::resend(&write, member).await?;
    Ok(write.done(id, &receipt))
}
