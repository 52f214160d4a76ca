//! `GET /auth/sso/{id}/start` (FR-AUTH-003)

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kernel::SsoProviderId;
use schemas::values::EmailAddress;
use uuid::Uuid;

use super::{cookie, parameter};
use crate::extract::{Path, Read};
use crate::keys::random;
use crate::problem::Problem;
use crate::sign_in::sso::configured;
use crate::sso::{Known, Wanted, redirect_uri};

/// Begin to sign in by a tenant's provider
///
/// Sends the browser there, with a cookie by which it is known again when it comes back, within ten minutes. With
/// `fresh=true` the provider is asked to have them prove anew who they are: what wants a fresh authentication goes by what
/// the provider says of when that was (`auth_time`).
#[utoipa::path(
    get,
    path = "/auth/sso/{id}/start",
    tag = "authentication",
    params(
        ("id" = Uuid, Path, description = "The provider"),
        ("login_hint" = Option<String>, Query, description = "An address, for the provider's form"),
        ("fresh" = Option<bool>, Query, description = "They are to prove anew who they are"),
    ),
    responses((status = SEE_OTHER, description = "To the provider.")),
)]
pub async fn start(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let provider = SsoProviderId(id);
    let malformed = |_| Problem::parameter("login_hint", "must look like name@example.org");
    let hint =
        parameter(&read.query, "login_hint")?.map(|text| text.parse::<EmailAddress>().map_err(malformed));
    let login_hint = hint.transpose()?.map(|email| email.as_str().to_owned());
    let fresh = match parameter(&read.query, "fresh")?.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::parameter("fresh", "is true or false")),
    };
    let app = &read.app;
    let of = configured(app, provider).await?.ok_or_else(Problem::not_found)?;
    let known = Known::of(&of.provider).ok_or_else(Problem::not_found)?;
    let nonce = random::<16>().map_err(|_| Problem::unexpected())?;
    let (asked, ticket) = app.sign_in.tickets.sso_sign_in(provider, *nonce, read.now());
    let wanted = Wanted { login_hint, fresh };
    let to = app.sign_in.sso.sign_in_at(known, redirect_uri(app), &asked, wanted, read.now()).await;
    let to = to.map_err(|_| Problem::unavailable("sso_unreachable"))?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    let location = HeaderValue::try_from(to.as_str()).map_err(|_| Problem::unexpected())?;
    headers.insert(header::LOCATION, location);
    headers.insert(header::SET_COOKIE, cookie(app, Some(&ticket))?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
