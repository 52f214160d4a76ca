//! `POST /auth/refresh` (FR-AUTH-005)

use aggregates::user::{User, UserCommand, UserRejection};
use axum::response::Response;
use engine::command::DispatchError;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::problem::Problem;
use crate::sign_in::{SessionTokens, act_as, issue, stands};
use crate::tickets::no_ticket;

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Refresh, example = json!({"refresh_token": "tr_AZLwwWoAcACAAAAAAAAAAg"}))]
pub struct Refresh {
    refresh_token: String,
}

/// Go on with a session
///
/// A refresh token is used once. For ten seconds it gets the same successor again, as answers get lost; after that whoever
/// uses it ends the session (ERR-AUTH-440), as somebody must have a copy.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    tag = "authentication",
    request_body = Refresh,
    responses((status = OK, description = "The session goes on.", body = SessionTokens)),
)]
pub async fn refresh(mut write: Write<Refresh>) -> Result<Response, Problem> {
    let app = write.app.clone();
    let token = app.sign_in.tickets.read_refresh(&write.body.refresh_token).ok_or_else(no_ticket)?;
    let (now, next) = (write.now(), app.sign_in.tickets.successor(&token));
    // What is over costs no look at the person.
    if next.expires_at(now) <= now || !stands(&app, &token)? {
        return Err(Problem::session_ended());
    }
    act_as(&mut write, token.person, token.tenant)?;
    let command = UserCommand::Refresh {
        session: token.session,
        presented: token.hash(),
        successor: next.hash(),
        now,
        expires_at: next.expires_at(now),
    };
    match write.try_dispatch::<User>(token.person.0, command).await {
        Ok(_) => issue(&app, &next, write.caller.role, None, now),
        Err(DispatchError::Rejected { rejection: UserRejection::TokenReused, .. }) => {
            let report = UserCommand::ReportReuse { session: token.session };
            write.dispatch::<User>(token.person.0, report).await?;
            Err(Problem::session_ended())
        }
        Err(DispatchError::Rejected { .. }) => {
            // Counted, like whatever strangers try: an old token must not fill the audit trail.
            write.concerns_nothing();
            Err(Problem::session_ended())
        }
        Err(error) => Err(error.into()),
    }
}
