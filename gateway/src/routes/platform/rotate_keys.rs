//! `POST /api/operator/keys/rotate` (NFR-SEC-004, CON-SEC-006)

use axum::response::Response;
use chrono::{DateTime, Utc};
use utoipa::ToSchema;

use crate::extract::Write;
use crate::problem::Problem;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// The key that signs access tokens from now on.
#[derive(ToSchema)]
#[schema(as = RotatedSigningKey, example = json!({
    "kid": "0192f0c16a007000800000000000007a", "algorithm": "RS256", "former_verifies_until": "2027-01-02T09:00:00Z"
}))]
pub struct Rotated {
    /// As tokens and `GET /.well-known/jwks.json` name it.
    pub kid: String,
    pub algorithm: &'static str,
    /// Until when the former key verifies what it signed.
    pub former_verifies_until: DateTime<Utc>,
}

fields! { Rotated {
    kid: EVERYONE,
    algorithm: EVERYONE,
    former_verifies_until: EVERYONE,
} }

/// Let another key sign access tokens
///
/// At once on this node, within ten seconds on the others. What the former key signed stays good until it expires. Wants a
/// fresh authentication. Keys rotate by themselves too, after 335 days.
#[utoipa::path(
    post,
    path = "/api/operator/keys/rotate",
    tag = "operations",
    responses((status = OK, description = "Another key signs.", body = Rotated)),
)]
pub async fn rotate_keys(write: Write) -> Result<Response, Problem> {
    let rotated = write.app.key_store.rotate(&write.app.keys.tokens).await.map_err(|error| {
        tracing::error!(%error, "the key that signs tokens could not be rotated; it stays");
        Problem::unavailable("keys")
    })?;
    write.concerns("key", &rotated.kid);
    tracing::info!(kid = rotated.kid, "another key signs tokens from now on, as an operator wished");
    Ok(write.show(&Rotated {
        kid: rotated.kid,
        algorithm: rotated.algorithm.as_str(),
        former_verifies_until: rotated.former_verifies_until,
    }))
}
