//! `POST /auth/login/mfa` (NFR-SEC-003)

use aggregates::user::{Checked, SecondFactor};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use webauthn_rs::prelude::PublicKeyCredential;

use crate::extract::Write;
use crate::passkeys;
use crate::problem::Problem;
use crate::sign_in::{
    self, Begin, Begun, SessionTokens, begin, invalid_credentials, may_try, settle, sso, tenant_of_session,
};
use crate::slowdown::Outcome;
use crate::tickets::{Challenge, no_ticket};

/// The second factor after the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ShowSecondFactor, example = json!({"challenge": "AZLwwWoAcACAAAAAAAAAAg", "code": "287082"}))]
pub struct Show {
    /// What ERR-AUTH-461 said; good for five minutes, with a mailed code for ten.
    challenge: String,
    /// The six digits that the authenticator shows. One of these four.
    code: Option<String>,
    /// One of those that were shown once; it is used up.
    recovery_code: Option<String>,
    /// The eight digits that were mailed, where `methods` said so. No second factor: what asks for one goes on asking.
    email_code: Option<String>,
    /// `AuthenticationResponseJSON` (WebAuthn Level 3, §5.1.8): what a passkey answered to the options that ERR-AUTH-461
    /// said as `passkey`.
    #[schema(value_type = Option<Object>)]
    passkey: Option<PublicKeyCredential>,
}

/// What is shown, before it is looked at.
enum Given {
    Factor(SecondFactor),
    Passkey(Box<PublicKeyCredential>),
}

/// Sign in with the second factor
///
/// A code is accepted once, and so is a passkey's answer. Wrong ones slow further ones down (ERR-RATE-429 `slow_down`).
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
    let body = &mut write.body;
    let Show { code, recovery_code, email_code, passkey, .. } = body;
    let given = match (code.take(), recovery_code.take(), email_code.take(), passkey.take()) {
        (Some(code), None, None, None) => Given::Factor(SecondFactor::Totp(code)),
        (None, Some(code), None, None) => {
            Given::Factor(SecondFactor::RecoveryCode(tickets.recovery_hash(person, &code)))
        }
        (None, None, Some(code), None) => {
            let challenge = challenge.mailed.ok_or_else(no_ticket)?;
            let hash = app.sign_in.links.login_code_hash(person, challenge, &code);
            Given::Factor(SecondFactor::MailedCode { challenge, hash })
        }
        (None, None, None, Some(answer)) => Given::Passkey(Box::new(answer)),
        _ => {
            return Err(Problem::field(
                "/code",
                "give a code, a recovery code, a mailed code or a passkey's answer, and one only",
            ));
        }
    };
    let known_device = Some(challenge.device).filter(|_| challenge.known_device);
    let pass = may_try(&write, tickets.second_factor_account(person), known_device)?;
    let begun = show(&mut write, &challenge, given).await;
    let outcome = match &begun {
        Ok(Begun::Session(_)) => Outcome::Succeeded,
        Ok(Begun::SecondFactorWrong) => Outcome::Failed,
        // The code was not looked at.
        Ok(Begun::SecondFactorRequired | Begun::MailedCodeRequired | Begun::Refused) | Err(_) => {
            Outcome::NotTried
        }
    };
    settle(&write, pass, outcome, Some(person));
    match begun? {
        Begun::Session(response) => Ok(*response),
        Begun::SecondFactorWrong => Err(invalid_credentials()),
        Begun::SecondFactorRequired | Begun::MailedCodeRequired | Begun::Refused => Err(no_ticket()),
    }
}

async fn show(write: &mut Write<Show>, challenge: &Challenge, given: Given) -> Result<Begun, Problem> {
    let (app, person) = (write.app.clone(), challenge.person);
    write.concerns("user", person);
    let known = sign_in::by_id(&app, person).await?;
    let Some(known) = &known else { return Ok(Begun::Refused) };
    let checked = known.hash().filter(|hash| challenge.is_about(hash));
    let may = !known.state.disabled && !known.state.forgotten;
    if !may || (checked.is_none() && challenge.sso.is_none()) {
        return Ok(Begun::Refused);
    }
    let Some(email) = known.state.email.reveal() else { return Ok(Begun::Refused) };
    let shown = match given {
        Given::Factor(shown) => Some(shown),
        Given::Passkey(answer) => {
            passkeys::second_factor(&app, challenge, known, &answer).map(SecondFactor::Passkey)
        }
    };
    let Some(shown) = shown else { return Ok(Begun::SecondFactorWrong) };
    let wish = match (&challenge.sso, checked) {
        (Some(proof), _) => {
            // Meanwhile they may have left, or the provider may be gone.
            let Some(wish) = sso::begun_by(&app, proof, known, false).await? else {
                return Ok(Begun::Refused);
            };
            Begin { device: challenge.device, second_factor: Some(shown), ..wish }
        }
        (None, Some(checked)) => Begin {
            person,
            // Meanwhile they may have left it.
            tenant: tenant_of_session(&app, person, challenge.tenant)?,
            checked: Checked::Password(checked.clone()),
            device: challenge.device,
            second_factor: Some(shown),
            sso: None,
        },
        (None, None) => return Ok(Begun::Refused),
    };
    begin(write, wish, &app.sign_in.tickets.account(email)).await
}
