//! What letters say. The layout is in `templates/letter.txt` and `templates/letter.html`.

use chrono::{DateTime, Utc};

/// The longest name that is repeated in a letter, in characters.
const NAME_CHARACTERS_MAX: usize = 100;

/// A letter to one person, in plain words. Whoever lays it out escapes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    pub subject: String,
    /// Whom it greets.
    pub name: Option<String>,
    /// Paragraphs before the link.
    pub before: Vec<String>,
    pub link: Option<Link>,
    /// What is to be typed in somewhere, in place of a link.
    pub code: Option<String>,
    /// Paragraphs after it.
    pub after: Vec<String>,
}

/// What a letter asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    pub label: String,
    /// As it was given.
    pub url: String,
    /// What the link carries, for those who use the API without a page.
    pub code: String,
}

// Both hold names, and what opens an account: they print nothing.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Letter(…)")
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link(…)")
    }
}

impl Letter {
    fn new(subject: impl Into<String>, name: Option<&str>, before: Vec<String>) -> Self {
        let name = name.and_then(spoken);
        Self { subject: subject.into(), name, before, link: None, code: None, after: Vec::new() }
    }

    fn with_link(mut self, label: &str, url: String, code: String) -> Self {
        self.link = Some(Link { label: label.to_owned(), url, code });
        self
    }

    fn and(mut self, paragraph: impl Into<String>) -> Self {
        self.after.push(paragraph.into());
        self
    }

    /// Somebody may become a member of a tenant (UC-TENANT-INVITE).
    pub fn invitation(
        name: Option<&str>,
        tenant: Option<&str>,
        (url, code): (String, String),
        expires_at: DateTime<Utc>,
    ) -> Self {
        let tenant = tenant.and_then(spoken).unwrap_or_else(|| "a company".to_owned());
        Self::new(
            format!("You are invited to {tenant}"),
            name,
            vec![format!(
                "You are invited to join {tenant}. The invitation is good until {}.",
                time(expires_at)
            )],
        )
        .with_link("Accept the invitation", url, code)
        .and("If you don't know what this is about, do nothing: without you, nothing happens.")
    }

    /// A link was asked for to choose another password (FR-AUTH-004).
    pub fn password_reset(
        name: Option<&str>,
        (url, code): (String, String),
        expires_at: DateTime<Utc>,
    ) -> Self {
        Self::new(
            "Choose another password",
            name,
            vec![format!(
                "Somebody asked for a link to choose another password for you. It is good once, until {}.",
                time(expires_at)
            )],
        )
        .with_link("Choose another password", url, code)
        .and("If that was not you, do nothing: your password stays as it is. Give the link to nobody.")
    }

    /// The password was changed, and all sessions ended (FR-AUTH-004).
    pub fn password_changed(name: Option<&str>, at: DateTime<Utc>) -> Self {
        Self::new(
            "Your password was changed",
            name,
            vec![format!("Your password was changed on {}. You were signed out everywhere.", time(at))],
        )
        .and("If that was not you, ask for a link to choose another password at once, and tell your administrator.")
    }

    /// A session's token was used twice: there is a copy of it.
    pub fn refresh_reuse_detected(name: Option<&str>, at: DateTime<Utc>) -> Self {
        Self::new(
            "A session of yours was ended",
            name,
            vec![format!(
                "On {}, something that had been replaced was used again to go on with a session of yours. Somebody may \
                 have a copy of it, so the session was ended.",
                time(at)
            )],
        )
        .and("Sign in again. If this was none of your own programs, change your password and tell your administrator.")
    }

    /// One-time codes are asked for from now on.
    pub fn mfa_enrolled(name: Option<&str>, at: DateTime<Utc>) -> Self {
        Self::new(
            "Two-step sign-in is on",
            name,
            vec![format!("Since {}, signing in asks for a code of your authenticator.", time(at))],
        )
        .and("Keep the recovery codes where you find them without that device.")
        .and("If that was not you, change your password at once and tell your administrator.")
    }

    /// There is another way to sign in.
    pub fn passkey_added(name: Option<&str>, at: DateTime<Utc>) -> Self {
        Self::new(
            "A passkey was added",
            name,
            vec![format!(
                "Since {}, a new passkey signs you in, and your password alone does not any more.",
                time(at)
            )],
        )
        .and("Get recovery codes, and keep them where you find them without that device.")
        .and("If that was not you, change your password at once and tell your administrator.")
    }

    /// A way to sign in is gone.
    pub fn passkey_removed(name: Option<&str>, at: DateTime<Utc>) -> Self {
        Self::new(
            "A passkey was removed",
            name,
            vec![format!("Since {}, a passkey that was yours signs you in no more.", time(at))],
        )
        .and("If that was not you, change your password at once and tell your administrator.")
    }

    /// No one-time code is asked for any more.
    pub fn mfa_removed(name: Option<&str>, at: DateTime<Utc>) -> Self {
        Self::new(
            "One-time codes are off",
            name,
            vec![format!("Since {}, signing in asks for no code of an authenticator.", time(at))],
        )
        .and("If that was not you, change your password at once and tell your administrator.")
    }

    /// What somebody asked to have of themself is there (CON-COMP-001). Neither that nor a way to it is in the letter.
    pub fn export_ready(name: Option<&str>, until: DateTime<Utc>) -> Self {
        Self::new(
            "Your data are ready",
            name,
            vec![format!(
                "You asked for what is known of you here. It is ready, and kept for you until {}: sign in to fetch it.",
                time(until)
            )],
        )
        .and("If that was not you, change your password at once and tell your administrator.")
    }

    /// A login was unusual, and goes on with a code (NFR-SEC-006). Device and place are what the login said of itself.
    pub fn login_code(
        name: Option<&str>,
        code: &str,
        (device, place): (Option<&str>, Option<&str>),
        at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Self {
        let device = device.and_then(spoken).unwrap_or_else(|| "an unknown program".to_owned());
        let place = place.and_then(spoken).unwrap_or_else(|| "an unknown address".to_owned());
        let letter = Self::new(
            "Your code to sign in",
            name,
            vec![
                format!(
                    "On {}, somebody signed in with your password in an unusual way: with {device}, from {place}.",
                    time(at)
                ),
                format!(
                    "If that was you, go on with this code. It is good once, until {}.",
                    time(expires_at)
                ),
            ],
        );
        Self { code: Some(code.to_owned()), ..letter }
            .and("If that was not you, somebody knows your password: change it at once, and tell your administrator.")
            .and("Give the code to nobody, whoever asks for it.")
    }

    /// Somebody is to show that the address is theirs.
    pub fn email_verification(
        name: Option<&str>,
        (url, code): (String, String),
        expires_at: DateTime<Utc>,
    ) -> Self {
        Self::new(
            "Confirm your e-mail address",
            name,
            vec![format!(
                "Somebody registered here with this address. If that was you, confirm it until {}.",
                time(expires_at)
            )],
        )
        .with_link("Confirm the address", url, code)
        .and("If that was not you, do nothing: without you, nothing happens.")
    }
}

/// For people, in words that need no other clock than UTC.
fn time(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}

/// A name as it is repeated to others: one line of printable characters. `None` if it would be taken for a link, which
/// is how an invitation could carry somebody else's message.
fn spoken(name: &str) -> Option<String> {
    let printable = |character: &char| !character.is_control() && !is_invisible(*character);
    let line: String = name.chars().filter(printable).take(NAME_CHARACTERS_MAX).collect();
    let (line, lower) = (line.trim(), line.to_lowercase());
    let link = lower.contains("://") || lower.contains("www.");
    (!line.is_empty() && !link).then(|| line.to_owned())
}

/// What turns or breaks a line without being seen (Unicode's bidirectional controls, separators and joiners).
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn link() -> (String, String) {
        ("https://t.example/login#invitation=abc".to_owned(), "abc".to_owned())
    }

    fn all() -> Vec<Letter> {
        let name = Some("Ann");
        vec![
            Letter::invitation(name, Some("Acme"), link(), at()),
            Letter::password_reset(name, link(), at()),
            Letter::password_changed(name, at()),
            Letter::refresh_reuse_detected(name, at()),
            Letter::mfa_enrolled(name, at()),
            Letter::mfa_removed(name, at()),
            Letter::passkey_added(name, at()),
            Letter::passkey_removed(name, at()),
            Letter::export_ready(name, at()),
            Letter::email_verification(name, link(), at()),
            Letter::login_code(name, "12345678", (Some("Mozilla/5.0"), Some("192.0.2.7")), at(), at()),
        ]
    }

    #[test]
    fn each_letter_says_until_or_since_when_and_only_three_carry_a_link() {
        let letters = all();
        assert!(letters.iter().all(|letter| letter.before[0].contains("15 January 2027, 08:00 UTC")));
        assert!(
            letters.iter().all(|letter| letter.name.as_deref() == Some("Ann") && !letter.after.is_empty())
        );
        let linked: Vec<&str> =
            letters.iter().filter(|it| it.link.is_some()).map(|it| &*it.subject).collect();
        assert_eq!(
            linked,
            ["You are invited to Acme", "Choose another password", "Confirm your e-mail address"]
        );
    }

    /// Then a letter needs no encoding, and its link can be copied from a file.
    #[test]
    fn our_own_words_are_ascii() {
        for letter in all() {
            let words = letter.before.iter().chain(&letter.after).chain([&letter.subject]);
            assert!(words.clone().all(|words| words.is_ascii()), "{}", letter.subject);
        }
    }

    #[test]
    fn a_name_is_repeated_as_one_line_and_never_as_a_link() {
        assert_eq!(spoken(" Ann \r\n Bcc: eve@evil.example"), Some("Ann  Bcc: eve@evil.example".to_owned()));
        assert_eq!(spoken("Ann\u{202e}lp.evil"), Some("Annlp.evil".to_owned()));
        assert_eq!(spoken(&"x".repeat(500)).map(|name| name.len()), Some(100));
        for name in ["", " ", "\u{200b}", "Win: https://evil.example", "WWW.evil.example"] {
            assert_eq!(spoken(name), None, "{name}");
        }
        let letter =
            Letter::invitation(Some("http://evil.example"), Some("http://evil.example"), link(), at());
        assert_eq!((letter.name, letter.subject.as_str()), (None, "You are invited to a company"));
    }

    /// Whoever tries to sign in says themselves what their program is called.
    #[test]
    fn a_letter_with_a_code_names_device_and_place_and_repeats_no_link() {
        let letter = |device| Letter::login_code(None, "12345678", (device, Some("192.0.2.7")), at(), at());
        assert!(letter(Some("Firefox")).before[0].ends_with("with Firefox, from 192.0.2.7."));
        assert_eq!(letter(Some("Firefox")).code.as_deref(), Some("12345678"));
        for device in [None, Some("curl (+https://evil.example)")] {
            assert!(letter(device).before[0].contains("with an unknown program,"));
        }
    }
}
