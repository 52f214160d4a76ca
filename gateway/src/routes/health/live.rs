//! `GET /health`: the process lives.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// That it answers at all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "up", "version": "0.1.0"}))]
pub struct Health {
    #[schema(value_type = String)]
    status: &'static str,
    #[schema(value_type = String)]
    version: &'static str,
}

/// Whether the process lives
///
/// It asks nothing else of anybody: a database that is away is no reason to restart the server.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operations",
    responses((status = OK, description = "It lives.", body = Health)),
)]
pub async fn live() -> Json<Health> {
    Json(Health { status: "up", version: env!("CARGO_PKG_VERSION") })
}
