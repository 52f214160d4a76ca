//! What is known of a request before anybody asks who sent it.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use kernel::Origin;

use crate::trace::Trace;

/// The most of a `User-Agent` that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 200;

/// Where a connection comes from; the listeners put it beside each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Beside each request, put there by the outermost layer.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    pub trace: Trace,
    pub origin: Origin,
}

/// Address and user agent. A forwarding header is anybody's claim and is not believed (CC-SEC-001).
pub fn origin(headers: &HeaderMap, peer: Option<Peer>) -> Origin {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Origin {
        address: peer.map(|Peer(address)| address.ip().to_string()),
        user_agent: agent.map(|agent| agent.chars().take(USER_AGENT_BYTES_MAX).collect()),
    }
}
