//! What clients keep for us: refresh tokens, challenges, devices, enrolments. Each says what it says under a tag that only
//! we can make, so that most of it need not be stored, and what was never ours reaches no aggregate.

mod passkeys;
mod sso;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use kernel::{PersonId, Position, SessionId, TenantId};
use schemas::values::{EmailAddress, PasswordHash, SecretHash, TotpSecret};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::problem::Problem;
use crate::shown::Shown;

pub use passkeys::{Asked, PASSKEY_TTL};
pub use sso::{SSO_TTL, SsoAsked, SsoProof};

/// What every refresh token begins with, so that scanners for leaked secrets know it.
pub const REFRESH_PREFIX: &str = "tr_";
/// How long a session lasts without being refreshed (REQUIREMENTS §3).
pub const SESSION_IDLE_MAX: TimeDelta = TimeDelta::days(7);
/// How long it lasts at most: then its holder proves again who they are.
pub const SESSION_MAX: TimeDelta = TimeDelta::days(30);
/// How long a second factor may be shown after the password.
pub const CHALLENGE_TTL: TimeDelta = TimeDelta::minutes(5);
/// How long the first code of a second factor may be shown after its secret.
pub const ENROLMENT_TTL: TimeDelta = TimeDelta::minutes(15);
const TAG_BYTES: usize = 32;
/// Challenges after a password, and after what a tenant's provider said: told apart by their tags.
const CHALLENGE: &[u8] = b"challenge";
const CHALLENGE_OF_SSO: &[u8] = b"challenge/sso";
/// RFC 4226 §4, R6 recommends 160 bits.
const TOTP_SECRET_BYTES: usize = 20;

/// Makes and reads tickets.
#[derive(Clone)]
pub struct Tickets {
    key: hmac::Key,
}

/// A refresh token as its holder has it. All of a family say the same but for the secret.
#[derive(Clone)]
pub struct RefreshToken {
    pub person: PersonId,
    pub session: SessionId,
    pub tenant: Option<TenantId>,
    /// Where in the journal the session begins.
    pub began_at: Position,
    pub authenticated_at: DateTime<Utc>,
    pub shown: Shown,
    secret: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RefreshToken({}, …)", self.session)
    }
}

/// A password was right, or a tenant's provider vouched for somebody, and a second factor is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub person: PersonId,
    pub tenant: Option<TenantId>,
    pub device: Uuid,
    /// True if the device signed in to the account before.
    pub known_device: bool,
    pub expires_at: DateTime<Utc>,
    /// Which password: another one meanwhile makes the challenge void.
    checked: [u8; 16],
    /// The challenge whose code was mailed, if that is what goes on with it.
    pub mailed: Option<Uuid>,
    /// What a tenant's provider said, if that is what it rests on, and on no password.
    pub sso: Option<SsoProof>,
}

/// Writes fields one after the other.
#[derive(Default)]
struct Fields(Zeroizing<Vec<u8>>);

impl Fields {
    fn id(mut self, id: Uuid) -> Self {
        self.0.extend_from_slice(id.as_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn number(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }
}

/// Reads them back.
struct Cut<'a>(&'a [u8]);

impl Cut<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn id(&mut self) -> Option<Uuid> {
        self.bytes().map(Uuid::from_bytes)
    }

    fn number(&mut self) -> Option<i64> {
        self.bytes().map(i64::from_be_bytes)
    }

    fn time(&mut self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.number()?, 0)
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// No tenant is the nil id.
fn tenant(id: Uuid) -> Option<TenantId> {
    (!id.is_nil()).then_some(TenantId(id))
}

fn tenant_id(tenant: Option<TenantId>) -> Uuid {
    tenant.map_or(Uuid::nil(), |tenant| tenant.0)
}

impl RefreshToken {
    /// The SHA-256 of the secret: 256 random bits need no slower hash.
    pub fn hash(&self) -> SecretHash {
        hash_of(&self.secret)
    }

    /// Until when the session lasts if it is refreshed at `now`.
    pub fn expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let end = self.authenticated_at.checked_add_signed(SESSION_MAX).unwrap_or(DateTime::<Utc>::MAX_UTC);
        (now + SESSION_IDLE_MAX).min(end)
    }
}

/// The SHA-256 of a secret of 256 random bits.
pub fn hash_of(secret: &[u8; 32]) -> SecretHash {
    hex::encode(Sha256::digest(secret)).parse().expect("64 lower-case hex digits")
}

impl Challenge {
    pub fn new(
        person: PersonId,
        tenant: Option<TenantId>,
        (device, known_device): (Uuid, bool),
        checked: &PasswordHash,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            person,
            tenant,
            device,
            known_device,
            expires_at: now + CHALLENGE_TTL,
            checked: digest(checked),
            mailed: None,
            sso: None,
        }
    }

    /// The same after a tenant's provider vouched for somebody.
    pub fn of_sso(person: PersonId, proof: SsoProof, device: Uuid, now: DateTime<Utc>) -> Self {
        Self {
            person,
            tenant: Some(proof.tenant),
            device,
            known_device: false,
            expires_at: now + CHALLENGE_TTL,
            checked: [0; 16],
            mailed: None,
            sso: Some(proof),
        }
    }

    /// The same, to go on with a code that was mailed.
    #[must_use]
    pub fn by_mail(self, challenge: Uuid, expires_at: DateTime<Utc>) -> Self {
        Self { mailed: Some(challenge), expires_at, ..self }
    }

    fn purpose(&self) -> &'static [u8] {
        if self.sso.is_some() { CHALLENGE_OF_SSO } else { CHALLENGE }
    }

    /// True if it is about this password still.
    pub fn is_about(&self, hash: &PasswordHash) -> bool {
        self.sso.is_none() && self.checked == digest(hash)
    }
}

fn digest(hash: &PasswordHash) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(hash.as_str())[..16]);
    short
}

impl Tickets {
    /// The key is the deployment's, and known to nobody else.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The first refresh token of a session. `secret`: random; its hash is the session's.
    pub fn first_refresh_token(
        &self,
        session: (PersonId, SessionId, Option<TenantId>),
        began_at: Position,
        authenticated_at: DateTime<Utc>,
        shown: Shown,
        secret: Zeroizing<[u8; 32]>,
    ) -> RefreshToken {
        let (person, session, tenant) = session;
        RefreshToken { person, session, tenant, began_at, authenticated_at, shown, secret }
    }

    /// The one successor of a refresh token: derived, so that whoever presents the token twice gets the same one.
    pub fn successor(&self, of: &RefreshToken) -> RefreshToken {
        let mut secret = Zeroizing::new([0; 32]);
        let said = Fields::default().id(of.session.0).bytes(&*of.secret);
        secret.copy_from_slice(self.tag(b"refresh/successor", &said.0).as_ref());
        RefreshToken { secret, ..of.clone() }
    }

    pub fn refresh_text(&self, token: &RefreshToken) -> Zeroizing<String> {
        let said = Fields::default()
            .id(token.person.0)
            .id(token.session.0)
            .id(tenant_id(token.tenant))
            .number(token.began_at.0.cast_signed())
            .number(token.authenticated_at.timestamp())
            .bytes(&[token.shown.number()])
            .bytes(&*token.secret);
        let text = self.seal(b"refresh", &said.0);
        Zeroizing::new(format!("{REFRESH_PREFIX}{}", *text))
    }

    /// `None`: it is none of ours.
    pub fn read_refresh(&self, text: &str) -> Option<RefreshToken> {
        let said = self.open(b"refresh", text.strip_prefix(REFRESH_PREFIX)?)?;
        let mut cut = Cut(&said);
        let token = RefreshToken {
            person: cut.id()?.into(),
            session: cut.id()?.into(),
            tenant: tenant(cut.id()?),
            began_at: Position(cut.number()?.cast_unsigned()),
            authenticated_at: cut.time()?,
            shown: Shown::of_number(cut.bytes::<1>()?[0])?,
            secret: Zeroizing::new(cut.bytes()?),
        };
        cut.end().map(|()| token)
    }

    pub fn challenge_text(&self, challenge: &Challenge) -> Zeroizing<String> {
        let said = Fields::default()
            .id(challenge.person.0)
            .id(tenant_id(challenge.tenant))
            .id(challenge.device)
            .bytes(&[u8::from(challenge.known_device)])
            .number(challenge.expires_at.timestamp_micros())
            .bytes(&challenge.checked)
            .id(challenge.mailed.unwrap_or_default());
        let said = match challenge.sso {
            Some(SsoProof { provider, tenant: _, authenticated_at }) => {
                said.id(provider.0).number(authenticated_at.timestamp_micros())
            }
            None => said,
        };
        self.seal(challenge.purpose(), &said.0)
    }

    /// `None`: it is none of ours, or too old.
    pub fn read_challenge(&self, text: &str, now: DateTime<Utc>) -> Option<Challenge> {
        let read = |purpose: &[u8], by_sso: bool| {
            let said = self.open(purpose, text)?;
            let mut cut = Cut(&said);
            let mut challenge = Challenge {
                person: cut.id()?.into(),
                tenant: tenant(cut.id()?),
                device: cut.id()?,
                known_device: cut.bytes::<1>()? == [1],
                expires_at: DateTime::from_timestamp_micros(cut.number()?)?,
                checked: cut.bytes()?,
                mailed: cut.id().map(|id| (!id.is_nil()).then_some(id))?,
                sso: None,
            };
            if by_sso {
                let (provider, tenant) = (cut.id()?.into(), challenge.tenant?);
                let authenticated_at = DateTime::from_timestamp_micros(cut.number()?)?;
                challenge.sso = Some(SsoProof { provider, tenant, authenticated_at });
            }
            cut.end()?;
            (now < challenge.expires_at).then_some(challenge)
        };
        read(CHALLENGE, false).or_else(|| read(CHALLENGE_OF_SSO, true))
    }

    /// How an address is called where it must not be read: the same for the same address, known or not.
    pub fn account(&self, email: &EmailAddress) -> [u8; 32] {
        let mut account = [0; 32];
        account.copy_from_slice(self.tag(b"account", email.as_str().as_bytes()).as_ref());
        account
    }

    /// What an account is called while its second factor is tried.
    pub fn second_factor_account(&self, person: PersonId) -> [u8; 32] {
        self.account_of(b"account/mfa", person)
    }

    /// What an account is called while links of the person's are tried.
    pub fn link_account(&self, person: PersonId) -> [u8; 32] {
        self.account_of(b"account/link", person)
    }

    fn account_of(&self, purpose: &[u8], person: PersonId) -> [u8; 32] {
        let mut account = [0; 32];
        account.copy_from_slice(self.tag(purpose, person.0.as_bytes()).as_ref());
        account
    }

    /// By which a device shows that this account signed in on it before.
    pub fn device_text(&self, account: &[u8; 32], device: Uuid) -> Zeroizing<String> {
        let said = Fields::default().id(device).bytes(account);
        let tag = self.tag(b"device", &said.0);
        let text = Fields::default().id(device).bytes(tag.as_ref());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(&*text.0))
    }

    /// `None`: it is no device of the account's.
    pub fn read_device(&self, account: &[u8; 32], text: &str) -> Option<Uuid> {
        let mut bytes = [0; 16 + TAG_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != bytes.len() {
            return None;
        }
        let mut cut = Cut(&bytes);
        let (device, tag) = (cut.id()?, cut.bytes::<TAG_BYTES>()?);
        self.is_tag(b"device", &Fields::default().id(device).bytes(account).0, &tag).then_some(device)
    }

    /// The secret of a second factor that is about to be enrolled, and the ticket that names it again.
    pub fn enrolment(&self, person: PersonId, now: DateTime<Utc>) -> (TotpSecret, Zeroizing<String>) {
        let expires_at = now + ENROLMENT_TTL;
        let said = Fields::default().number(expires_at.timestamp_micros()).id(person.0);
        (self.totp_secret(&said.0), self.seal(b"enrolment", &said.0))
    }

    /// The secret that a ticket names. `None`: it is none of this person's, or too old.
    pub fn read_enrolment(&self, person: PersonId, text: &str, now: DateTime<Utc>) -> Option<TotpSecret> {
        let said = self.open(b"enrolment", text)?;
        let mut cut = Cut(&said);
        let (expires_at, of) = (DateTime::from_timestamp_micros(cut.number()?)?, cut.id()?);
        cut.end()?;
        (of == person.0 && now < expires_at).then(|| self.totp_secret(&said))
    }

    fn totp_secret(&self, said: &[u8]) -> TotpSecret {
        let tag = self.tag(b"enrolment/secret", said);
        hex::encode(&tag.as_ref()[..TOTP_SECRET_BYTES]).parse().expect("20 bytes in lower-case hex")
    }

    /// What is kept of a recovery code. It has 50 random bits, so that the hash needs a key.
    pub fn recovery_hash(&self, person: PersonId, code: &str) -> SecretHash {
        let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        let said = Fields::default().id(person.0).bytes(plain.to_ascii_uppercase().as_bytes());
        hex::encode(self.tag(b"recovery", &said.0)).parse().expect("64 lower-case hex digits")
    }

    pub(crate) fn seal(&self, purpose: &[u8], said: &[u8]) -> Zeroizing<String> {
        let tag = self.tag(purpose, said);
        let mut bytes = Zeroizing::new(said.to_vec());
        bytes.extend_from_slice(tag.as_ref());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes))
    }

    fn open(&self, purpose: &[u8], text: &str) -> Option<Zeroizing<Vec<u8>>> {
        // The longest is a refresh token.
        if text.len() > 256 {
            return None;
        }
        let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let said = bytes.len().checked_sub(TAG_BYTES)?;
        if !self.is_tag(purpose, &bytes[..said], &bytes[said..]) {
            return None;
        }
        bytes.truncate(said);
        Some(bytes)
    }

    fn tag(&self, purpose: &[u8], said: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose);
        context.update(said);
        context.sign()
    }

    /// In constant time.
    fn is_tag(&self, purpose: &[u8], said: &[u8], tag: &[u8]) -> bool {
        let mut message = (purpose.len() as u64).to_be_bytes().to_vec();
        message.extend_from_slice(purpose);
        message.extend_from_slice(said);
        hmac::verify(&self.key, &message, tag).is_ok()
    }
}

/// What every ticket that was not ours, or is too old, is answered with.
pub fn no_ticket() -> Problem {
    Problem::unauthenticated("invalid_token")
}

#[cfg(test)]
mod tests;
