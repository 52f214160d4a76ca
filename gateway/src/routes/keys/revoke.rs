//! `DELETE /api/developer/applications/{id}/keys/{kid}` (FR-SYS-002)

use aggregates::{Application, ApplicationCommand};
use axum::response::Response;
use kernel::KeyId;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// Which key of which application.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct KeyPath {
    /// The application
    pub id: Uuid,
    /// The key
    pub kid: Uuid,
}

/// Revoke a key
///
/// It stops working at once and for good.
#[utoipa::path(
    delete,
    path = "/api/developer/applications/{id}/keys/{kid}",
    tag = "keys",
    params(KeyPath),
    responses((status = OK, description = "It is revoked.", body = Done)),
)]
pub async fn revoke(Path(KeyPath { id, kid }): Path<KeyPath>, write: Write) -> Result<Response, Problem> {
    let command = ApplicationCommand::RevokeKey { key: KeyId(kid) };
    let receipt = write.dispatch::<Application>(id, command).await?;
    Ok(write.done(id, &receipt))
}
