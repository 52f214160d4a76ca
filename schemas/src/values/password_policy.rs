//! What a tenant asks of its people's passwords (FR-AUTH-006, CON-SEC-001).

use serde::{Deserialize, Serialize};

use super::InvalidValue;

/// What is asked of a new password. Stored in events: a field may be added with a default, a bound widened, none narrowed.
///
/// The default follows current guidance (ruling 9; NIST SP 800-63B): length, and nothing that is easily guessed. The
/// four kinds of characters are asked for only where somebody must. That a password is none of those that everybody
/// tries first, and does not hold its owner's name, is asked for always and can't be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordPolicy {
    /// The fewest characters.
    pub length_min: PasswordLength,
    /// An upper-case letter must be among them.
    pub require_upper: bool,
    /// A lower-case letter must be among them.
    pub require_lower: bool,
    /// A digit must be among them.
    pub require_digit: bool,
    /// Something must be among them that is neither a letter nor a digit.
    pub require_symbol: bool,
    /// How hard it must be to guess.
    pub strength_min: PasswordStrength,
}

impl PasswordPolicy {
    /// What is asked for where nobody said more.
    pub const DEFAULT: Self = Self {
        length_min: PasswordLength::DEFAULT,
        require_upper: false,
        require_lower: false,
        require_digit: false,
        require_symbol: false,
        strength_min: PasswordStrength::DEFAULT,
    };

    /// What satisfies each of them asks of a password, and nothing more: one password is good in all tenants of a person's,
    /// so it has to be good enough for each. Of none at all: [`Self::DEFAULT`].
    #[must_use]
    pub fn strictest_of(policies: impl IntoIterator<Item = Self>) -> Self {
        policies.into_iter().reduce(Self::and).unwrap_or(Self::DEFAULT)
    }

    fn and(self, other: Self) -> Self {
        Self {
            length_min: self.length_min.max(other.length_min),
            require_upper: self.require_upper || other.require_upper,
            require_lower: self.require_lower || other.require_lower,
            require_digit: self.require_digit || other.require_digit,
            require_symbol: self.require_symbol || other.require_symbol,
            strength_min: self.strength_min.max(other.strength_min),
        }
    }
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A number of characters that may be asked for: 8 to 128, 12 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PasswordLength(u8);

impl PasswordLength {
    /// Less is asked by nobody: SP 800-63B has 8 as the least.
    pub const MIN: u8 = 8;
    pub const MAX: u8 = 128;
    pub const DEFAULT: Self = Self(12);

    pub const fn chars(self) -> u8 {
        self.0
    }
}

impl Default for PasswordLength {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for PasswordLength {
    type Error = InvalidValue;

    fn try_from(chars: u32) -> Result<Self, Self::Error> {
        bounded("a password's least length", chars, Self::MIN, Self::MAX).map(Self)
    }
}

impl From<PasswordLength> for u32 {
    fn from(length: PasswordLength) -> Self {
        length.0.into()
    }
}

/// A strength that may be asked for, as zxcvbn scores it: 0 (anything) to 4, 3 unless said otherwise.
///
/// 1, 2, 3 and 4 stand for at least 10³, 10⁶, 10⁸ and 10¹⁰ guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PasswordStrength(u8);

impl PasswordStrength {
    pub const MAX: u8 = 4;
    pub const DEFAULT: Self = Self(3);

    pub const fn score(self) -> u8 {
        self.0
    }
}

impl Default for PasswordStrength {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for PasswordStrength {
    type Error = InvalidValue;

    fn try_from(score: u32) -> Result<Self, Self::Error> {
        bounded("a password's least strength", score, 0, Self::MAX).map(Self)
    }
}

impl From<PasswordStrength> for u32 {
    fn from(strength: PasswordStrength) -> Self {
        strength.0.into()
    }
}

fn bounded(what: &'static str, number: u32, min: u8, max: u8) -> Result<u8, InvalidValue> {
    u8::try_from(number)
        .ok()
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| InvalidValue::new(what, format!("must be {min} to {max}")))
}
