//! `DELETE /api/v1/invitations/{id}`

use axum::response::Response;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::{self, member_by_membership};
use crate::problem::Problem;

/// Take an invitation back
///
/// Its link is void. One that was accepted is ERR-VAL-409 `already_accepted`: remove the member instead. An administrator
/// takes back no owner's, and the last owner stays.
#[utoipa::path(
    delete,
    path = "/api/v1/invitations/{id}",
    tag = "invitations",
    params(("id" = Uuid, Path, description = "The invitation: its membership")),
    responses((status = OK, description = "It is taken back.", body = Done)),
)]
pub async fn revoke(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let member = member_by_membership(&write, id)?;
    let (write, receipt) = members::revoke(write, member).await?;
    Ok(write.done(id, &receipt))
}
