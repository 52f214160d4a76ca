//! The tokens of links that are mailed.
//!
//! Derived, not stored: whoever mails a link makes its token again from what the event says, so that neither the journal
//! nor a job holds anything that opens an account. An event holds the token's hash, which tells the last link from former
//! ones.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use kernel::{MembershipId, PersonId};
use schemas::values::SecretHash;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Of an id, a time and a tag.
const TOKEN_BYTES: usize = 16 + 8 + 32;

/// What a link is for: a token of one kind is worth nothing as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Invitation,
    PasswordReset,
    Verification,
}

impl Purpose {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Invitation => b"link/invitation",
            Self::PasswordReset => b"link/password_reset",
            Self::Verification => b"link/verification",
        }
    }
}

/// Makes and reads the tokens of links.
#[derive(Clone)]
pub struct Links {
    key: hmac::Key,
}

/// A link's token: at most 75 characters that need no escaping in a URL.
#[derive(Clone)]
pub struct LinkToken(Zeroizing<String>);

/// What a token says, once its tag is checked. Whether it is the last one, its aggregate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<T> {
    pub of: T,
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkToken(…)")
    }
}

impl LinkToken {
    /// For the link.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// For the event.
    pub fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
}

fn hash(token: &str) -> SecretHash {
    hex::encode(Sha256::digest(token.as_bytes())).parse().expect("64 lower-case hex digits")
}

impl Links {
    /// The key is the deployment's, and known to nobody else.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The link of an invitation (FR-TENANT-001). Times count in microseconds, as the journal has them.
    pub fn invitation(&self, membership: MembershipId, expires_at: DateTime<Utc>) -> LinkToken {
        self.make(Purpose::Invitation, membership.0, expires_at)
    }

    /// The link that resets a password (FR-AUTH-004).
    pub fn password_reset(&self, person: PersonId, expires_at: DateTime<Utc>) -> LinkToken {
        self.make(Purpose::PasswordReset, person.0, expires_at)
    }

    /// The link by which whoever registered a tenant shows that the address is theirs (REQUIREMENTS §3).
    pub fn verification(&self, membership: MembershipId, expires_at: DateTime<Utc>) -> LinkToken {
        self.make(Purpose::Verification, membership.0, expires_at)
    }

    /// `None`: it is none of our invitations.
    pub fn open_invitation(&self, token: &str) -> Option<(Opened<MembershipId>, SecretHash)> {
        let (of, expires_at) = self.open(Purpose::Invitation, token)?;
        Some((Opened { of: MembershipId(of), expires_at }, hash(token)))
    }

    /// `None`: it is none of our links.
    pub fn open_verification(&self, token: &str) -> Option<(Opened<MembershipId>, SecretHash)> {
        let (of, expires_at) = self.open(Purpose::Verification, token)?;
        Some((Opened { of: MembershipId(of), expires_at }, hash(token)))
    }

    /// `None`: it is none of our links.
    pub fn open_password_reset(&self, token: &str) -> Option<(Opened<PersonId>, SecretHash)> {
        let (of, expires_at) = self.open(Purpose::PasswordReset, token)?;
        Some((Opened { of: PersonId(of), expires_at }, hash(token)))
    }

    fn make(&self, purpose: Purpose, of: Uuid, expires_at: DateTime<Utc>) -> LinkToken {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        bytes[..16].copy_from_slice(of.as_bytes());
        bytes[16..24].copy_from_slice(&expires_at.timestamp_micros().to_be_bytes());
        let tag = self.tag(purpose, &bytes[..24]);
        bytes[24..].copy_from_slice(tag.as_ref());
        LinkToken(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    fn open(&self, purpose: Purpose, token: &str) -> Option<(Uuid, DateTime<Utc>)> {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        let read = URL_SAFE_NO_PAD.decode_slice(token, &mut *bytes).ok()?;
        if read != TOKEN_BYTES {
            return None;
        }
        let mut context = purpose.as_bytes().to_vec();
        context.extend_from_slice(&bytes[..24]);
        // In constant time.
        hmac::verify(&self.key, &context, &bytes[24..]).ok()?;
        let of = Uuid::from_slice(&bytes[..16]).ok()?;
        let micros = i64::from_be_bytes(bytes[16..24].try_into().ok()?);
        Some((of, DateTime::from_timestamp_micros(micros)?))
    }

    fn tag(&self, purpose: Purpose, says: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(purpose.as_bytes());
        context.update(says);
        context.sign()
    }
}

/// How many codes there are: those of eight digits.
const CODES: u64 = 100_000_000;

/// A code that is mailed for an unusual login (NFR-SEC-006): eight digits. Derived like a link, and good with its challenge only.
pub struct LoginCode(Zeroizing<String>);

impl std::fmt::Debug for LoginCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoginCode(…)")
    }
}

impl LoginCode {
    /// For the letter.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Links {
    /// The code of a challenge. Times count in microseconds, as the journal has them.
    pub fn login_code(&self, of: PersonId, challenge: Uuid, expires_at: DateTime<Utc>) -> LoginCode {
        let micros = expires_at.timestamp_micros().to_be_bytes();
        let tag = self.code_tag(b"code/login", &[of.0.as_bytes(), challenge.as_bytes(), &micros]);
        // 64 bits hide what eight digits leave over.
        let number = tag.as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        LoginCode(Zeroizing::new(format!("{:08}", number % CODES)))
    }

    /// What is kept of a code, as somebody gives it: spaces don't count. It has so few digits that the hash needs a key.
    pub fn login_code_hash(&self, of: PersonId, challenge: Uuid, code: &str) -> SecretHash {
        let plain: Zeroizing<String> =
            Zeroizing::new(code.chars().filter(|character| !character.is_whitespace()).collect());
        let tag =
            self.code_tag(b"code/login/hash", &[of.0.as_bytes(), challenge.as_bytes(), plain.as_bytes()]);
        hex::encode(tag).parse().expect("64 lower-case hex digits")
    }

    fn code_tag(&self, purpose: &[u8], says: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // Parted from what links say, which begins with its purpose.
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose);
        says.iter().for_each(|part| context.update(part));
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links::new(&[7; 32])
    }

    fn then() -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap()
    }

    #[test]
    fn a_link_says_what_it_was_made_of_and_is_the_same_when_it_is_made_again() {
        let membership = MembershipId(Uuid::from_u128(5));
        let token = links().invitation(membership, then());
        let (opened, hash) = links().open_invitation(token.reveal()).unwrap();
        assert_eq!(opened, Opened { of: membership, expires_at: then() });
        assert_eq!((hash, token.reveal()), (token.hash(), links().invitation(membership, then()).reveal()));
    }

    #[test]
    fn a_link_of_another_kind_of_another_key_or_changed_opens_nothing() {
        let token = links().password_reset(PersonId(Uuid::from_u128(5)), then());
        assert!(links().open_invitation(token.reveal()).is_none());
        assert!(links().open_verification(token.reveal()).is_none());
        let (invitation, verification) = {
            let membership = MembershipId(Uuid::from_u128(5));
            (links().invitation(membership, then()), links().verification(membership, then()))
        };
        assert!(links().open_invitation(verification.reveal()).is_none());
        assert!(links().open_verification(invitation.reveal()).is_none());
        assert!(links().open_verification(verification.reveal()).is_some());
        assert!(Links::new(&[8; 32]).open_password_reset(token.reveal()).is_none());
        for at in 0..token.reveal().len() {
            let mut changed = token.reveal().as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(links().open_password_reset(&changed).is_none(), "character {at}");
        }
        for text in ["", "AAAA", &"A".repeat(1000), "ä"] {
            assert!(links().open_password_reset(text).is_none());
        }
    }

    /// CC-LOG-002
    #[test]
    fn a_token_does_not_reach_a_log() {
        let token = links().password_reset(PersonId(Uuid::from_u128(5)), then());
        assert!(!format!("{token:?}").contains(token.reveal()));
    }

    /// NFR-SEC-006
    #[test]
    fn a_code_is_eight_digits_of_person_challenge_and_time_and_is_the_same_when_it_is_made_again() {
        let (ann, ben) = (PersonId(Uuid::from_u128(5)), PersonId(Uuid::from_u128(6)));
        let (one, two) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let code = links().login_code(ann, one, then());
        assert!(code.reveal().len() == 8 && code.reveal().bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(code.reveal(), links().login_code(ann, one, then()).reveal());
        let later = then() + chrono::TimeDelta::microseconds(1);
        for other in [
            links().login_code(ben, one, then()),
            links().login_code(ann, two, then()),
            links().login_code(ann, one, later),
            Links::new(&[8; 32]).login_code(ann, one, then()),
        ] {
            assert_ne!(code.reveal(), other.reveal());
        }
        let hash = |of, challenge, code: &str| links().login_code_hash(of, challenge, code);
        let kept = hash(ann, one, code.reveal());
        let (first, last) = code.reveal().split_at(4);
        assert_eq!(kept, hash(ann, one, &format!(" {first} {last}\n")));
        assert_ne!(kept, hash(ann, two, code.reveal()));
        assert_ne!(kept, hash(ben, one, code.reveal()));
        assert!(!format!("{code:?}").contains(code.reveal()));
    }
}
