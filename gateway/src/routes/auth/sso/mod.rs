//! Signing in by a tenant's own OpenID provider.

pub mod callback;
pub mod discover;
pub mod start;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::problem::Problem;
use crate::state::App;
use crate::tickets::SSO_TTL;

/// What keeps the browser's ticket. With TLS its prefix has the browser refuse whatever another host of the same domain
/// sets under this name (RFC 6265bis §4.1.3.2).
fn cookie_name(app: &App) -> &'static str {
    if app.keys.tokens.issuer().starts_with("https://") { "__Host-tenantry_sso" } else { "tenantry_sso" }
}

/// Sets the cookie, or takes it away. `Lax`: it comes back from the provider's pages, and with nothing that a page of
/// somebody else's sends by itself.
fn cookie(app: &App, ticket: Option<&str>) -> Result<HeaderValue, Problem> {
    let name = cookie_name(app);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let age_s = ticket.map_or(0, |_| SSO_TTL.num_seconds());
    let ticket = ticket.unwrap_or_default();
    let text = format!("{name}={ticket}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).map_err(|_| Problem::unexpected())
}

/// The browser's ticket. `None`: it has none, or several, so that nobody knows which is ours.
fn ticket<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(app);
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    ours.next().filter(|_| ours.next().is_none())
}

/// A parameter of a query, decoded.
///
/// # Errors
/// ERR-VAL-400: it is there twice (RFC 6749 §3.1).
fn parameter(query: &str, name: &'static str) -> Result<Option<String>, Problem> {
    let mut all = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    match (all.next(), all.next()) {
        (_, Some(_)) => Err(Problem::parameter(name, "is given twice")),
        (found, None) => Ok(found.map(|(_, value)| value.into_owned())),
    }
}
