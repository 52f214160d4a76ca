//! Passwords: hashed in a bounded pool of threads of their own, verified, and judged before they are taken.
//!
//! Nothing here knows a person, a route or a table: a password and a hash go in, a verdict comes out.

pub mod hasher;
pub mod policy;
mod pool;
mod stored;

pub use hasher::{HashError, Hasher, HasherSettings, Verdict};
pub(crate) use policy::judge;
pub use policy::{About, Broken};
pub use stored::{HashParameters, InvalidParameters};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A password as somebody typed it: 1 to 1024 bytes of UTF-8, taken to the letter. Overwritten when dropped.
///
/// It is not trimmed and not normalised: what is typed on one keyboard as one code point and on another as two, such
/// as `é`, is two passwords.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The longest that is looked at: more would only let a stranger make us work.
    pub const BYTES_MAX: usize = 1024;

    /// Takes what somebody typed; it is overwritten also when it is refused.
    ///
    /// # Errors
    /// It is empty or too long.
    pub fn new(text: String) -> Result<Self, InvalidPassword> {
        let text = Zeroizing::new(text);
        match text.len() {
            0 => Err(InvalidPassword::Empty),
            1..=Self::BYTES_MAX => Ok(Self(text)),
            _ => Err(InvalidPassword::TooLong),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Why a text can't be a password at all, whatever the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    #[error("a password must not be empty")]
    Empty,
    #[error("a password must be at most {} bytes long", Password::BYTES_MAX)]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_bounded_and_does_not_show() {
        assert_eq!(Password::new(String::new()).unwrap_err(), InvalidPassword::Empty);
        assert_eq!(Password::new("é".repeat(513)).unwrap_err(), InvalidPassword::TooLong);
        let password = Password::new(" é".repeat(341)).unwrap();
        assert_eq!(password.as_str(), " é".repeat(341), "taken to the letter");
        assert_eq!(format!("{password:?}"), "Password(…)");
    }

    /// CC-LOG-002
    #[test]
    fn a_refused_body_does_not_repeat_the_password() {
        let text = "hunter2".repeat(200);
        let error = serde_json::from_value::<Password>(serde_json::json!(text)).unwrap_err().to_string();
        assert_eq!(error, "a password must be at most 1024 bytes long");
        assert_eq!(serde_json::from_str::<Password>("\"hunter2\"").unwrap().as_str(), "hunter2");
    }
}
