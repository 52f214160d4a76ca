//! Passkeys: what their person calls them, and what is kept of them.

use super::InvalidValue;
use super::text::{identifier, line};

/// The longest id of a credential, in base64url: 1023 bytes (WebAuthn Level 3, §4, *credential ID*).
const CREDENTIAL_ID_CHARS_MAX: usize = 1364;
/// The longest record of a credential, in bytes. One of an RSA key of 4096 bits takes about 2 KiB.
const RECORD_BYTES_MAX: usize = 8 * 1024;

text_value! {
    /// What a person calls a passkey: one printable line of 1 to 100 characters, trimmed.
    hidden PasskeyName, |text| line("a passkey's name", text, 100)
}

text_value! {
    /// What an authenticator calls a credential: 1 to 1023 bytes in base64url without padding.
    hidden CredentialId, |text| {
        identifier("a credential's id", text, CREDENTIAL_ID_CHARS_MAX, "base64url", |byte| {
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
        })
    }
}

text_value! {
    /// What assertions of a credential are verified against, its public key above all: a JSON object of at most 8 KiB, as
    /// the library wrote it that verifies. No private key.
    hidden CredentialRecord, |text| {
        const WHAT: &str = "a credential's record";
        if text.len() > RECORD_BYTES_MAX {
            return Err(InvalidValue::new(WHAT, "must be at most 8192 bytes long"));
        }
        if !serde_json::from_str::<serde_json::Value>(text).is_ok_and(|record| record.is_object()) {
            return Err(InvalidValue::new(WHAT, "must be a JSON object"));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_named_in_base64url_and_recorded_as_a_bounded_object() {
        assert!("AZLwwWoAcACAAAAAAAAAAg".parse::<CredentialId>().is_ok());
        for wrong in ["", "AZLw+w", "AZLw/w", "AZLw=", &"A".repeat(1365)] {
            assert!(wrong.parse::<CredentialId>().is_err(), "{wrong}");
        }
        assert!(r#"{"cred":{}}"#.parse::<CredentialRecord>().is_ok());
        let long = format!(r#"{{"cred":"{}"}}"#, "A".repeat(RECORD_BYTES_MAX));
        for wrong in ["", "[]", "{", &long] {
            assert!(wrong.parse::<CredentialRecord>().is_err());
        }
    }

    #[test]
    fn a_passkey_is_called_by_one_printable_line() {
        assert_eq!(" Ann's phone ".parse::<PasskeyName>().unwrap().as_str(), "Ann's phone");
        for wrong in ["", " ", "a\nb", &"x".repeat(101)] {
            assert!(wrong.parse::<PasskeyName>().is_err());
        }
    }
}
