//! Passkeys: key pairs that a person's authenticators hold (WebAuthn). Two factors at once, as an authenticator signs only
//! for whoever it has recognised: alone they sign in, and they are a second factor after the password.
//!
//! What an authenticator signed was verified before, against the record that the command says. Here it is decided that
//! the passkey is still that one, that its counter goes on, and that nobody answered the challenge before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kernel::{Claim, ClaimChange, PasskeyId, PersonId, Personal, SessionId};
use schemas::events::UserEvent;
use schemas::values::{CredentialId, CredentialRecord, PasskeyName, SecretHash, SessionEnd};
use serde::{Deserialize, Serialize};

use super::sign_in::{Decided, SignIn};
use super::{UserRejection, unless};

/// The claim on a credential's id: one credential is one person's (WebAuthn Level 3, §7.1, step 26).
pub const CREDENTIAL_CLAIM: &str = "user.credential";
/// How many passkeys a person may have.
pub const PASSKEYS_MAX: usize = 10;
/// How many answered challenges of a person are remembered at once; one more signs nobody in until some are too old.
pub const ANSWERED_MAX: usize = 100;

/// A person's passkeys, and what they answered lately.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Passkeys {
    keys: BTreeMap<PasskeyId, Passkey>,
    /// The hashes of challenges that were answered, each with the time from which it is too old anyway.
    answered: BTreeMap<SecretHash, DateTime<Utc>>,
}

/// One passkey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passkey {
    pub name: Personal<PasskeyName>,
    pub credential: Personal<CredentialId>,
    pub record: Personal<CredentialRecord>,
    /// What the authenticator said last; 0 if it doesn't count.
    pub counter: u32,
    pub added_at: DateTime<Utc>,
}

/// What may be wished of a person's passkeys.
#[derive(Clone, Debug)]
pub enum PasskeyCommand {
    Add(Box<NewPasskey>),
    Remove { passkey: PasskeyId },
}

/// A passkey whose registration was verified.
#[derive(Clone, Debug)]
pub struct NewPasskey {
    pub passkey: PasskeyId,
    pub name: PasskeyName,
    pub credential: CredentialId,
    pub record: CredentialRecord,
    pub counter: u32,
    /// If it is the first second factor, all sessions but this one end.
    /// For whoever has no second factor yet; they count with the passkey, or not at all.
    pub recovery_codes: Vec<SecretHash>,
    pub by: SessionId,
    pub now: DateTime<Utc>,
}

/// An assertion whose signature, origin and challenge were verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    pub passkey: PasskeyId,
    /// The record that it was verified against.
    pub checked: CredentialRecord,
    pub counter: u32,
    /// The hash of the challenge.
    pub challenge: SecretHash,
    pub challenge_expires_at: DateTime<Utc>,
}

impl Passkeys {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (PasskeyId, &Passkey)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }

    pub fn get(&self, passkey: PasskeyId) -> Option<&Passkey> {
        self.keys.get(&passkey)
    }

    /// The one that an authenticator calls so.
    pub fn of_credential(&self, credential: &CredentialId) -> Option<(PasskeyId, &Passkey)> {
        self.iter().find(|(_, key)| key.credential.reveal() == Some(credential))
    }

    /// The claims of all.
    pub(super) fn claims(&self) -> impl Iterator<Item = Claim> {
        self.keys.values().filter_map(|key| claim(&key.credential))
    }

    /// What becomes of a credential's claim by an event that adds a passkey or removes it.
    pub(super) fn claim(&self, event: &UserEvent) -> Option<ClaimChange> {
        if let UserEvent::PasskeyAdded { credential, .. } = event {
            return claim(credential).map(ClaimChange::Take);
        }
        let UserEvent::PasskeyRemoved { passkey } = event else { return None };
        self.get(*passkey).and_then(|key| claim(&key.credential)).map(ClaimChange::Free)
    }

    /// The event that uses an assertion up. `None`: it proves nothing any more.
    pub(super) fn accept(&self, shown: &Assertion, now: DateTime<Utc>) -> Option<UserEvent> {
        let key = self.get(shown.passkey)?;
        let unchanged = key.record.reveal() == Some(&shown.checked);
        // One that counts says more each time; else there may be a copy of it (WebAuthn Level 3, §7.2, step 22).
        let goes_on = shown.counter > key.counter || (shown.counter, key.counter) == (0, 0);
        let is_new = now < shown.challenge_expires_at && !self.answered.contains_key(&shown.challenge);
        let has_room = self.answered.values().filter(|end| now < **end).count() < ANSWERED_MAX;
        (unchanged && goes_on && is_new && has_room).then(|| UserEvent::PasskeyUsed {
            passkey: shown.passkey,
            counter: shown.counter,
            challenge: shown.challenge.clone(),
            challenge_expires_at: shown.challenge_expires_at,
            at: now,
        })
    }

    pub(super) fn added(&mut self, passkey: PasskeyId, key: Passkey) {
        self.keys.insert(passkey, key);
    }

    pub(super) fn used(
        &mut self,
        passkey: PasskeyId,
        counter: u32,
        challenge: (&SecretHash, DateTime<Utc>),
        at: DateTime<Utc>,
    ) {
        if let Some(key) = self.keys.get_mut(&passkey) {
            key.counter = counter;
        }
        let (hash, expires_at) = challenge;
        self.answered.retain(|_, end| at < *end);
        self.answered.insert(hash.clone(), expires_at);
    }

    pub(super) fn removed(&mut self, passkey: PasskeyId) {
        self.keys.remove(&passkey);
    }
}

/// The claim on a credential, unless it was forgotten.
fn claim(credential: &Personal<CredentialId>) -> Option<Claim> {
    credential.reveal().map(|credential| Claim::new(CREDENTIAL_CLAIM, credential.as_str()))
}

impl SignIn {
    /// True if a password alone is not enough.
    pub fn has_second_factor(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }

    pub(super) fn passkey(&self, of: PersonId, command: PasskeyCommand) -> Decided {
        match command {
            PasskeyCommand::Add(wish) => self.add_passkey(of, *wish),
            PasskeyCommand::Remove { passkey } => {
                let gone = self.passkeys.get(passkey).is_none();
                Ok(unless(gone, || UserEvent::PasskeyRemoved { passkey }))
            }
        }
    }

    pub(super) fn reset_second_factors(&self) -> Vec<UserEvent> {
        let codes = self.totp.as_ref().map(|_| UserEvent::MfaRemoved {});
        let passkeys = self.passkeys.iter().map(|(passkey, _)| UserEvent::PasskeyRemoved { passkey });
        let mut events: Vec<UserEvent> = codes.into_iter().chain(passkeys).collect();
        if !events.is_empty() {
            events.push(UserEvent::SessionsRevoked { because: SessionEnd::SecondFactor });
        }
        events
    }

    fn add_passkey(&self, of: PersonId, wish: NewPasskey) -> Decided {
        if let Some((known, _)) = self.passkeys.of_credential(&wish.credential) {
            let same = known == wish.passkey;
            return if same { Ok(Vec::new()) } else { Err(UserRejection::SecondFactorAlreadySet) };
        }
        if self.passkeys.get(wish.passkey).is_some() {
            return Err(UserRejection::AlreadyExists);
        }
        if self.passkeys.keys.len() >= PASSKEYS_MAX {
            return Err(UserRejection::TooManyPasskeys);
        }
        self.goes_on(wish.by, wish.now)?;
        let mut events = vec![UserEvent::PasskeyAdded {
            passkey: wish.passkey,
            name: Personal::new(of, wish.name),
            credential: Personal::new(of, wish.credential),
            record: Personal::new(of, wish.record),
            counter: wish.counter,
            at: wish.now,
        }];
        if !self.has_second_factor() {
            // An authenticator gets lost.
            if self.recovery_codes.is_empty() && !wish.recovery_codes.is_empty() {
                let recovery_codes = wish.recovery_codes;
                events.push(UserEvent::RecoveryCodesReplaced { recovery_codes });
            }
            events.extend(self.end_all_but(wish.by));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests;
