//! What a sign-in by a tenant's provider has to remember until its answer comes. All of it is derived from a ticket that the
//! browser keeps in a cookie, so that nothing is stored, and nothing in the cookie needs hiding.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use kernel::{SessionId, SsoProviderId, TenantId};
use schemas::values::{SecretHash, SsoClientId, SsoIssuer};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Cut, Fields, Tickets};

/// How long somebody may take at the provider.
pub const SSO_TTL: TimeDelta = TimeDelta::minutes(10);

const SIGN_IN: &[u8] = b"sso/sign-in";

/// A sign-in that is under way.
pub struct SsoAsked {
    pub provider: SsoProviderId,
    /// Comes back with the browser: nobody can have another browser finish what they began (RFC 6749 §10.12).
    pub state: String,
    /// Comes back in the ID token, so that it is good for this sign-in alone (OpenID Connect Core §3.1.2.1).
    pub nonce: Zeroizing<String>,
    /// Only whoever has it gets something for the code (RFC 7636).
    pub verifier: Zeroizing<String>,
    /// The one session that can come of it.
    pub session: SessionId,
}

/// That a provider vouched for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsoProof {
    pub provider: SsoProviderId,
    pub tenant: TenantId,
    /// When they proved to it who they are, as far as that makes them fresh.
    pub authenticated_at: DateTime<Utc>,
}

impl SsoAsked {
    /// True if the browser comes back from where it was sent to. In constant time.
    pub fn is_answered_by(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }
}

impl Tickets {
    /// Begins a sign-in: what is asked, and what the browser keeps. `random`: 16 random bytes.
    pub fn sso_sign_in(
        &self,
        provider: SsoProviderId,
        random: [u8; 16],
        now: DateTime<Utc>,
    ) -> (SsoAsked, Zeroizing<String>) {
        let expires_at = (now + SSO_TTL).timestamp_micros();
        let said = Fields::default().number(expires_at).id(provider.0).bytes(&random);
        (self.sso_asked(provider, &said.0), self.seal(SIGN_IN, &said.0))
    }

    /// `None`: it is none of ours, or too old.
    pub fn read_sso_sign_in(&self, text: &str, now: DateTime<Utc>) -> Option<SsoAsked> {
        let said = self.open(SIGN_IN, text)?;
        let mut cut = Cut(&said);
        let expires_at = DateTime::from_timestamp_micros(cut.number()?)?;
        let (provider, _) = (cut.id()?, cut.bytes::<16>()?);
        cut.end()?;
        (now < expires_at).then(|| self.sso_asked(provider.into(), &said))
    }

    fn sso_asked(&self, provider: SsoProviderId, said: &[u8]) -> SsoAsked {
        let text = |purpose: &[u8]| URL_SAFE_NO_PAD.encode(self.tag(purpose, said));
        let mut session = [0; 16];
        session.copy_from_slice(&self.tag(b"sso/session", said).as_ref()[..16]);
        SsoAsked {
            provider,
            state: text(b"sso/state"),
            nonce: text(b"sso/nonce").into(),
            verifier: text(b"sso/verifier").into(),
            session: SessionId(uuid::Builder::from_random_bytes(session).into_uuid()),
        }
    }

    /// As whom a provider of a tenant's knows somebody, where it must not be read.
    pub fn sso_identity(
        &self,
        tenant: TenantId,
        issuer: &SsoIssuer,
        client: &SsoClientId,
        subject: &str,
    ) -> SecretHash {
        let mut said = Fields::default().id(tenant.0);
        for text in [issuer.as_str(), client.as_str(), subject] {
            said = said.number(i64::try_from(text.len()).unwrap_or(i64::MAX)).bytes(text.as_bytes());
        }
        hex::encode(self.tag(b"sso/identity", &said.0)).parse().expect("64 lower-case hex digits")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::tickets::Challenge;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn tickets() -> Tickets {
        Tickets::new(&[3; 32])
    }

    #[test]
    fn a_ticket_says_the_same_again_for_ten_minutes_and_every_part_is_another() {
        let provider = SsoProviderId(Uuid::from_u128(1));
        let (asked, ticket) = tickets().sso_sign_in(provider, [7; 16], now());
        let again = tickets().read_sso_sign_in(&ticket, now() + SSO_TTL - TimeDelta::seconds(1)).unwrap();
        assert_eq!(
            (again.provider, &again.state, &*again.nonce, &*again.verifier, again.session),
            (provider, &asked.state, &*asked.nonce, &*asked.verifier, asked.session)
        );
        assert!(
            again.is_answered_by(&asked.state)
                && !again.is_answered_by("")
                && !again.is_answered_by(&asked.nonce)
        );
        assert!(tickets().read_sso_sign_in(&ticket, now() + SSO_TTL).is_none());
        assert!(Tickets::new(&[4; 32]).read_sso_sign_in(&ticket, now()).is_none());
        assert!(tickets().read_passkey_sign_in(&ticket, now()).is_none(), "nor is it another ticket");
        let (other, _) = tickets().sso_sign_in(provider, [8; 16], now());
        assert!(other.state != asked.state && other.session != asked.session);
        // RFC 7636 §4.1
        assert!(asked.verifier.len() >= 43 && asked.state != *asked.nonce && *asked.nonce != *asked.verifier);
    }

    #[test]
    fn a_challenge_after_it_says_so_and_is_about_no_password() {
        let proof = SsoProof {
            provider: SsoProviderId(Uuid::from_u128(1)),
            tenant: TenantId(Uuid::from_u128(2)),
            authenticated_at: now() - TimeDelta::seconds(5),
        };
        let person = kernel::PersonId(Uuid::from_u128(3));
        let challenge = Challenge::of_sso(person, proof, Uuid::from_u128(4), now());
        let text = tickets().challenge_text(&challenge);
        assert_eq!(tickets().read_challenge(&text, now()), Some(challenge));
        assert_eq!(tickets().read_challenge(&text, challenge.expires_at), None);
        let hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA".parse().unwrap();
        assert!(!challenge.is_about(&hash));
    }

    #[test]
    fn nobody_is_somebody_elses_identity() {
        let of = |tenant, issuer: &str, client: &str, subject: &str| {
            let (issuer, client) = (issuer.parse().unwrap(), client.parse().unwrap());
            tickets().sso_identity(TenantId(Uuid::from_u128(tenant)), &issuer, &client, subject)
        };
        let known = of(1, "https://a.example", "c", "1");
        assert_eq!(of(1, "https://a.example", "c", "1"), known);
        for other in [
            of(2, "https://a.example", "c", "1"),
            of(1, "https://b.example", "c", "1"),
            of(1, "https://a.example", "d", "1"),
            of(1, "https://a.example", "c", "2"),
            of(1, "https://a.example", "c1", ""),
            of(1, "https://a.examplec", "1", ""),
        ] {
            assert_ne!(other, known);
        }
    }
}
