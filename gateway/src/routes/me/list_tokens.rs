//! `GET /api/v1/users/me/tokens`

use axum::response::Response;

use crate::extract::Read;
use crate::problem::Problem;
use crate::sign_in;
use crate::view::{TokenList, TokenView};

/// List the caller's access tokens
///
/// Those that go on, without their secrets, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/tokens",
    tag = "me",
    responses((status = OK, description = "The tokens.", body = TokenList)),
)]
pub async fn list_tokens(read: Read) -> Result<Response, Problem> {
    let (person, _) = read.caller.signed_in()?;
    let access = read.app.access.current(false)?;
    let known = sign_in::by_id(&read.app, person).await?.ok_or_else(Problem::not_found)?;
    let ended = |token| access.token_has_ended(token);
    Ok(read.show(&TokenView::list(&known.state.tokens, ended, read.now())))
}
