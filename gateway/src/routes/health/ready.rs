//! `GET /ready`: this node should get requests.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use crate::readiness::Component;
use crate::state::AppState;
use crate::view::audience::{EVERYONE, STRANGER};
use crate::view::fields::{body, fields};

/// Whether this node should get requests, and why not.
#[derive(Debug, ToSchema)]
#[schema(as = Readiness, example = json!({"ready": true, "components": [
    {"name": "journal", "ready": true, "status": "ok", "detail": "owned", "hint": null}
]}))]
pub struct Ready {
    ready: bool,
    components: Vec<Component>,
}

fields! { Ready {
    ready: EVERYONE,
    components: EVERYONE,
} }

/// Whether this node should get requests
#[utoipa::path(
    get,
    path = "/ready",
    tag = "operations",
    responses(
        (status = OK, description = "It should.", body = Ready),
        (status = SERVICE_UNAVAILABLE, description = "It should not.", body = Ready),
    ),
)]
pub async fn ready(State(app): State<AppState>) -> Response {
    let components = app.readiness.components();
    let ready = components.iter().all(|component| component.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body(STRANGER, &Ready { ready, components })).into_response()
}
