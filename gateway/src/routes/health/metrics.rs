//! `GET /metrics`, on the separate port only: counters and histograms for Prometheus (CC-OBS-002).

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::state::AppState;
use crate::telemetry;

/// Metrics in Prometheus' text format
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((status = OK, description = "Metrics.", body = String, content_type = "text/plain",
        example = "tenantry_http_requests_total{route=\"/health\",method=\"GET\",status=\"200\"} 1\n")),
)]
pub async fn metrics(State(app): State<AppState>) -> Result<Response, Problem> {
    app.readiness.record();
    let handle = telemetry::install().map_err(|error| {
        tracing::error!(%error, "there is no recorder of metrics");
        Problem::unexpected()
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response())
}
