//! What is wrong with a new password, rule by rule (FR-AUTH-006, CON-SEC-001).
//!
//! The estimate of how many guesses a password costs is zxcvbn's, which knows the thirty thousand commonest passwords,
//! names and words in their usual disguises, keyboard runs, dates and repetitions. Whoever is guessing knows the person
//! too: their names, their tenant and this product's words ([`BLOCKLIST`]) count as known.

use std::sync::LazyLock;

use schemas::values::{EmailAddress, PasswordPolicy, PersonName, TenantName};
use zeroize::Zeroizing;

use super::{InvalidPassword, Password};

/// Words of this product and its trade; see the file's head.
const BLOCKLIST: &str = include_str!("blocklist.txt");
/// A password that is found within so many guesses is one that everybody tries. zxcvbn's own list, each of its
/// passwords with a capital, a digit for a letter and a year behind it, lies below.
const COMMON_GUESSES_MAX: u64 = 1_000_000;
/// A part of a name that is shorter is in many a good password by chance.
const PERSONAL_CHARS_MIN: usize = 4;
/// No more of a password is judged. The time grows with the square of the length and with how many digits and signs may
/// stand for letters: made of nothing else, a hundred characters (zxcvbn's own bound) took 0.7 s in a release build on two
/// cores that were compiling beside it, and sixty-four took 0.3 s. What is hard to guess up to here is not made easier by what follows.
const JUDGED_CHARS_MAX: usize = 40;

/// Whom a password is for: what others know of them.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub email: Option<EmailAddress>,
    pub names: Vec<PersonName>,
    pub tenant: Option<TenantName>,
}

/// A rule that a password breaks. As text it is a sentence that reads on from the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("must be at least {chars_min} characters long")]
    TooShort { chars_min: u8 },
    #[error("must be at most {bytes_max} bytes long")]
    TooLong { bytes_max: usize },
    #[error("must hold at least 1 upper-case letter")]
    NeedsUpper,
    #[error("must hold at least 1 lower-case letter")]
    NeedsLower,
    #[error("must hold at least 1 digit")]
    NeedsDigit,
    #[error("must hold at least 1 character that is neither a letter nor a digit")]
    NeedsSymbol,
    #[error(
        "must not hold your name, your e-mail address or your organisation's name, nor {chars_min} or more characters of one that stand by themselves"
    )]
    ContainsPersonal { chars_min: usize },
    #[error(
        "must not be one of those that everybody tries first: it would take fewer than {guesses_min} guesses"
    )]
    TooCommon { guesses_min: u64 },
    #[error("must be harder to guess: its strength is {score} of 4, and at least {score_min} is asked for")]
    TooWeak { score: u8, score_min: u8 },
}

impl Broken {
    /// The word for machines. Part of the API: add, never rename.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::TooLong { .. } => "too_long",
            Self::NeedsUpper => "needs_upper",
            Self::NeedsLower => "needs_lower",
            Self::NeedsDigit => "needs_digit",
            Self::NeedsSymbol => "needs_symbol",
            Self::ContainsPersonal { .. } => "contains_personal",
            Self::TooCommon { .. } => "too_common",
            Self::TooWeak { .. } => "too_weak",
        }
    }

    /// The rule that is broken by what is no password at all.
    pub fn of(invalid: InvalidPassword, policy: &PasswordPolicy) -> Self {
        match invalid {
            InvalidPassword::Empty => Self::TooShort { chars_min: policy.length_min.chars() },
            InvalidPassword::TooLong => Self::TooLong { bytes_max: Password::BYTES_MAX },
        }
    }
}

/// All rules that the password breaks; none: it may be taken. Takes milliseconds, and longer for a hostile one: see [`Hasher::judge`].
///
/// Characters are Unicode code points, as SP 800-63B counts them. A common password is not also called weak.
///
/// [`Hasher::judge`]: super::Hasher::judge
pub(crate) fn judge(policy: &PasswordPolicy, password: &Password, about: &About) -> Vec<Broken> {
    let text = password.as_str();
    let mut broken = Vec::new();
    let chars_min = policy.length_min.chars();
    if text.chars().count() < chars_min.into() {
        broken.push(Broken::TooShort { chars_min });
    }
    type Asked = (bool, fn(char) -> bool, Broken);
    let asked: [Asked; 4] = [
        (policy.require_upper, char::is_uppercase, Broken::NeedsUpper),
        (policy.require_lower, char::is_lowercase, Broken::NeedsLower),
        (policy.require_digit, char::is_numeric, Broken::NeedsDigit),
        (policy.require_symbol, |c| !c.is_alphanumeric(), Broken::NeedsSymbol),
    ];
    broken.extend(
        asked.iter().filter(|(is_asked, is, _)| *is_asked && !text.chars().any(is)).map(|asked| asked.2),
    );
    if contains_personal(text, about) {
        broken.push(Broken::ContainsPersonal { chars_min: PERSONAL_CHARS_MIN });
    }
    broken.extend(guessed(policy, text, about));
    broken
}

fn guessed(policy: &PasswordPolicy, text: &str, about: &About) -> Option<Broken> {
    static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        BLOCKLIST.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    });
    let known = about.known();
    let words: Vec<&str> = known.iter().map(String::as_str).chain(WORDS.iter().copied()).collect();
    let judged = Zeroizing::new(text.chars().take(JUDGED_CHARS_MAX).collect::<String>());
    let estimate = zxcvbn::zxcvbn(&judged, &words);
    let (score, score_min) = (u8::from(estimate.score()), policy.strength_min.score());
    if estimate.guesses() < COMMON_GUESSES_MAX {
        return Some(Broken::TooCommon { guesses_min: COMMON_GUESSES_MAX });
    }
    (score < score_min).then_some(Broken::TooWeak { score, score_min })
}

/// Without regard to case, and to what stands between letters: `Acme Corp` is in `x-ACME-corp-9`.
fn contains_personal(text: &str, about: &About) -> bool {
    let lower = Zeroizing::new(text.to_lowercase());
    let bare = Zeroizing::new(bare(&lower));
    about.telling().iter().any(|word| lower.contains(word.as_str()) || bare.contains(word.as_str()))
}

fn bare(text: &str) -> String {
    text.chars().filter(|character| character.is_alphanumeric()).collect()
}

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
}

impl About {
    /// What must not be inside a password: the address before its `@`, the names, and the words of both; the tenant's
    /// name as a whole, as its words are anybody's (`The Blue Company`). Lower case, letters and digits only.
    fn telling(&self) -> Vec<String> {
        let person = self.person();
        let person = person.iter().flat_map(|text| words(text).map(str::to_owned).chain([bare(text)]));
        let tenant = self.tenant.iter().map(|name| bare(&name.as_str().to_lowercase()));
        let mut telling: Vec<_> = person.chain(tenant).collect();
        telling.retain(|word| word.chars().count() >= PERSONAL_CHARS_MIN);
        telling
    }

    /// What whoever guesses knows of them, however short: a password may hold it, but it doesn't count for much there.
    fn known(&self) -> Vec<String> {
        let mut texts = self.person();
        texts.extend(self.tenant.iter().map(|name| name.as_str().to_lowercase()));
        texts.extend(self.email.iter().map(|email| email.domain().to_owned()));
        let mut known: Vec<_> =
            texts.iter().flat_map(|text| words(text).map(str::to_owned).chain([bare(text)])).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn person(&self) -> Vec<String> {
        let local_part = self.email.iter().filter_map(|email| email.as_str().split('@').next());
        local_part.chain(self.names.iter().map(PersonName::as_str)).map(str::to_lowercase).collect()
    }
}

#[cfg(test)]
mod tests;
