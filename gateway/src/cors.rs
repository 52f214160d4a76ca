//! CORS: pages of these origins may call the API, and nobody else's. None by default.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Lets pages of these origins call. With none, the router stays as it is: browsers refuse.
pub fn allow(router: Router, origins: &[String]) -> Router {
    let origins: Vec<HeaderValue> =
        origins.iter().filter(|origin| !origin.is_empty()).filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return router;
    }
    let name = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            name("idempotency-key"),
            name("traceparent"),
            name("x-min-position"),
            name("x-org"),
            name("x-request-id"),
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            name("idempotent-replayed"),
            name("ratelimit"),
            name("ratelimit-policy"),
            name("traceparent"),
            name("x-position"),
            name("x-request-id"),
        ])
        .max_age(Duration::from_secs(600));
    router.layer(layer)
}
