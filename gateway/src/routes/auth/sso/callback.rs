//! `GET /auth/sso/callback` (FR-AUTH-003, FR-AUTH-001)

use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::{cookie, parameter, ticket};
use crate::extract::Write;
use crate::problem::Problem;
use crate::sign_in::SessionTokens;
use crate::sign_in::sso::sign_in;
use crate::tickets::no_ticket;

/// Sign in by a tenant's provider
///
/// Where the provider sends the browser back to. The session is good for the provider's tenant alone, and looks after nothing
/// that is the person's in all tenants (ERR-AUTH-403 `sso_session`). Another browser than the one that began, one that took
/// longer than ten minutes, and an answer that was used are ERR-AUTH-401 `invalid_token`; if the provider says that nobody
/// signed in, `sso_denied`; whoever it vouches for and is not let in hears `invalid_credentials`, whatever it is for. A
/// person with a second factor is asked for it (ERR-AUTH-461), unless the tenant trusts its provider to have done so.
#[utoipa::path(
    get,
    path = "/auth/sso/callback",
    tag = "authentication",
    params(
        ("state" = String, Query, description = "What the browser was sent with"),
        ("code" = Option<String>, Query, description = "What the provider gives for the sign-in"),
        ("iss" = Option<String>, Query, description = "Who gives it (RFC 9207)"),
        ("error" = Option<String>, Query, description = "Why it gives nothing"),
    ),
    responses((status = OK, description = "A session began.", body = SessionTokens)),
)]
pub async fn callback(
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    mut write: Write,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let app = write.app.clone();
    let state = parameter(&query, "state")?.ok_or_else(no_ticket)?;
    let asked =
        ticket(&app, &headers).and_then(|text| app.sign_in.tickets.read_sso_sign_in(text, write.now()));
    let asked = asked.filter(|asked| asked.is_answered_by(&state)).ok_or_else(no_ticket)?;
    let issuer = parameter(&query, "iss")?;
    let answer = match (parameter(&query, "error")?, parameter(&query, "code")?) {
        (None, Some(code)) => sign_in(&mut write, &asked, code, issuer.as_deref()).await,
        _ => Err(Problem::unauthenticated("sso_denied")),
    };
    // Whatever became of it, the browser begins anew.
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(header::SET_COOKIE, cookie(&app, None)?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
