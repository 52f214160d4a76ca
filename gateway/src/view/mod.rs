//! What answers look like: a struct for each thing, made of a read model's row. What a role may
//! not see is not in it, as its [declaration](fields) says.

mod application;
pub mod audience;
mod audit;
pub mod declared;
mod explanation;
pub mod fields;
mod flag;
mod invitation;
mod job;
mod passkey;
mod policy;
mod profile;
mod role;
mod security;
mod session;
mod sso;
mod tenant;
mod token;
mod user;
pub mod words;

pub use application::{ApplicationView, IssuedKeyView, KeyView, RotatedKeyView};
pub use audit::AuditView;
pub use explanation::{ActorView, AsOfView, EventView, ExplanationView, FactView, HeardView, ReasonView};
pub use flag::FlagView;
pub use invitation::InvitationView;
pub use job::JobView;
pub use passkey::{PasskeyList, PasskeyView};
pub use policy::PolicyView;
pub use profile::ProfileView;
pub use role::{GrantsView, RoleView};
pub use security::{PasswordPolicyView, SecurityView};
pub use session::{SessionList, SessionView};
pub use sso::{SsoProviderList, SsoProviderView, VerifiedSsoView};
pub use tenant::{OwnTenantView, TenantView};
pub use token::{IssuedTokenView, TokenList, TokenView};
pub use user::{MembershipView, UserMembership, UserView};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use self::fields::Shown;
use crate::extract::{Read, etag, is_current};

/// One thing, with its `ETag`; 304 if the caller has it already.
pub fn shown(read: &Read, sequence: i64, view: &impl Shown) -> Response {
    let tag = etag(sequence.unsigned_abs());
    let current = tag.to_str().is_ok_and(|tag| is_current(&read.headers, tag));
    let mut response = if current { StatusCode::NOT_MODIFIED.into_response() } else { read.show(view) };
    response.headers_mut().insert(header::ETAG, tag);
    // Permissions change: whoever keeps it asks again before using it.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    // The same URL is another tenant's, or another person's, for others.
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("authorization, x-org"));
    response
}

/// One thing with the `ETag` that `If-Match` is compared with, where the answer tells of more than that: never 304.
pub fn tagged(read: &Read, sequence: i64, view: &impl Shown) -> Response {
    let mut response = read.show(view);
    response.headers_mut().insert(header::ETAG, etag(sequence.unsigned_abs()));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For answers that hold a secret: nobody on the way keeps them.
pub fn never_stored(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
