//! `POST /api/v1/tenants/me/sso/{id}/verify` (FR-AUTH-003)

use axum::response::Response;
use uuid::Uuid;

use super::provider_of;
use crate::extract::{Path, Write};
use crate::problem::Problem;
use crate::view::VerifiedSsoView;

/// Ask an OpenID provider of the own tenant again what it says of itself
///
/// As when it was configured, with the same refusals. Whether it knows the client and its secret shows the first sign-in.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/me/sso/{id}/verify",
    tag = "own tenant",
    params(("id" = Uuid, Path, description = "The provider")),
    responses((status = OK, description = "What it says.", body = VerifiedSsoView)),
)]
pub async fn verify(Path(id): Path<Uuid>, write: Write) -> Result<Response, Problem> {
    let provider = provider_of(&write, id).await?;
    let issuer = provider.issuer.reveal().ok_or_else(Problem::not_found)?;
    let found = write.app.sign_in.sso.ask(issuer, write.now()).await?;
    Ok(write.show(&VerifiedSsoView::from(&*found)))
}
