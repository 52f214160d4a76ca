//! `POST /auth/login/mfa` (NFR-SEC-003)

use aggregates::user::SecondFactor;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::problem::Problem;
use crate::sign_in::{
    self, Begin, Begun, SessionTokens, begin, invalid_credentials, may_try, settle, tenant_of_session,
};
use crate::slowdown::Outcome;
use crate::tickets::{Challenge, no_ticket};

/// The second factor after the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ShowSecondFactor, example = json!({"challenge": "AZLwwWoAcACAAAAAAAAAAg", "code": "287082"}))]
pub struct Show {
    /// What ERR-AUTH-461 said; good for five minutes.
    challenge: String,
    /// The six digits that the authenticator shows. This, or a recovery code.
    code: Option<String>,
    /// One of those that were shown once; it is used up.
    recovery_code: Option<String>,
}

/// Sign in with the second factor
///
/// A code is accepted once. Wrong codes slow further ones down (ERR-RATE-429 `slow_down`).
#[utoipa::path(
    post,
    path = "/auth/login/mfa",
    tag = "authentication",
    request_body = Show,
    responses((status = OK, description = "A session began.", body = SessionTokens)),
)]
pub async fn second_factor(mut write: Write<Show>) -> Result<Response, Problem> {
    let app = write.app.clone();
    let tickets = &app.sign_in.tickets;
    let challenge = tickets.read_challenge(&write.body.challenge, write.now()).ok_or_else(no_ticket)?;
    let person = challenge.person;
    let shown = match (write.body.code.take(), write.body.recovery_code.take()) {
        (Some(code), None) => SecondFactor::Totp(code),
        (None, Some(code)) => SecondFactor::RecoveryCode(tickets.recovery_hash(person, &code)),
        _ => return Err(Problem::field("/code", "give a code or a recovery code, and not both")),
    };
    let known_device = Some(challenge.device).filter(|_| challenge.known_device);
    let pass = may_try(&write, tickets.second_factor_account(person), known_device)?;
    let begun = show(&mut write, &challenge, shown).await;
    let outcome = match &begun {
        Ok(Begun::Session(_)) => Outcome::Succeeded,
        Ok(Begun::SecondFactorWrong) => Outcome::Failed,
        // The code was not looked at.
        Ok(Begun::SecondFactorRequired | Begun::Refused) | Err(_) => Outcome::NotTried,
    };
    settle(&write, pass, outcome, Some(person));
    match begun? {
        Begun::Session(response) => Ok(*response),
        Begun::SecondFactorWrong => Err(invalid_credentials()),
        Begun::SecondFactorRequired | Begun::Refused => Err(no_ticket()),
    }
}

async fn show(write: &mut Write<Show>, challenge: &Challenge, shown: SecondFactor) -> Result<Begun, Problem> {
    let (app, person) = (write.app.clone(), challenge.person);
    write.concerns("user", person);
    let known = sign_in::by_id(&app, person).await?;
    let checked = known.as_ref().and_then(|known| known.hash()).filter(|hash| challenge.is_about(hash));
    let (Some(known), Some(checked)) = (&known, checked) else { return Ok(Begun::Refused) };
    let Some(email) = known.state.email.reveal() else { return Ok(Begun::Refused) };
    let wish = Begin {
        person,
        // Meanwhile they may have left it.
        tenant: tenant_of_session(&app, person, challenge.tenant)?,
        checked: checked.clone(),
        device: challenge.device,
        second_factor: Some(shown),
    };
    begin(write, wish, &app.sign_in.tickets.account(email)).await
}
