//! `GET /health`: the process lives.

use axum::response::Response;
use utoipa::ToSchema;

use crate::view::audience::{EVERYONE, STRANGER};
use crate::view::fields::{body, fields};

/// That it answers at all.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"status": "up", "version": "0.1.0"}))]
pub struct Health {
    #[schema(value_type = String)]
    status: &'static str,
    #[schema(value_type = String)]
    version: &'static str,
}

fields! { Health {
    status: EVERYONE,
    version: EVERYONE,
} }

/// Whether the process lives
///
/// It asks nothing else of anybody: a database that is away is no reason to restart the server.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operations",
    responses((status = OK, description = "It lives.", body = Health)),
)]
pub async fn live() -> Response {
    body(STRANGER, &Health { status: "up", version: env!("CARGO_PKG_VERSION") })
}
