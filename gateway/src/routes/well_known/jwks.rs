//! `GET /.well-known/jwks.json`: the public keys that verify our tokens (RFC 7517).

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::state::AppState;
use crate::view::audience::STRANGER;
use crate::view::fields::body;

/// The public keys that verify access tokens
///
/// A key stays here until the last token it signed has lapsed.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "authentication",
    responses((status = OK, description = "A JSON Web Key Set.", body = serde_json::Value,
        example = json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "0193", "n": "0vx7ago", "e": "AQAB"}]}))),
)]
pub async fn jwks(State(app): State<AppState>) -> Response {
    let keys = app.keys.tokens.jwks(app.clock.now());
    ([(header::CACHE_CONTROL, "public, max-age=300")], body(STRANGER, &keys)).into_response()
}
