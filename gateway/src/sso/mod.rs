//! Single sign-on: tenants' own OpenID providers (FR-AUTH-003, ADR-AUTH-008).

mod exchange;
mod outgoing;
mod provider;

pub use exchange::{Known, Unvouched, Vouched, Wanted};
pub use outgoing::{Outgoing, PrivateNetworks};
pub use provider::{Found, Providers, SsoProblem};

use crate::state::App;

/// Where providers send people back to, with what they are to sign in by.
pub const CALLBACK: &str = "/auth/sso/callback";

/// The same, as providers have to know it.
pub fn redirect_uri(app: &App) -> String {
    format!("{}{CALLBACK}", app.keys.tokens.issuer())
}
