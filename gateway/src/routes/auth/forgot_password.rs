//! `POST /auth/password/forgot` (FR-AUTH-004, UC-AUTH-RESET)

use aggregates::user::{User, UserCommand};
use axum::http::StatusCode;
use chrono::{SubsecRound, TimeDelta};
use engine::command::CommandContext;
use schemas::values::EmailAddress;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::problem::Problem;
use crate::sign_in::{self, room_beside};

/// How long a link can be used.
const LINK_TTL: TimeDelta = TimeDelta::hours(1);

/// Whose password was forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForgotPassword, example = json!({"email": "ann@acme.example"}))]
pub struct Forgot {
    #[schema(value_type = String, format = Email, max_length = 254)]
    email: EmailAddress,
}

/// Ask for a link to choose another password
///
/// The answer is the same whether there is such a person or not, and nothing is done before it. A link is good for an hour,
/// until the password is another one; whoever asks very often gets no further mails for a while.
#[utoipa::path(
    post,
    path = "/auth/password/forgot",
    tag = "authentication",
    request_body = Forgot,
    responses((status = ACCEPTED, description = "If there is such a person, a mail is on its way.")),
)]
pub async fn forgot_password(write: Write<Forgot>) -> Result<StatusCode, Problem> {
    // Nothing is told of it: every request counts. Whoever asks too often hears the same, and nothing is mailed.
    let account = write.app.sign_in.tickets.account(&write.body.email);
    let Some(room) = room_beside(&write, account) else { return Ok(StatusCode::ACCEPTED) };
    let (app, email, now) = (write.app.clone(), write.body.email.clone(), write.now());
    let context = CommandContext::new(write.metadata());
    tokio::spawn(async move {
        let _room = room;
        let Ok(Some(known)) = sign_in::by_address(&app, &email).await else { return };
        if known.state.disabled || known.state.forgotten {
            return;
        }
        // As the journal counts.
        let expires_at = (now + LINK_TTL).trunc_subsecs(6);
        let token_hash = app.sign_in.links.password_reset(known.person, expires_at).hash();
        let command = UserCommand::RequestPasswordReset { token_hash, expires_at };
        if let Err(error) = app.engine.dispatch::<User>(known.person.0, command, context).await {
            tracing::warn!(%error, "a link to choose another password was not made: it has to be asked for again");
        }
    });
    Ok(StatusCode::ACCEPTED)
}
