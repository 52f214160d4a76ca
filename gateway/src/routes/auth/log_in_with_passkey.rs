//! `POST /auth/passkeys/login` (FR-AUTH-001, NFR-SEC-003)

use aggregates::user::Checked;
use axum::response::Response;
use kernel::{PersonId, TenantId};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use webauthn_rs::prelude::PublicKeyCredential;

use crate::extract::Write;
use crate::passkeys::{relying_party, said_person};
use crate::problem::Problem;
use crate::sign_in::{
    self, Begin, Begun, Known, SessionTokens, begin, invalid_credentials, may_try, settle, tenant_of_session,
};
use crate::slowdown::Outcome;
use crate::tickets::{Asked, no_ticket};

/// What the authenticator answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogInWithPasskey, example = json!({
    "ticket": "AZLwwWoAcACAAAAAAAAAAg", "credential": {
        "id": "VD-k4AUT6FLUNmROa7OAiA", "rawId": "VD-k4AUT6FLUNmROa7OAiA", "type": "public-key",
        "response": {
            "clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA",
            "userHandle": "AY9rHow6fVKaTz8fDJ0rEg"
        },
        "clientExtensionResults": {}
    }
}))]
pub struct LogIn {
    /// What came with the options.
    ticket: String,
    /// `AuthenticationResponseJSON` (WebAuthn Level 3, §5.1.8): what `PublicKeyCredential.toJSON` says.
    #[schema(value_type = Object)]
    credential: PublicKeyCredential,
    /// The tenant that the session is for. Left out: the person's only one; whoever belongs to several gets a session that
    /// is good for all of them, and picks one for each request by `x-org`.
    tenant: Option<Uuid>,
    /// What an earlier login on this device answered as `device`.
    device: Option<String>,
}

/// Sign in with a passkey
///
/// Without address and password; it counts as a second factor shown. A challenge is answered once. Unknown passkey, wrong
/// signature and disabled person have one answer. Failures slow further attempts down (ERR-RATE-429 `slow_down`).
#[utoipa::path(
    post,
    path = "/auth/passkeys/login",
    tag = "authentication",
    request_body = LogIn,
    responses((status = OK, description = "A session began.", body = SessionTokens)),
)]
pub async fn log_in_with_passkey(mut write: Write<LogIn>) -> Result<Response, Problem> {
    let app = write.app.clone();
    let tickets = &app.sign_in.tickets;
    relying_party(&app)?;
    let asked = tickets.read_passkey_sign_in(&write.body.ticket, write.now()).ok_or_else(no_ticket)?;
    // Who says nothing is nobody, like whoever says somebody who isn't there.
    let person = said_person(&write.body.credential).unwrap_or_else(|| PersonId(app.ids.fresh()));
    let found = sign_in::by_id(&app, person).await?;
    let account = found.as_ref().and_then(|known| known.state.email.reveal()).map(|it| tickets.account(it));
    let shown_device = account.zip(write.body.device.as_deref());
    let device = shown_device.and_then(|(account, text)| tickets.read_device(&account, text));
    let device = device.filter(|device| found.as_ref().is_some_and(|known| known.has(*device)));
    let pass = may_try(&write, tickets.passkey_account(person), device)?;
    let begun = match (&found, account) {
        (Some(known), Some(account)) => {
            write.concerns("user", person);
            sign_in_with(&mut write, known, &asked, device, &account).await
        }
        _ => Ok(Begun::Refused),
    };
    let outcome = match &begun {
        Ok(Begun::Session(_)) => Outcome::Succeeded,
        Ok(_) => Outcome::Failed,
        Err(_) => Outcome::NotTried,
    };
    settle(&write, pass, outcome, found.map(|known| known.person));
    match begun? {
        Begun::Session(response) => Ok(*response),
        // A passkey is asked for nothing more.
        Begun::Refused
        | Begun::SecondFactorWrong
        | Begun::SecondFactorRequired
        | Begun::MailedCodeRequired => Err(invalid_credentials()),
    }
}

async fn sign_in_with(
    write: &mut Write<LogIn>,
    known: &Known,
    asked: &Asked,
    device: Option<Uuid>,
    account: &[u8; 32],
) -> Result<Begun, Problem> {
    let (app, person) = (write.app.clone(), known.person);
    let of = (person, &known.state.sign_in.passkeys);
    let assertion = relying_party(&app)?.verify(of, asked, &write.body.credential);
    let may = !known.state.disabled && !known.state.forgotten;
    let Some(assertion) = assertion.filter(|_| may) else { return Ok(Begun::Refused) };
    let wish = Begin {
        person,
        // Only now is anything said of where they belong.
        tenant: tenant_of_session(&app, person, write.body.tenant.map(TenantId))?,
        checked: Checked::Passkey(assertion),
        device: device.unwrap_or_else(|| app.ids.fresh()),
        second_factor: None,
        sso: None,
    };
    begin(write, wish, account).await
}
