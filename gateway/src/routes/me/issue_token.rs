//! `POST /api/v1/users/me/tokens`: the secret is shown once and stored hashed.

use std::collections::BTreeSet;

use aggregates::user::{self, TOKEN_DAYS, User, UserCommand};
use axum::response::Response;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use kernel::TokenId;
use schemas::values::{Permission, TokenName};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::personal_token::PersonalToken;
use crate::problem::Problem;
use crate::sign_in;
use crate::view::IssuedTokenView;

/// A token as it is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IssuePersonalToken, example = json!({"name": "Nightly export", "permissions": ["users:read"]}))]
pub struct Issue {
    /// What the caller knows it by.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    name: TokenName,
    /// What it may be used for, as `resource:action` or with wildcards: at least one, at most 50. It does no more than the
    /// caller may, too.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 50)]
    permissions: BTreeSet<Permission>,
    /// At most 366 days from now. Left out: 90 days from now.
    expires_at: Option<DateTime<Utc>>,
}

/// Issue an access token for the caller's scripts
///
/// For the tenant that the session, or `x-org`, is about, and no other. A person has at most 50 tokens that go on (ERR-VAL-422
/// `too_many_tokens`). A retry with the same `Idempotency-Key` shows the same secret for ten minutes, and no secret later.
/// Wants a fresh authentication.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/tokens",
    tag = "me",
    request_body = Issue,
    responses((status = CREATED, description = "It is issued.", body = IssuedTokenView)),
)]
pub async fn issue_token(write: Write<Issue>) -> Result<Response, Problem> {
    let (person, session) = write.caller.signed_in()?;
    let tenant = write.caller.tenant.ok_or_else(|| Problem::forbidden("wrong_org"))?;
    let id = TokenId(write.new_id("token"));
    let token = PersonalToken::new(id, &*write.new_secret(id.0)?);
    let (Issue { name, permissions, expires_at }, now) = (&write.body, write.now());
    // To the microsecond, as times are kept everywhere.
    let expires_at = expires_at.unwrap_or_else(|| now + TimeDelta::days(TOKEN_DAYS)).trunc_subsecs(6);
    let command = UserCommand::IssueToken(Box::new(user::IssueToken {
        token: id,
        tenant,
        name: name.clone(),
        permissions: permissions.clone(),
        hash: token.hash(),
        second_factor: write.caller.second_factor(),
        by: session,
        now: now.trunc_subsecs(6),
        expires_at,
    }));
    let receipt = write.dispatch::<User>(person.0, command).await?;
    // As it was issued: a retry would count its days from another moment.
    let known = sign_in::by_id(&write.app, person).await?.ok_or_else(Problem::not_found)?;
    let issued = known.state.tokens.get(id).ok_or_else(|| Problem::conflict("token_ended"))?;
    let shown = write.may_show_secret(&receipt).then(|| token.reveal());
    let view = IssuedTokenView::of(id, issued, shown.as_ref().map(|shown| shown.as_str()));
    let location = format!("/api/v1/users/me/tokens/{id}");
    let mut response = write.created(&location, &receipt, &view);
    crate::view::never_stored(&mut response);
    Ok(response)
}
