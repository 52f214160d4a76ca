//! The outermost layer: trace ids, problems written out, one log line and the RED metrics for each request.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;

use crate::problem::Problem;
use crate::request::{Peer, RequestInfo, origin};
use crate::state::AppState;
use crate::telemetry;
use crate::trace::Trace;

/// The middleware.
pub async fn observe(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let trace = Trace::of(request.headers(), app.ids.as_ref());
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| *peer);
    // A forwarding header is anybody's claim, unless a proxy of ours wrote it (CC-SEC-001).
    let address = peer.map(|Peer(peer)| app.limits.rates.origin_of(peer.ip(), request.headers()));
    let origin = origin(request.headers(), address);
    let info = RequestInfo { trace: trace.clone(), address, origin };
    request.extensions_mut().insert(info);
    // The pattern, never the URI: what stands in it may be personal (CC-LOG-002).
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = method_name(request.method());
    let trace_id = trace.id();
    let span =
        tracing::info_span!("request", trace.id = %trace_id, http.method = method, http.route = %route);
    let under_way = telemetry::UnderWay::begin();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let response = answered.unwrap_or_else(|_| Problem::unexpected().into_response());
    drop(under_way);
    let mut response = written_out(response, &trace_id);
    trace.write(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    let status = response.status();
    telemetry::answered(&route, method, status.as_u16(), started.elapsed());
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(
                http.status = status.as_u16(),
                duration_ms,
                "answered a request with a failure of ours"
            );
        } else {
            tracing::info!(http.status = status.as_u16(), duration_ms, "answered a request");
        }
    });
    response
}

/// A method that is none of ours is not a label of its own: anybody may invent some.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

fn written_out(mut response: Response, trace_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    telemetry::refused(problem.code);
    let mut written = problem.render(trace_id);
    // Such as `Allow` of a 405.
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            written.headers_mut().insert(name, value.clone());
        }
    }
    written
}
