//! `POST /auth/password/reset` (FR-AUTH-004, UC-AUTH-RESET)

use aggregates::user::{User, UserCommand, UserRejection};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::passwords::Password;
use crate::problem::Problem;
use crate::sign_in::{self, act_as, may_ask, new_password, was_right};

/// Another password, by the link that was mailed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResetPassword, example = json!({
    "token": "AZLwwWoAcACAAAAAAAAAAgAGZ", "password": "correct horse battery staple"
}))]
pub struct Reset {
    /// What the link says.
    token: String,
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024)]
    password: Password,
}

/// Choose another password by a mailed link
///
/// All sessions of the person's end. A link that was used, or that many others followed, is ERR-VAL-422 `link_invalid`; one
/// that is too old `link_expired`. Weak passwords slow further ones down.
#[utoipa::path(
    post,
    path = "/auth/password/reset",
    tag = "authentication",
    request_body = Reset,
    responses((status = NO_CONTENT, description = "The password is another one.")),
)]
pub async fn reset_password(mut write: Write<Reset>) -> Result<StatusCode, Problem> {
    let app = write.app.clone();
    let invalid = || Problem::rule("link_invalid");
    let opened = app.sign_in.links.open_password_reset(&write.body.token);
    let (opened, token_hash) = opened.ok_or_else(invalid)?;
    if opened.expires_at <= write.now() {
        return Err(Problem::rule("link_expired"));
    }
    let known = sign_in::by_id(&app, opened.of).await?.ok_or_else(invalid)?;
    // Before anything is hashed: a link that was used is worth no work.
    known.state.sign_in.may_reset(&token_hash, write.now()).map_err(|refused| match refused {
        UserRejection::LinkExpired { .. } => Problem::rule("link_expired"),
        _ => invalid(),
    })?;
    let pass = may_ask(&write, app.sign_in.tickets.link_account(known.person))?;
    act_as(&mut write, known.person, None)?;
    let hash = new_password(&app, &write.body.password, &known, None).await?;
    let command = UserCommand::ResetPassword { token_hash, hash, now: write.now() };
    write.dispatch::<User>(known.person.0, command).await?;
    was_right(&write, pass);
    Ok(StatusCode::NO_CONTENT)
}
