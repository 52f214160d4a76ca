//! Somebody else's authenticator and browser, in software: passkeys as 1Password makes them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use reqwest::Url;
use serde_json::{Value, json};

/// An authenticator with room for one passkey. A clone of it is a copy that nobody should be able to make.
#[derive(Clone, Default)]
pub struct Device {
    pub passkey: Option<Passkey>,
    /// It says how often it has signed.
    pub counts: bool,
    /// Nobody shows it a finger or a PIN.
    pub unverified: bool,
}

struct Person {
    verified: bool,
}

#[async_trait::async_trait]
impl UserValidationMethod for Person {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _hint: UiHint<'a, Passkey>,
        _presence: bool,
        _verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: self.verified })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

impl Device {
    fn authenticator(&self) -> Authenticator<Option<Passkey>, Person, RustCryptoBackend> {
        let person = Person { verified: !self.unverified };
        let store = self.passkey.clone();
        let mut authenticator = Authenticator::new(Aaguid::new_empty(), store, person, RustCryptoBackend);
        authenticator.set_make_credentials_with_signature_counter(self.counts);
        authenticator
    }

    /// `navigator.credentials.create` on a page of this origin.
    pub async fn create(&mut self, origin: &str, options: &Value) -> Value {
        let origin: Url = origin.parse().expect("a URL");
        let options = serde_json::from_value(json!({"publicKey": options})).expect("creation options");
        let mut client = Client::new(self.authenticator());
        let made = client.register(&origin, options, DefaultClientData).await.expect("a passkey is made");
        self.passkey.clone_from(client.authenticator().store());
        to_json(serde_json::to_value(made).expect("it is JSON"))
    }

    /// `navigator.credentials.get` on a page of this origin.
    pub async fn get(&mut self, origin: &str, options: &Value) -> Value {
        let origin: Url = origin.parse().expect("a URL");
        let options = serde_json::from_value(json!({"publicKey": options})).expect("request options");
        let mut client = Client::new(self.authenticator());
        let answer = client.authenticate(&origin, options, DefaultClientData).await.expect("it answers");
        self.passkey.clone_from(client.authenticator().store());
        to_json(serde_json::to_value(answer).expect("it is JSON"))
    }
}

/// `PublicKeyCredential.toJSON`: bytes are base64url, where this authenticator lists them.
fn to_json(value: Value) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_u64) => {
            let byte = |item: &Value| item.as_u64().and_then(|byte| u8::try_from(byte).ok()).expect("a byte");
            URL_SAFE_NO_PAD.encode(items.iter().map(byte).collect::<Vec<_>>()).into()
        }
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, to_json(value))).collect(),
        other => other,
    }
}
