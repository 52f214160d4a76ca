//! What is kept of a password.

use super::InvalidValue;

/// The longest hash, in bytes. Ours have 97, bcrypt's 60.
const BYTES_MAX: usize = 512;

/// What a hash of each algorithm we can verify begins with.
const BEGINNINGS: [&str; 4] = ["$argon2id$", "$2a$", "$2b$", "$2y$"];

text_value! {
    /// A password's hash with its salt and its costs, as one text: argon2id in the PHC string format (ruling 13), or
    /// bcrypt (`$2a$`, `$2b$`, `$2y$`) as it came with an import. 1 to 512 bytes of printable ASCII without a space.
    ///
    /// Whether it can be verified is found out when it is: here it is only known to be harmless and of a kind we know.
    hidden PasswordHash, |text| {
        const WHAT: &str = "a password's hash";
        if text.len() > BYTES_MAX {
            return Err(InvalidValue::new(WHAT, format!("must be at most {BYTES_MAX} bytes long")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidValue::new(WHAT, "may hold only printable ASCII without a space"));
        }
        if !BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) {
            return Err(InvalidValue::new(WHAT, "must begin with one of $argon2id$ $2a$ $2b$ $2y$"));
        }
        Ok(text.to_owned())
    }
}
