//! What signs a person in: the forms in which it may be kept, and the words around it.

use super::InvalidValue;

/// The longest stored form of a password, in bytes.
const HASH_BYTES_MAX: usize = 512;

text_value! {
    /// A password's hash with its algorithm, parameters and salt: argon2id in PHC form, or bcrypt of an import. At most 512
    /// printable ASCII characters. Never the password.
    hidden PasswordHash, |text| {
        const WHAT: &str = "a password's hash";
        if text.len() > HASH_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidValue::new(WHAT, "must be at most 512 printable ASCII characters"));
        }
        if !["$argon2id$", "$2a$", "$2b$", "$2y$"].iter().any(|known| text.starts_with(known)) {
            return Err(InvalidValue::new(WHAT, "must be of argon2id or bcrypt"));
        }
        Ok(text.to_owned())
    }
}

/// The bytes of a shared secret for one-time codes (RFC 4226 §4, R6: at least 128 bits).
const TOTP_SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

text_value! {
    /// The shared secret of one-time codes (RFC 6238), 16 to 64 bytes as hex.
    hidden TotpSecret, |text| {
        const WHAT: &str = "a one-time code's secret";
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || text.len() % 2 != 0 || !TOTP_SECRET_BYTES.contains(&(text.len() / 2)) {
            return Err(InvalidValue::new(WHAT, "must be 16 to 64 bytes in lower-case hex"));
        }
        Ok(text.to_owned())
    }
}

impl TotpSecret {
    /// The secret's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
        self.as_str().as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }
}

words! {
    /// How a password came to be another one.
    PasswordChange, "the reason for a change of password" {
        /// An invitation was accepted with it.
        Accepted = "accepted",
        /// Its holder, signed in, chose another (FR-AUTH-004).
        Changed = "changed",
        /// By a link sent to the address (FR-AUTH-004).
        Reset = "reset",
    }
}

words! {
    /// Why a session, or all of a person's, ended.
    SessionEnd, "the reason for a session's end" {
        /// Its holder signed out.
        Logout = "logout",
        /// Its holder ended it from elsewhere.
        Revoked = "revoked",
        /// An administrator ended it (UC-TENANT-SESSION-REVOKE).
        Administrator = "administrator",
        /// The person has as many as there may be, and it was the one used longest ago.
        Replaced = "replaced",
        /// The person has a second factor now, which it was begun without.
        SecondFactor = "second_factor",
    }
}

words! {
    /// What a session's login rested on first.
    LoginMethod, "a way to sign in" {
        Password = "password",
        /// A passkey alone: two factors at once.
        Passkey = "passkey",
        /// What an OpenID provider of the tenant's said.
        Sso = "sso",
    }
}

words! {
    /// What is unusual about a login (NFR-SEC-006).
    RiskReason, "what is unusual about a login" {
        /// The device has not signed in before.
        NewDevice = "new_device",
        /// No login that is remembered came from this network.
        NewNetwork = "new_network",
        /// Another device of the person's was elsewhere a moment ago.
        ImpossiblePace = "impossible_pace",
        /// At this hour of the day the person never signed in.
        OddHour = "odd_hour",
    }
}
