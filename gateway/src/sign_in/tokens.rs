//! What a session is held by: an access token and a refresh token.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use kernel::Position;
use schemas::values::Role;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::problem::Problem;
use crate::state::App;
use crate::tickets::RefreshToken;
use crate::token::{Grant, TTL_MAX};
use crate::view::audience::{EVERYONE, STRANGER};
use crate::view::fields::{body, fields, given};

/// What signing in and refreshing answer.
#[derive(ToSchema)]
#[schema(as = SessionTokens, example = json!({
    "access_token": "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln", "token_type": "Bearer", "expires_in": 900,
    "refresh_token": "tr_AZLwwWoAcACAAAAAAAAAAg", "refresh_expires_at": "2027-01-08T09:00:00Z",
    "session": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b17", "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11",
    "device": "AZLwwWoAcACAAAAAAAAAYQ"
}))]
pub struct SessionTokens {
    /// A JWT; see `GET /.well-known/jwks.json`.
    pub access_token: String,
    #[schema(example = "Bearer")]
    pub token_type: &'static str,
    /// How long the access token lives, in seconds.
    pub expires_in: u64,
    /// To be used once, at `POST /auth/refresh`.
    pub refresh_token: String,
    /// Unless it is refreshed before.
    pub refresh_expires_at: DateTime<Utc>,
    pub session: Uuid,
    /// `null`: the session is good for all tenants of the person's; `x-org` picks one for each request.
    pub tenant: Option<Uuid>,
    /// For the next login on this device: whoever shows it is not slowed down by what strangers try. Only after a login.
    pub device: Option<String>,
}

fields! { SessionTokens {
    // Secrets: whoever signs in or refreshes comes without credentials.
    access_token: STRANGER,
    token_type: EVERYONE,
    expires_in: EVERYONE,
    refresh_token: STRANGER,
    refresh_expires_at: EVERYONE,
    session: EVERYONE,
    tenant: EVERYONE,
    device if given: STRANGER,
} }

/// Signs an access token beside a refresh token.
///
/// # Errors
/// ERR-SYS-500: it can't be signed.
pub fn issue(
    app: &App,
    refresh: &RefreshToken,
    role: Option<Role>,
    device: Option<Zeroizing<String>>,
    now: DateTime<Utc>,
) -> Result<Response, Problem> {
    let grant = Grant {
        subject: refresh.person.to_string(),
        session: refresh.session.0,
        token_id: app.ids.fresh(),
        tenant: refresh.tenant,
        role,
        scopes: Vec::new(),
        began_at: refresh.began_at,
        authenticated_at: refresh.authenticated_at,
        methods: refresh.shown.methods().iter().map(|method| (*method).to_owned()).collect(),
        // It does not outlive its session.
        ttl: (refresh.expires_at(now) - now).to_std().unwrap_or_default().min(TTL_MAX),
    };
    let expires_in = grant.ttl.as_secs();
    let (access_token, _) = app.keys.tokens.sign(grant, now).map_err(|error| {
        tracing::error!(%error, "no token can be signed");
        Problem::unexpected()
    })?;
    let tokens = SessionTokens {
        access_token,
        token_type: "Bearer",
        expires_in,
        refresh_token: app.sign_in.tickets.refresh_text(refresh).to_string(),
        refresh_expires_at: refresh.expires_at(now),
        session: refresh.session.0,
        tenant: refresh.tenant.map(|tenant| tenant.0),
        device: device.map(|device| device.to_string()),
    };
    let mut response = body(STRANGER, &tokens);
    // RFC 6749 §5.1
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// True if nothing has ended a session that began somewhere: neither the person, nor the tenant, nor the membership.
///
/// # Errors
/// ERR-SYS-503
pub fn stands(app: &App, token: &RefreshToken) -> Result<bool, Problem> {
    let access = app.access.current(false)?;
    if !access.session_stands(token.person, token.session, token.began_at) {
        return Ok(false);
    }
    let Some(tenant) = token.tenant else { return Ok(true) };
    let after = |ended_at: Position| token.began_at >= ended_at;
    if token.shown.is_by_sso() && !after(access.sso_ended_at(tenant)) {
        return Ok(false);
    }
    let member = access.membership(tenant, token.person);
    Ok(access.tenant(tenant).is_some_and(|tenant| after(tenant.ended_at))
        && member.is_some_and(|member| {
            member.status == schemas::values::MembershipStatus::Active && after(member.ended_at)
        }))
}
