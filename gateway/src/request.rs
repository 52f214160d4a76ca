//! What is known of a request before anybody asks who sent it.

use std::net::{IpAddr, SocketAddr};

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
    /// Where it comes from: what its origin says in words.
    pub address: Option<IpAddr>,
    pub origin: Origin,
}

/// Address and user agent.
pub fn origin(headers: &HeaderMap, address: Option<IpAddr>) -> Origin {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Origin {
        address: address.map(|address| address.to_string()),
        user_agent: agent.map(|agent| agent.chars().take(USER_AGENT_BYTES_MAX).collect()),
    }
}
