//! Passkeys (WebAuthn Level 3): what browsers are asked, and what of their answers is believed.
//!
//! The library wants its own state of the question when the answer comes. It is made anew then, with the challenge that
//! the client's ticket leads to, so that none is kept between the two.

use std::time::Duration;

use aggregates::user::{Assertion, Passkeys};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::PersonId;
use schemas::values::{CredentialId, CredentialRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    Credential, PublicKeyCredential, RegisterPublicKeyCredential, Url, Webauthn, WebauthnBuilder,
};

use crate::extract::Write;
use crate::problem::Problem;
use crate::sign_in::{Known, showed_second_factor};
use crate::state::App;
use crate::tickets::{Asked, Challenge, PASSKEY_TTL};

/// How browsers call what a passkey is for.
const NAME: &str = "Tenantry";

/// The deployment as browsers know it: a passkey is made for its host, and answers to its pages alone.
pub struct RelyingParty {
    webauthn: Webauthn,
}

/// What a registration showed.
pub struct Registered {
    pub credential: CredentialId,
    pub record: CredentialRecord,
    pub counter: u32,
}

impl RelyingParty {
    /// `None`: no browser has passkeys for pages there. That takes a host with a name, and https unless it is localhost.
    pub fn at(public_url: &str) -> Option<Self> {
        let url = Url::parse(public_url).ok()?;
        let host = url.domain()?;
        let is_local = host == "localhost" || host.ends_with(".localhost");
        if url.scheme() != "https" && !is_local {
            return None;
        }
        let origin = Url::parse(&url.origin().ascii_serialization()).ok()?;
        let timeout = Duration::from_secs(PASSKEY_TTL.num_seconds().unsigned_abs());
        let webauthn =
            WebauthnBuilder::new(host, &origin).ok()?.rp_name(NAME).timeout(timeout).build().ok()?;
        Some(Self { webauthn })
    }

    /// What `navigator.credentials.create` is given (WebAuthn §5.4). `name`: what the authenticator shows of the person.
    /// Those that the person has are excluded: an authenticator has one of them at most.
    pub fn creation_options(
        &self,
        person: PersonId,
        (name, display_name): (&str, &str),
        known: &Passkeys,
        asked: &Asked,
    ) -> Option<Value> {
        let (options, _) =
            self.webauthn.start_passkey_registration(person.0, name, display_name, None).ok()?;
        let mut options = serde_json::to_value(options.public_key).ok()?;
        options["challenge"] = challenge(asked);
        options["excludeCredentials"] = descriptors(known);
        // Kept where the authenticator finds it by itself, if it can: then it signs in without an address.
        options["authenticatorSelection"]["residentKey"] = json!("preferred");
        Some(options)
    }

    /// Verifies what `navigator.credentials.create` answered. `None`: it is not what was asked for.
    pub fn register(
        &self,
        person: PersonId,
        asked: &Asked,
        answer: &RegisterPublicKeyCredential,
    ) -> Option<Registered> {
        let (_, state) = self.webauthn.start_passkey_registration(person.0, NAME, NAME, None).ok()?;
        let state = asking(&state, "rs", asked)?;
        let made = self.webauthn.finish_passkey_registration(answer, &state).ok()?;
        let record = serde_json::to_string(&made).ok()?.parse().ok()?;
        let made = Credential::from(made);
        let credential = URL_SAFE_NO_PAD.encode(&made.cred_id).parse().ok()?;
        Some(Registered { credential, record, counter: made.counter })
    }

    /// What `navigator.credentials.get` is given (WebAuthn §5.5). Without `of` any passkey will do that the authenticator
    /// finds by itself.
    pub fn request_options(&self, of: Option<&Passkeys>, asked: &Asked) -> Option<Value> {
        let (options, _) = self.webauthn.start_discoverable_authentication().ok()?;
        let mut options = serde_json::to_value(options.public_key).ok()?;
        options["challenge"] = challenge(asked);
        options["allowCredentials"] = of.map_or_else(|| json!([]), descriptors);
        Some(options)
    }

    /// Verifies what `navigator.credentials.get` answered: that one of the person's passkeys signed what was asked, for our
    /// host, on one of our pages, for whom the authenticator had recognised. `None`: it did not.
    pub fn verify(
        &self,
        (person, of): (PersonId, &Passkeys),
        asked: &Asked,
        answer: &PublicKeyCredential,
    ) -> Option<Assertion> {
        if answer.get_user_unique_id().is_some_and(|handle| handle != person.0.as_bytes()) {
            return None;
        }
        let credential = URL_SAFE_NO_PAD.encode(answer.get_credential_id()).parse().ok()?;
        let (passkey, key) = of.of_credential(&credential)?;
        let checked = key.record.reveal()?;
        let known: webauthn_rs::prelude::Passkey = serde_json::from_str(checked.as_str()).ok()?;
        let known = Credential { counter: key.counter, ..known.into() };
        let (_, state) = self.webauthn.start_discoverable_authentication().ok()?;
        let state = asking(&state, "ast", asked)?;
        let found = self.webauthn.finish_discoverable_authentication_v2(answer, state, &known).ok()?;
        found.user_verified().then(|| Assertion {
            passkey,
            checked: checked.clone(),
            counter: found.counter(),
            challenge: asked.hash(),
            challenge_expires_at: asked.expires_at,
        })
    }
}

/// Binary fields are base64url without padding, as `PublicKeyCredential.parseCreationOptionsFromJSON` reads them.
fn challenge(asked: &Asked) -> Value {
    URL_SAFE_NO_PAD.encode(asked.challenge).into()
}

fn descriptors(of: &Passkeys) -> Value {
    let credentials = of.iter().filter_map(|(_, key)| key.credential.reveal());
    credentials.map(|credential| json!({"type": "public-key", "id": credential.as_str()})).collect()
}

/// The library's state of a question, as if it had asked for this challenge. `None`: it keeps its state otherwise by now.
fn asking<S: Serialize + DeserializeOwned>(state: &S, part: &str, asked: &Asked) -> Option<S> {
    let mut state = serde_json::to_value(state).ok()?;
    *state.get_mut(part)?.get_mut("challenge")? = challenge(asked);
    serde_json::from_value(state).ok()
}

/// Whose passkey it says it is. Nobody has believed it yet.
pub fn said_person(answer: &PublicKeyCredential) -> Option<PersonId> {
    let handle: [u8; 16] = answer.get_user_unique_id()?.try_into().ok()?;
    Some(PersonId(uuid::Uuid::from_bytes(handle)))
}

/// # Errors
/// ERR-VAL-422 `passkeys_unavailable`: the deployment's URL is none that browsers have passkeys for.
pub fn relying_party(app: &App) -> Result<&RelyingParty, Problem> {
    app.sign_in.passkeys.as_ref().ok_or_else(|| Problem::rule("passkeys_unavailable"))
}

/// Whoever has a second factor adds another only where they showed it: a password alone is not enough for them.
///
/// # Errors
/// ERR-AUTH-401 `fresh_authentication_required`
pub fn may_add<B>(write: &Write<B>, known: &Known) -> Result<(), Problem> {
    if known.state.sign_in.has_second_factor() { showed_second_factor(write) } else { Ok(()) }
}

/// What a passkey is asked after the password, if the person has any.
pub fn second_factor_options(app: &App, challenge: &Challenge, known: &Known) -> Option<Value> {
    let of = Some(&known.state.sign_in.passkeys).filter(|of| !of.is_empty())?;
    let party = app.sign_in.passkeys.as_ref()?;
    party.request_options(Some(of), &app.sign_in.tickets.passkey_second_factor(challenge))
}

/// Verifies what a passkey answered after the password.
pub fn second_factor(
    app: &App,
    challenge: &Challenge,
    known: &Known,
    answer: &PublicKeyCredential,
) -> Option<Assertion> {
    let asked = app.sign_in.tickets.passkey_second_factor(challenge);
    app.sign_in.passkeys.as_ref()?.verify((known.person, &known.state.sign_in.passkeys), &asked, answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn asked() -> Asked {
        let expires_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Asked { challenge: [7; 32], expires_at }
    }

    #[test]
    fn passkeys_need_a_named_host_and_https_or_localhost() {
        for url in [
            "https://app.example",
            "https://app.example:8443/base",
            "http://localhost:8080",
            "http://acme.localhost",
        ] {
            assert!(RelyingParty::at(url).is_some(), "{url}");
        }
        for url in ["http://127.0.0.1:8080", "https://203.0.113.7", "https://[::1]", "http://app.example", ""]
        {
            assert!(RelyingParty::at(url).is_none(), "{url}");
        }
    }

    /// An update of the library that keeps its state otherwise is found here.
    #[test]
    fn the_librarys_state_takes_our_challenge() {
        let party = RelyingParty::at("https://app.example").unwrap();
        let (_, state) = party.webauthn.start_discoverable_authentication().unwrap();
        let state = asking(&state, "ast", &asked()).unwrap();
        assert_eq!(serde_json::to_value(state).unwrap()["ast"]["challenge"], challenge(&asked()));
        let (_, state) =
            party.webauthn.start_passkey_registration(uuid::Uuid::nil(), "a", "a", None).unwrap();
        let state = asking(&state, "rs", &asked()).unwrap();
        assert_eq!(serde_json::to_value(state).unwrap()["rs"]["challenge"], challenge(&asked()));
    }

    #[test]
    fn browsers_are_asked_to_recognise_the_person_and_to_attest_nothing() {
        let party = RelyingParty::at("https://app.example").unwrap();
        let person = PersonId(uuid::Uuid::from_u128(2));
        let none = Passkeys::default();
        let options = party.creation_options(person, ("ann@acme.example", "Ann"), &none, &asked()).unwrap();
        assert_eq!(options["rp"], json!({"name": "Tenantry", "id": "app.example"}));
        assert_eq!(options["user"]["id"], URL_SAFE_NO_PAD.encode(person.0.as_bytes()));
        assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
        assert_eq!(options["authenticatorSelection"]["residentKey"], "preferred");
        assert_eq!(options["attestation"], "none");
        let options = party.request_options(None, &asked()).unwrap();
        assert_eq!(
            (&options["rpId"], &options["userVerification"], &options["allowCredentials"]),
            (&json!("app.example"), &json!("required"), &json!([]))
        );
    }
}
