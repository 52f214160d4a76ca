//! How a person signs in and stays in: password, second factor, sessions (REQUIREMENTS §3).
//!
//! Part of the person's aggregate, so that one decision sees all of it: a password that was changed meanwhile signs nobody
//! in, a code can't be used twice, and whatever ends sessions ends those that are just beginning.

mod acceptance;
mod risk;
mod room;
mod totp;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Origin, PersonId, Personal, SessionId, TenantId};
use schemas::events::UserEvent;
use schemas::values::{LoginMethod, PasswordChange, PasswordHash, SecretHash, SessionEnd, TotpSecret};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::UserRejection;
use super::passkeys::{Assertion, Passkey, Passkeys};
pub use risk::{ChallengeLogin, MailedCode, is_unusual};
use risk::{History, MailedCodes};
pub use room::SSO_SESSIONS_MAX;
use totp::step_of;
pub use totp::{TOTP_DIGITS, TOTP_STEP_S, Totp};

/// How many sessions a person may have at once; one more ends the one used longest ago.
pub const SESSIONS_MAX: usize = 50;
/// How many devices of a person are remembered; those seen last.
pub const DEVICES_MAX: usize = 50;
/// How many links to choose another password are good at a time: whoever asks in somebody's name must not void theirs.
pub const LINKS_MAX: usize = 5;
/// For how long a former refresh token still gets its successor: answers get lost, and pages are opened twice.
pub const REFRESH_GRACE: TimeDelta = TimeDelta::seconds(10);

/// What a person signs in with, and where they are signed in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SignIn {
    pub password: Option<Personal<PasswordHash>>,
    pub totp: Option<Totp>,
    pub passkeys: Passkeys,
    /// The hashes of those that are left. They go with the last second factor.
    pub recovery_codes: BTreeSet<SecretHash>,
    pub sessions: BTreeMap<SessionId, Session>,
    /// Devices that signed in, the last at the end.
    pub devices: Vec<Uuid>,
    /// Links that were asked for since the password is this one, the last at the end.
    resets: Vec<ResetLink>,
    history: History,
    mailed_codes: MailedCodes,
}

/// A session that has not ended. It may have expired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub tenant: Option<TenantId>,
    pub method: LoginMethod,
    pub device: Uuid,
    pub origin: Option<Personal<Origin>>,
    pub began_at: DateTime<Utc>,
    pub refreshed_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    token_hash: SecretHash,
    /// The token before.
    former_hash: Option<SecretHash>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ResetLink {
    token_hash: SecretHash,
    expires_at: DateTime<Utc>,
}

/// A login whose first proof was verified.
#[derive(Clone, Debug)]
pub struct LogIn {
    pub session: SessionId,
    /// `None`: for all tenants that the person belongs to.
    pub tenant: Option<TenantId>,
    pub checked: Checked,
    pub second_factor: Option<SecondFactor>,
    /// An unusual login is refused without a second factor or a mailed code.
    pub asks_if_unusual: bool,
    pub device: Uuid,
    pub origin: Option<Origin>,
    /// Of the first refresh token.
    pub token_hash: SecretHash,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// What a login rests on first.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// The hash that the password was verified against.
    Password(PasswordHash),
    /// Two factors at once: none beside it is looked at.
    Passkey(Assertion),
    /// An OpenID provider of the tenant's vouched for them; and for a second factor, if it is trusted with that.
    Sso { second_factor: bool },
}

/// What is shown beside the password.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondFactor {
    /// A one-time code, six digits.
    Totp(String),
    /// The hash of a recovery code.
    RecoveryCode(SecretHash),
    Passkey(Assertion),
    /// The hash of a code that was mailed, and for which challenge. It proves the mailbox, and is no second factor.
    MailedCode {
        challenge: Uuid,
        hash: SecretHash,
    },
}

impl Checked {
    pub fn method(&self) -> LoginMethod {
        match self {
            Self::Password(_) => LoginMethod::Password,
            Self::Passkey(_) => LoginMethod::Passkey,
            Self::Sso { .. } => LoginMethod::Sso,
        }
    }
}

impl Session {
    /// True if it can be used at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.expires_at
    }

    /// True if it is good for a tenant: for that one, or for all of the person's.
    pub fn reaches(&self, tenant: TenantId) -> bool {
        self.tenant.is_none_or(|own| own == tenant)
    }
}

pub(super) type Decided = Result<Vec<UserEvent>, UserRejection>;

impl SignIn {
    fn current(&self) -> Option<&PasswordHash> {
        self.password.as_ref().and_then(Personal::reveal)
    }

    pub(super) fn change_password(&self, of: PersonId, former: &PasswordHash, hash: PasswordHash) -> Decided {
        let current = self.current().ok_or(UserRejection::InvalidCredentials)?;
        if *current == hash {
            return Ok(Vec::new());
        }
        if current != former {
            return Err(UserRejection::InvalidCredentials);
        }
        let because = PasswordChange::Changed;
        Ok(vec![UserEvent::PasswordChanged { hash: Personal::new(of, hash), because }])
    }

    pub(super) fn reset_password(
        &self,
        of: PersonId,
        token_hash: &SecretHash,
        hash: PasswordHash,
        now: DateTime<Utc>,
    ) -> Decided {
        if self.current() == Some(&hash) {
            return Ok(Vec::new());
        }
        self.may_reset(token_hash, now)?;
        let because = PasswordChange::Reset;
        Ok(vec![UserEvent::PasswordChanged { hash: Personal::new(of, hash), because }])
    }

    pub(super) fn request_reset(&self, token_hash: SecretHash, expires_at: DateTime<Utc>) -> Vec<UserEvent> {
        if self.resets.iter().any(|link| link.token_hash == token_hash) {
            return Vec::new();
        }
        vec![UserEvent::PasswordResetRequested { token_hash, expires_at }]
    }

    /// Whether a link to choose another password is good.
    ///
    /// # Errors
    /// It is none of the last ones, was used, or has expired.
    pub fn may_reset(&self, token_hash: &SecretHash, now: DateTime<Utc>) -> Result<(), UserRejection> {
        let link = self.resets.iter().find(|link| link.token_hash == *token_hash);
        let link = link.ok_or(UserRejection::LinkInvalid)?;
        if link.expires_at <= now {
            return Err(UserRejection::LinkExpired { expired_at: link.expires_at });
        }
        Ok(())
    }

    pub(super) fn rehash(&self, of: PersonId, former: &PasswordHash, hash: PasswordHash) -> Decided {
        match self.current() {
            Some(current) if *current == hash => Ok(Vec::new()),
            Some(current) if current == former => {
                Ok(vec![UserEvent::PasswordRehashed { hash: Personal::new(of, hash) }])
            }
            _ => Err(UserRejection::InvalidCredentials),
        }
    }

    pub(super) fn log_in(&self, of: PersonId, wish: LogIn) -> Decided {
        if self.sessions.contains_key(&wish.session) {
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        match &wish.checked {
            Checked::Password(hash) if self.current() != Some(hash) => {
                return Err(UserRejection::InvalidCredentials);
            }
            Checked::Sso { second_factor: true } => {
                events.push(UserEvent::MfaVerified { step: None, recovery_code: None });
            }
            Checked::Password(_) | Checked::Sso { second_factor: false } => {
                events.extend(self.verify(wish.second_factor.as_ref(), wish.now)?);
            }
            Checked::Passkey(shown) => {
                let used = self.passkeys.accept(shown, wish.now);
                events.push(used.ok_or(UserRejection::InvalidCredentials)?);
            }
        }
        // What is unusual about what a provider vouches for, that judges.
        let by_sso = matches!(wish.checked, Checked::Sso { .. });
        let risk = || self.risk(wish.device, wish.origin.as_ref(), wish.now);
        let risk = if by_sso { Vec::new() } else { risk() };
        let password_alone = matches!(wish.checked, Checked::Password(_)) && wish.second_factor.is_none();
        if wish.asks_if_unusual && password_alone && is_unusual(&risk) {
            return Err(UserRejection::MailedCodeRequired);
        }
        let challenge = match wish.second_factor {
            Some(SecondFactor::MailedCode { challenge, .. }) => Some(challenge),
            _ => None,
        };
        events.extend(self.makes_room(&wish));
        events.push(UserEvent::LoginSucceeded {
            session: wish.session,
            tenant: wish.tenant,
            method: wish.checked.method(),
            device: wish.device,
            new_device: !self.devices.contains(&wish.device),
            origin: wish.origin.map(|origin| Personal::new(of, origin)),
            token_hash: wish.token_hash,
            at: wish.now,
            expires_at: wish.expires_at,
            risk,
            challenge,
        });
        Ok(events)
    }

    /// The event that uses a second factor up; none if none is needed.
    fn verify(
        &self,
        shown: Option<&SecondFactor>,
        now: DateTime<Utc>,
    ) -> Result<Option<UserEvent>, UserRejection> {
        // What can't be verified was not shown.
        let used = match shown {
            None if self.has_second_factor() => return Err(UserRejection::SecondFactorRequired),
            None => return Ok(None),
            Some(SecondFactor::Totp(code)) => {
                let step = self.totp.as_ref().and_then(|totp| totp.step_of(code, now));
                step.map(|step| UserEvent::MfaVerified { step: Some(step), recovery_code: None })
            }
            Some(SecondFactor::RecoveryCode(hash)) => {
                let known = self.recovery_codes.get(hash).cloned();
                known.map(|hash| UserEvent::MfaVerified { step: None, recovery_code: Some(hash) })
            }
            Some(SecondFactor::Passkey(shown)) => self.passkeys.accept(shown, now),
            // The login uses it up.
            Some(SecondFactor::MailedCode { challenge, hash }) => {
                return self.verify_mailed(*challenge, hash, now).map(|()| None);
            }
        };
        used.map(Some).ok_or(UserRejection::SecondFactorWrong)
    }

    pub(super) fn refresh(
        &self,
        session: SessionId,
        presented: &SecretHash,
        successor: SecretHash,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Decided {
        let known = self.sessions.get(&session).filter(|known| known.is_live(now));
        let known = known.ok_or(UserRejection::SessionEnded)?;
        if known.token_hash == *presented {
            return Ok(vec![UserEvent::TokenRefreshed {
                session,
                token_hash: successor,
                at: now,
                expires_at,
            }]);
        }
        let follows = known.former_hash.as_ref() == Some(presented) && known.token_hash == successor;
        if follows && now <= known.refreshed_at + REFRESH_GRACE {
            return Ok(Vec::new());
        }
        Err(UserRejection::TokenReused)
    }

    pub(super) fn end_in(&self, tenant: TenantId, because: SessionEnd) -> Vec<UserEvent> {
        let reach = self.sessions.iter().filter(|(_, session)| session.reaches(tenant));
        reach.map(|(session, _)| UserEvent::SessionRevoked { session: *session, because }).collect()
    }

    pub(super) fn enrol(
        &self,
        of: PersonId,
        secret: TotpSecret,
        code: &str,
        recovery_codes: Vec<SecretHash>,
        by: SessionId,
        now: DateTime<Utc>,
    ) -> Decided {
        if let Some(totp) = &self.totp {
            let same = totp.secret.reveal() == Some(&secret);
            return if same { Ok(Vec::new()) } else { Err(UserRejection::SecondFactorAlreadySet) };
        }
        self.goes_on(by, now)?;
        let step = step_of(&secret, code, now).ok_or(UserRejection::SecondFactorWrong)?;
        let enrolled = UserEvent::MfaEnrolled { secret: Personal::new(of, secret), step, recovery_codes };
        Ok(std::iter::once(enrolled).chain(self.end_all_but(by)).collect())
    }

    /// A wish may be on its way while what it was made in ends: then it must not outlive that.
    ///
    /// # Errors
    /// The session has ended, or was none.
    pub(super) fn goes_on(&self, session: SessionId, now: DateTime<Utc>) -> Result<(), UserRejection> {
        let known = self.sessions.get(&session).is_some_and(|session| session.is_live(now));
        if known { Ok(()) } else { Err(UserRejection::SessionEnded) }
    }

    /// Whoever else has the password signs in again, with the second factor.
    pub(super) fn end_all_but(&self, by: SessionId) -> impl Iterator<Item = UserEvent> {
        let others = self.sessions.keys().filter(move |session| **session != by);
        let because = SessionEnd::SecondFactor;
        others.map(move |session| UserEvent::SessionRevoked { session: *session, because })
    }

    pub(super) fn replace_recovery_codes(&self, recovery_codes: Vec<SecretHash>) -> Decided {
        if !self.has_second_factor() {
            return Err(UserRejection::NoSecondFactor);
        }
        let same = self.recovery_codes.iter().eq(recovery_codes.iter().collect::<BTreeSet<_>>());
        Ok(if same { Vec::new() } else { vec![UserEvent::RecoveryCodesReplaced { recovery_codes }] })
    }

    /// Recovery codes stand in for a second factor; without any they are worth nothing.
    fn forget_idle_codes(&mut self) {
        if !self.has_second_factor() {
            self.recovery_codes.clear();
        }
    }

    /// Folds what concerns signing in; what doesn't is the person's.
    pub(super) fn evolve(&mut self, event: &UserEvent) {
        match event {
            UserEvent::PasswordChanged { hash, because } => {
                self.password = Some(hash.clone());
                self.sessions.clear();
                self.resets.clear();
                self.mailed_codes.clear();
                // Somebody else may have had the former one: where they signed in is no reason for trust.
                if *because == PasswordChange::Reset {
                    self.devices.clear();
                    self.history.clear();
                }
            }
            // Whoever reads the former mailbox is nobody we know any more.
            UserEvent::EmailChanged { .. } => {
                self.resets.clear();
                self.mailed_codes.clear();
                self.devices.clear();
            }
            UserEvent::PasswordRehashed { hash } => self.password = Some(hash.clone()),
            UserEvent::PasswordResetRequested { token_hash, expires_at } => {
                self.resets.push(ResetLink { token_hash: token_hash.clone(), expires_at: *expires_at });
                let too_many = self.resets.len().saturating_sub(LINKS_MAX);
                self.resets.drain(..too_many);
            }
            UserEvent::LoginSucceeded {
                session,
                tenant,
                method,
                device,
                new_device: _,
                origin,
                token_hash,
                at,
                expires_at,
                risk: _,
                challenge,
            } => {
                // A tenant's provider makes no device and no network of the person's better known in others.
                if *method != LoginMethod::Sso {
                    self.history.remember(*device, origin.as_ref(), *at);
                    self.knows_device(*device);
                }
                if let Some(used) = challenge {
                    self.mailed_codes.used(*used);
                }
                self.sessions.retain(|_, session| session.is_live(*at));
                let begun = Session {
                    tenant: *tenant,
                    method: *method,
                    device: *device,
                    origin: origin.clone(),
                    began_at: *at,
                    refreshed_at: *at,
                    expires_at: *expires_at,
                    token_hash: token_hash.clone(),
                    former_hash: None,
                };
                self.sessions.insert(*session, begun);
            }
            UserEvent::LoginChallenged { .. } => self.mailed(event),
            UserEvent::TokenRefreshed { session, token_hash, at, expires_at } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    let former = std::mem::replace(&mut session.token_hash, token_hash.clone());
                    session.former_hash = Some(former);
                    session.refreshed_at = *at;
                    session.expires_at = *expires_at;
                }
            }
            UserEvent::RefreshReuseDetected { session }
            | UserEvent::SessionRevoked { session, because: _ } => {
                self.sessions.remove(session);
            }
            UserEvent::SessionsRevoked { because: _ } => self.sessions.clear(),
            UserEvent::MfaEnrolled { secret, step, recovery_codes } => {
                self.totp = Some(Totp { secret: secret.clone(), last_step: *step });
                self.recovery_codes = recovery_codes.iter().cloned().collect();
            }
            UserEvent::MfaVerified { step, recovery_code } => {
                if let (Some(totp), Some(step)) = (&mut self.totp, step) {
                    totp.last_step = *step;
                }
                if let Some(used) = recovery_code {
                    self.recovery_codes.remove(used);
                }
            }
            UserEvent::RecoveryCodesReplaced { recovery_codes } => {
                self.recovery_codes = recovery_codes.iter().cloned().collect();
            }
            UserEvent::MfaRemoved {} => {
                self.totp = None;
                self.forget_idle_codes();
            }
            UserEvent::PasskeyAdded { passkey, name, credential, record, counter, at } => {
                let (name, credential, record) = (name.clone(), credential.clone(), record.clone());
                let key = Passkey { name, credential, record, counter: *counter, added_at: *at };
                self.passkeys.added(*passkey, key);
            }
            UserEvent::PasskeyUsed { passkey, counter, challenge, challenge_expires_at, at } => {
                self.passkeys.used(*passkey, *counter, (challenge, *challenge_expires_at), *at);
            }
            UserEvent::PasskeyRemoved { passkey } => {
                self.passkeys.removed(*passkey);
                self.forget_idle_codes();
            }
            UserEvent::Registered { .. }
            | UserEvent::ProfileUpdated { .. }
            | UserEvent::Activated {}
            | UserEvent::Disabled { .. }
            | UserEvent::Enabled {}
            | UserEvent::TokenIssued { .. }
            | UserEvent::TokenRevoked { .. }
            | UserEvent::SubjectForgotten {} => {}
        }
    }
}

#[cfg(test)]
mod tests;
