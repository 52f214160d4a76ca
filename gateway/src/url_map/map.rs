//! From endpoints and handlers to routes behind their gates. Which there are, [`super::url_map`] says.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::{Router, http::StatusCode};
use utoipa::openapi::path::{HttpMethod, Paths};
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::endpoint::{Endpoint, Listener};
use crate::gate::{Gate, gate};
use crate::observe::observe;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// One endpoint with its handler.
struct Entry {
    endpoint: Arc<Endpoint>,
    schemas: Vec<(String, RefOr<Schema>)>,
    paths: Paths,
    handler: axum::routing::MethodRouter<AppState>,
}

/// An endpoint, the schemas its handler names, and the paths it documents.
pub(crate) type Documented = (Arc<Endpoint>, Vec<(String, RefOr<Schema>)>, Paths);

/// Endpoints with their handlers.
#[derive(Default)]
pub struct UrlMap(Vec<Entry>);

impl UrlMap {
    /// Adds an endpoint.
    ///
    /// # Panics
    /// The handler documents another method or path: a slip of the pen that a test finds.
    pub fn at(mut self, endpoint: Endpoint, (schemas, paths, handler): UtoipaMethodRouter<AppState>) -> Self {
        let documented = paths.paths.get(endpoint.path).is_some_and(|item| {
            let operation = match documented_method(&endpoint) {
                Some(HttpMethod::Get) => &item.get,
                Some(HttpMethod::Post) => &item.post,
                Some(HttpMethod::Put) => &item.put,
                Some(HttpMethod::Patch) => &item.patch,
                Some(HttpMethod::Delete) => &item.delete,
                _ => &None,
            };
            operation.is_some()
        });
        assert!(
            documented && paths.paths.len() == 1,
            "the handler of {} {} documents another method or path",
            endpoint.method,
            endpoint.path
        );
        self.0.push(Entry { endpoint: Arc::new(endpoint), schemas, paths, handler });
        self
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.iter().map(|entry| &entry.endpoint)
    }

    /// What the handlers document, with each endpoint's rules.
    pub(crate) fn documented(self) -> Vec<Documented> {
        self.0.into_iter().map(|entry| (entry.endpoint, entry.schemas, entry.paths)).collect()
    }

    /// The routes of a listener, each behind its gate.
    pub fn router(self, app: &AppState, listener: Listener) -> Router {
        let here = self
            .0
            .into_iter()
            .filter(|entry| entry.endpoint.listener == listener || entry.endpoint.listener == Listener::Both);
        let mut router = Router::new();
        for entry in here {
            let guard = Gate { app: app.clone(), endpoint: Arc::clone(&entry.endpoint) };
            let handler = entry.handler.route_layer(from_fn_with_state(guard, gate));
            router = router.route(entry.endpoint.path, handler);
        }
        if listener == Listener::Public {
            router = router.merge(crate::openapi::browser());
        }
        router
            .fallback(async || Problem::new(Code::NotFound, "no_such_route"))
            .method_not_allowed_fallback(async || {
                Problem::invalid("method_not_allowed", Vec::new())
                    .with_status(StatusCode::METHOD_NOT_ALLOWED)
                    .into_response()
            })
            .layer(from_fn_with_state(app.clone(), observe))
            .with_state(app.clone())
    }
}

/// How OpenAPI calls an endpoint's method.
fn documented_method(endpoint: &Endpoint) -> Option<HttpMethod> {
    Some(match endpoint.method.as_str() {
        "GET" => HttpMethod::Get,
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => return None,
    })
}
