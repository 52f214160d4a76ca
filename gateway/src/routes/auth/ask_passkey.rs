//! `POST /auth/passkeys/options` (FR-AUTH-001, NFR-SEC-003)

use axum::response::Response;
use serde_json::Value;
use utoipa::ToSchema;

use crate::extract::Write;
use crate::keys::random;
use crate::passkeys::relying_party;
use crate::problem::Problem;
use crate::tickets::PASSKEY_TTL;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// What a passkey is asked to sign.
#[derive(ToSchema)]
#[schema(as = AskedPasskey, example = json!({
    "ticket": "AZLwwWoAcACAAAAAAAAAAg", "expires_in": 300, "options": {
        "challenge": "TuB1cmFuZG9tbHkgY2hvc2VuIGJ5IHRoZSBzZXJ2ZXI", "rpId": "app.example", "allowCredentials": [],
        "userVerification": "required"
    }
}))]
pub struct AskedPasskey {
    /// For the answer, within five minutes.
    pub ticket: String,
    /// How long the answer may take, in seconds.
    pub expires_in: i64,
    /// `PublicKeyCredentialRequestOptionsJSON` (WebAuthn Level 3, §5.1.8): for
    /// `PublicKeyCredential.parseRequestOptionsFromJSON` and `navigator.credentials.get`.
    #[schema(value_type = Object)]
    pub options: Value,
}

fields! { AskedPasskey {
    ticket: EVERYONE,
    expires_in: EVERYONE,
    options: EVERYONE,
} }

/// Begin to sign in with a passkey
///
/// The same for everybody: the authenticator finds by itself whose passkeys it has. Where the deployment's URL is none that
/// browsers have passkeys for the answer is ERR-VAL-422 `passkeys_unavailable`.
#[utoipa::path(
    post,
    path = "/auth/passkeys/options",
    tag = "authentication",
    responses((status = OK, description = "What the browser is to ask the authenticator for.", body = AskedPasskey)),
)]
pub async fn ask_passkey(write: Write) -> Result<Response, Problem> {
    let party = relying_party(&write.app)?;
    let nonce = random::<16>().map_err(|_| Problem::unexpected())?;
    let (asked, ticket) = write.app.sign_in.tickets.passkey_sign_in(*nonce, write.now());
    let options = party.request_options(None, &asked).ok_or_else(Problem::unexpected)?;
    let expires_in = PASSKEY_TTL.num_seconds();
    Ok(write.show(&AskedPasskey { ticket: ticket.to_string(), expires_in, options }))
}
