//! `DELETE /api/developer/applications/{id}/keys/{kid}` (FR-SYS-002)

use aggregates::{Application, ApplicationCommand};
use axum::response::Response;
use kernel::KeyId;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Revoke a key
///
/// It stops working at once and for good.
#[utoipa::path(
    delete,
    path = "/api/developer/applications/{id}/keys/{kid}",
    tag = "keys",
    params(
        ("id" = Uuid, Path, description = "The application"),
        ("kid" = Uuid, Path, description = "The key"),
    ),
    responses((status = OK, description = "It is revoked.", body = Done)),
)]
pub async fn revoke(Path((id, kid)): Path<(Uuid, Uuid)>, write: Write) -> Result<Response, Problem> {
    let command = ApplicationCommand::RevokeKey { key: KeyId(kid) };
    let receipt = write.dispatch::<Application>(id, command).await?;
    Ok(write.done(id, &receipt))
}
