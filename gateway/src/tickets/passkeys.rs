//! What a passkey is asked to sign. The challenge is derived from a ticket that the client keeps, so that nothing is stored
//! between the question and the answer.

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use kernel::PersonId;
use schemas::values::SecretHash;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Challenge, Cut, Fields, Tickets, hash_of};

/// How long a passkey may take to answer.
pub const PASSKEY_TTL: TimeDelta = TimeDelta::minutes(5);

/// What a passkey is asked to sign, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// 256 bits that nobody guesses without the deployment's key (WebAuthn Level 3, §13.4.3, asks for 128).
    pub challenge: [u8; 32],
    pub expires_at: DateTime<Utc>,
}

impl Asked {
    /// What is kept of a challenge once it was answered.
    pub fn hash(&self) -> SecretHash {
        hash_of(&self.challenge)
    }
}

/// Tickets to enrol and to sign in are told apart by their tags.
const ENROL: &[u8] = b"passkey/enrol";
const SIGN_IN: &[u8] = b"passkey/sign-in";

impl Tickets {
    /// Asks for a new passkey of a person's. `nonce`: random.
    pub fn passkey_enrolment(
        &self,
        person: PersonId,
        nonce: [u8; 16],
        now: DateTime<Utc>,
    ) -> (Asked, Zeroizing<String>) {
        self.ask(ENROL, person.0, nonce, now)
    }

    /// `None`: it is none of this person's, or too old.
    pub fn read_passkey_enrolment(&self, person: PersonId, text: &str, now: DateTime<Utc>) -> Option<Asked> {
        self.asked(ENROL, person.0, text, now)
    }

    /// Asks for a passkey, whosever. `nonce`: random.
    pub fn passkey_sign_in(&self, nonce: [u8; 16], now: DateTime<Utc>) -> (Asked, Zeroizing<String>) {
        self.ask(SIGN_IN, Uuid::nil(), nonce, now)
    }

    /// `None`: it is none of ours, or too old.
    pub fn read_passkey_sign_in(&self, text: &str, now: DateTime<Utc>) -> Option<Asked> {
        self.asked(SIGN_IN, Uuid::nil(), text, now)
    }

    /// What a passkey signs after the password: no other ticket is needed than the challenge.
    pub fn passkey_second_factor(&self, challenge: &Challenge) -> Asked {
        let said = self.challenge_text(challenge);
        let tag = self.tag(b"passkey/second-factor", said.as_bytes());
        Asked { challenge: bytes(&tag), expires_at: challenge.expires_at }
    }

    /// What an account is called while a passkey of it is tried.
    pub fn passkey_account(&self, person: PersonId) -> [u8; 32] {
        self.account_of(b"account/passkey", person)
    }

    fn ask(
        &self,
        purpose: &[u8],
        of: Uuid,
        nonce: [u8; 16],
        now: DateTime<Utc>,
    ) -> (Asked, Zeroizing<String>) {
        let expires_at = now + PASSKEY_TTL;
        let said = Fields::default().number(expires_at.timestamp_micros()).id(of).bytes(&nonce);
        let challenge = bytes(&self.tag(b"passkey/challenge", &said.0));
        (Asked { challenge, expires_at }, self.seal(purpose, &said.0))
    }

    fn asked(&self, purpose: &[u8], of: Uuid, text: &str, now: DateTime<Utc>) -> Option<Asked> {
        let said = self.open(purpose, text)?;
        let mut cut = Cut(&said);
        let expires_at = DateTime::from_timestamp_micros(cut.number()?)?;
        let (whose, _) = (cut.id()?, cut.bytes::<16>()?);
        cut.end()?;
        let challenge = bytes(&self.tag(b"passkey/challenge", &said));
        (whose == of && now < expires_at).then_some(Asked { challenge, expires_at })
    }
}

fn bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::values::PasswordHash;

    fn tickets() -> Tickets {
        Tickets::new(&[3; 32])
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn person(number: u128) -> PersonId {
        PersonId(Uuid::from_u128(number))
    }

    #[test]
    fn a_ticket_asks_the_same_again_of_the_same_person_for_five_minutes_and_for_one_purpose() {
        let (asked, ticket) = tickets().passkey_enrolment(person(1), [7; 16], now());
        let later = now() + PASSKEY_TTL - TimeDelta::seconds(1);
        assert_eq!(tickets().read_passkey_enrolment(person(1), &ticket, later), Some(asked.clone()));
        assert_eq!(tickets().read_passkey_enrolment(person(1), &ticket, now() + PASSKEY_TTL), None);
        assert_eq!(tickets().read_passkey_enrolment(person(2), &ticket, now()), None);
        assert_eq!(tickets().read_passkey_sign_in(&ticket, now()), None);
        assert_eq!(Tickets::new(&[4; 32]).read_passkey_enrolment(person(1), &ticket, now()), None);
        let (other, _) = tickets().passkey_enrolment(person(1), [8; 16], now());
        assert_ne!(other.challenge, asked.challenge);
        let (asked, ticket) = tickets().passkey_sign_in([7; 16], now());
        assert_eq!(tickets().read_passkey_sign_in(&ticket, now()), Some(asked));
        assert_eq!(tickets().read_passkey_enrolment(PersonId(Uuid::nil()), &ticket, now()), None);
    }

    #[test]
    fn each_challenge_after_a_password_asks_for_something_else() {
        let hash: PasswordHash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA".parse().unwrap();
        let device = (Uuid::from_u128(9), true);
        let of = |now| tickets().passkey_second_factor(&Challenge::new(person(1), None, device, &hash, now));
        let asked = of(now());
        assert_eq!(of(now()), asked);
        assert_ne!(of(now() + TimeDelta::microseconds(1)).challenge, asked.challenge);
        let challenge = Challenge::new(person(1), None, device, &hash, now());
        let read = tickets().read_challenge(&tickets().challenge_text(&challenge), now()).unwrap();
        assert_eq!(tickets().passkey_second_factor(&read), asked);
    }
}
