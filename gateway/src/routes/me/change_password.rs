//! `PUT /api/v1/users/me/password` (FR-AUTH-004)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::passwords::Password;
use crate::problem::Problem;
use crate::sign_in::{self, may_try, new_password, settle};
use crate::slowdown::Outcome;

/// The former password and the next.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangePassword, example = json!({
    "current_password": "correct horse battery staple", "password": "another battery horse entirely"
}))]
pub struct Change {
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024)]
    current_password: Password,
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024)]
    password: Password,
}

/// Change the password
///
/// All sessions end, this one too: sign in again with the new one. A wrong current one is ERR-VAL-422
/// `current_password_wrong`, and slows further guesses down (ERR-RATE-429 `slow_down`).
#[utoipa::path(
    put,
    path = "/api/v1/users/me/password",
    tag = "me",
    request_body = Change,
    responses((status = NO_CONTENT, description = "The password is another one.")),
)]
pub async fn change_password(write: Write<Change>) -> Result<StatusCode, Problem> {
    let (person, session) = write.caller.signed_in()?;
    let app = write.app.clone();
    let known = sign_in::by_id(&app, person).await?.ok_or_else(Problem::not_found)?;
    let email = known.state.email.reveal().ok_or_else(Problem::not_found)?;
    // On the ladder of the device that is signed in: what strangers try at the account is no reason to wait.
    let device = known.state.sign_in.sessions.get(&session).map(|session| session.device);
    let pass = may_try(&write, app.sign_in.tickets.account(email), device)?;
    let verified = sign_in::verify(&app, &write.body.current_password, Some(&known)).await;
    let outcome = match &verified {
        Ok(Some(_)) => Outcome::Succeeded,
        Ok(None) => Outcome::Failed,
        Err(_) => Outcome::NotTried,
    };
    settle(&write, pass, outcome, Some(person));
    let (former, _) = verified?.ok_or_else(|| Problem::rule("current_password_wrong"))?;
    let hash = new_password(&app, &write.body.password, &known, None).await?;
    write.dispatch::<User>(person.0, UserCommand::ChangePassword { former, hash }).await?;
    Ok(StatusCode::NO_CONTENT)
}
