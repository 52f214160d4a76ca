//! `POST /api/v1/users/me/passkeys` (NFR-SEC-003)

use std::collections::BTreeSet;

use aggregates::user::{NewPasskey, PasskeyCommand, User, UserCommand};
use axum::response::Response;
use chrono::{DateTime, Utc};
use kernel::PasskeyId;
use schemas::values::PasskeyName;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use webauthn_rs::prelude::RegisterPublicKeyCredential;

use super::confirm_totp::recovery_codes;
use crate::extract::Write;
use crate::passkeys::{may_add, relying_party};
use crate::problem::Problem;
use crate::sign_in;
use crate::view::audience::THEMSELF;
use crate::view::fields::{fields, given};

/// What the authenticator answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddPasskey, example = json!({
    "ticket": "AZLwwWoAcACAAAAAAAAAAg", "name": "Ann's phone", "credential": {
        "id": "VD-k4AUT6FLUNmROa7OAiA", "rawId": "VD-k4AUT6FLUNmROa7OAiA", "type": "public-key",
        "response": {"clientDataJSON": "e30", "attestationObject": "oA"}, "clientExtensionResults": {}
    }
}))]
pub struct Add {
    /// What came with the options.
    ticket: String,
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    name: PasskeyName,
    /// `RegistrationResponseJSON` (WebAuthn Level 3, §5.1.8): what `PublicKeyCredential.toJSON` says.
    #[schema(value_type = Object)]
    credential: RegisterPublicKeyCredential,
}

/// A passkey that was just added.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b19", "name": "Ann's phone", "created_at": "2027-01-01T09:00:00Z",
    "recovery_codes": ["ABCDE-FGHIJ"]
}))]
pub struct AddedPasskey {
    pub id: Uuid,
    pub name: String,
    pub created_at: DateTime<Utc>,
    /// Of whoever had no second factor before: each signs in once in its place. They are shown here only.
    pub recovery_codes: Option<Vec<String>>,
}

fields! { AddedPasskey {
    id: THEMSELF,
    name: THEMSELF,
    created_at: THEMSELF,
    recovery_codes if given: THEMSELF,
} }

/// Add a passkey
///
/// From now on it signs in by itself (`POST /auth/passkeys/login`), and a password alone does not any more. If it is the
/// first second factor all other sessions end, and ten recovery codes are shown. A ticket that is older than five minutes, or another person's, is
/// ERR-VAL-422 `ticket_invalid`; an answer that is not what was asked for `passkey_refused`. At most ten for each person
/// (`too_many_passkeys`). Wants a fresh authentication, with the second factor if there is one.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/passkeys",
    tag = "me",
    request_body = Add,
    responses((status = CREATED, description = "It was added.", body = AddedPasskey)),
)]
pub async fn add_passkey(write: Write<Add>) -> Result<Response, Problem> {
    let (person, session) = write.caller.signed_in()?;
    let (app, now) = (write.app.clone(), write.now());
    let party = relying_party(&app)?;
    let asked = app.sign_in.tickets.read_passkey_enrolment(person, &write.body.ticket, now);
    let asked = asked.ok_or_else(|| Problem::rule("ticket_invalid"))?;
    let known = sign_in::by_id(&app, person).await?.ok_or_else(Problem::not_found)?;
    let passkey = PasskeyId(write.new_id("passkey"));
    // A retry finds its own passkey there.
    let before = known.state.sign_in.passkeys.get(passkey).map(|key| key.added_at);
    if before.is_none() {
        may_add(&write, &known)?;
    }
    let made = party.register(person, &asked, &write.body.credential);
    let made = made.ok_or_else(|| Problem::rule("passkey_refused"))?;
    let name = write.body.name.clone();
    let (codes, recovery_codes) = recovery_codes(&write, person)?;
    let kept: BTreeSet<_> = recovery_codes.iter().cloned().collect();
    let wish = NewPasskey {
        passkey,
        name: name.clone(),
        credential: made.credential,
        record: made.record,
        counter: made.counter,
        recovery_codes,
        by: session,
        now,
    };
    let command = UserCommand::Passkey(PasskeyCommand::Add(Box::new(wish)));
    let receipt = write.dispatch::<User>(person.0, command).await?;
    let created_at = before.unwrap_or(now);
    // They count unless there were others before.
    let since = sign_in::by_id(&app, person).await?.ok_or_else(Problem::not_found)?;
    let count = since.state.sign_in.recovery_codes == kept && write.may_show_secret(&receipt);
    let added = AddedPasskey {
        id: passkey.0,
        name: name.as_str().to_owned(),
        created_at,
        recovery_codes: count.then_some(codes.recovery_codes),
    };
    let mut response = write.created(&format!("/api/v1/users/me/passkeys/{passkey}"), &receipt, &added);
    crate::view::never_stored(&mut response);
    Ok(response)
}
