//! `POST /api/v1/users/me/passkeys/options` (NFR-SEC-003)

use axum::response::Response;
use kernel::Personal;
use serde_json::Value;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::keys::random;
use crate::passkeys::{may_add, relying_party};
use crate::problem::Problem;
use crate::sign_in;
use crate::tickets::PASSKEY_TTL;
use crate::view::audience::THEMSELF;
use crate::view::fields::fields;

/// What an authenticator is asked for.
#[derive(ToSchema)]
#[schema(as = OfferedPasskey, example = json!({
    "ticket": "AZLwwWoAcACAAAAAAAAAAg", "expires_in": 300, "options": {
        "rp": {"id": "app.example", "name": "Tenantry"},
        "user": {"id": "AY9rHow6fVKaTz8fDJ0rEg", "name": "ann@acme.example", "displayName": "Ann Sato"},
        "challenge": "TuB1cmFuZG9tbHkgY2hvc2VuIGJ5IHRoZSBzZXJ2ZXI",
        "pubKeyCredParams": [{"type": "public-key", "alg": -7}], "excludeCredentials": [], "attestation": "none",
        "authenticatorSelection": {"residentKey": "preferred", "userVerification": "required"}
    }
}))]
pub struct Offered {
    /// For the answer, within five minutes.
    pub ticket: String,
    /// How long the answer may take, in seconds.
    pub expires_in: i64,
    /// `PublicKeyCredentialCreationOptionsJSON` (WebAuthn Level 3, §5.1.8): for
    /// `PublicKeyCredential.parseCreationOptionsFromJSON` and `navigator.credentials.create`.
    #[schema(value_type = Object)]
    pub options: Value,
}

fields! { Offered {
    ticket: THEMSELF,
    expires_in: THEMSELF,
    options: THEMSELF,
} }

/// Begin to add a passkey
///
/// Nothing changes until the authenticator's answer is sent to `POST /api/v1/users/me/passkeys`. Wants a fresh
/// authentication, with the second factor if there is one. Where the deployment's URL is none that browsers have passkeys
/// for the answer is ERR-VAL-422 `passkeys_unavailable`.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/passkeys/options",
    tag = "me",
    responses((status = OK, description = "What the browser is to ask the authenticator for.", body = Offered)),
)]
pub async fn offer_passkey(write: Write) -> Result<Response, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let app = &write.app;
    let party = relying_party(app)?;
    let known = sign_in::by_id(app, person).await?.ok_or_else(Problem::not_found)?;
    may_add(&write, &known)?;
    let email = known.state.email.reveal().ok_or_else(Problem::not_found)?.as_str();
    let names = [&known.state.first_name, &known.state.last_name];
    let names: Vec<_> =
        names.into_iter().flatten().filter_map(Personal::reveal).map(|it| it.as_str()).collect();
    let display_name = if names.is_empty() { email.to_owned() } else { names.join(" ") };
    let nonce = random::<16>().map_err(|_| Problem::unexpected())?;
    let (asked, ticket) = app.sign_in.tickets.passkey_enrolment(person, *nonce, write.now());
    let options =
        party.creation_options(person, (email, &display_name), &known.state.sign_in.passkeys, &asked);
    let options = options.ok_or_else(Problem::unexpected)?;
    let expires_in = PASSKEY_TTL.num_seconds();
    Ok(write.show(&Offered { ticket: ticket.to_string(), expires_in, options }))
}
