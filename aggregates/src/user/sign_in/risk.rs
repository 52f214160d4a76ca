//! How unusual a login is, and the code that is mailed where it is unusual enough (NFR-SEC-006, CON-SEC-008).
//!
//! There is no map of where addresses are: a login is compared with the person's own last ones, by device, network and hour.

// Addresses as values: core has no sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use kernel::{Origin, PersonId, Personal};
use schemas::events::UserEvent;
use schemas::values::{PasswordHash, RiskReason, SecretHash};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Decided, SignIn};
use crate::user::UserRejection;

/// How many logins of a person are remembered; the last ones.
pub const LOGINS_MAX: usize = 20;
/// How many mailed codes are good at a time. One lasts as long as it takes to mail so many.
pub const CODES_MAX: usize = 10;
/// While a code is younger than this, no further one is mailed: whoever has the password must not fill the mailbox.
pub const MAILED_EVERY: TimeDelta = TimeDelta::minutes(1);
/// A new device somewhere else than another one of theirs so shortly before: to get from one network to another and take a new
/// device into use there takes longer. People turn from the desk to the phone faster, but that device is known.
const HURRY: TimeDelta = TimeDelta::minutes(10);
/// The time within which networks are counted.
const WANDERING: TimeDelta = TimeDelta::hours(1);
/// So many networks within that time, where other devices were in all but one of them: more than leaving home and arriving make.
const WANDERING_NETWORKS_MIN: usize = 3;
/// Fewer logins than these show no habit.
const HABIT_LOGINS_MIN: usize = 10;
/// How far an hour may be from one that the person signed in at, either way: shifts vary, and clocks are put forward.
const HABIT_HOURS: u32 = 3;
/// A login is so unusual that more than the password is asked for if its reasons weigh this much together.
const ASKED_FROM: u32 = 3;

/// How much a reason weighs. A new device and a new network each happen to everybody, so neither alone is asked about; both
/// together are, and either of them at an odd hour. The hour alone says nothing, the pace alone is enough.
const fn weight(reason: RiskReason) -> u32 {
    match reason {
        RiskReason::NewDevice | RiskReason::NewNetwork => 2,
        RiskReason::ImpossiblePace => ASKED_FROM,
        RiskReason::OddHour => 1,
    }
}

/// True if more than the password is asked for.
pub fn is_unusual(reasons: &[RiskReason]) -> bool {
    reasons.iter().copied().map(weight).sum::<u32>() >= ASKED_FROM
}

/// Where addresses are handed out together: an IPv4 /24, an IPv6 /48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(IpAddr);

// It tells where somebody is.
impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network(…)")
    }
}

impl Network {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
        })
    }

    /// `None`: no address is known, as through a socket.
    pub fn of_origin(origin: Option<&Origin>) -> Option<Self> {
        origin?.address.as_deref()?.parse().ok().map(Self::of)
    }
}

/// A login that succeeded, as far as later ones are compared with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Past {
    device: Uuid,
    network: Option<Personal<Network>>,
    at: DateTime<Utc>,
}

impl Past {
    fn network(&self) -> Option<Network> {
        self.network.as_ref().and_then(Personal::reveal).copied()
    }
}

/// The last logins of a person, the last at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct History(Vec<Past>);

impl History {
    pub fn remember(&mut self, device: Uuid, origin: Option<&Personal<Origin>>, at: DateTime<Utc>) {
        let network = origin.and_then(|origin| {
            let network = Network::of_origin(origin.reveal())?;
            Some(Personal::new(origin.of(), network))
        });
        self.0.push(Past { device, network, at });
        self.0.drain(..self.0.len().saturating_sub(LOGINS_MAX));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What is unusual about a login: nothing, if there is none to compare it with.
    fn reasons(&self, attempt: &Attempt) -> Vec<RiskReason> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let here = attempt.network;
        // Where no network is known, none is new.
        let new_network = here.is_some_and(|here| {
            let mut networks = self.0.iter().filter_map(Past::network).peekable();
            networks.peek().is_some() && networks.all(|network| network != here)
        });
        // Whoever is where they always are, with what they always have, may have left another device somewhere.
        let strange = attempt.new_device || new_network;
        let reasons = [
            (attempt.new_device, RiskReason::NewDevice),
            (new_network, RiskReason::NewNetwork),
            (strange && self.is_too_fast(attempt), RiskReason::ImpossiblePace),
            (self.is_odd_hour(attempt.at), RiskReason::OddHour),
        ];
        reasons.into_iter().filter(|(so, _)| *so).map(|(_, reason)| reason).collect()
    }

    /// Other devices were in other networks too shortly before. A device that wanders from network to network, as phones do,
    /// is one device still.
    fn is_too_fast(&self, attempt: &Attempt) -> bool {
        let Some(here) = attempt.network else { return false };
        let elsewhere = |within: TimeDelta| -> BTreeSet<Network> {
            let others = self.0.iter().filter(|past| past.device != attempt.device);
            let lately = others.filter(|past| attempt.at - past.at <= within);
            lately.filter_map(Past::network).filter(|network| *network != here).collect()
        };
        (attempt.new_device && !elsewhere(HURRY).is_empty())
            || elsewhere(WANDERING).len() + 1 >= WANDERING_NETWORKS_MIN
    }

    fn is_odd_hour(&self, at: DateTime<Utc>) -> bool {
        let apart = |past: &Past| {
            let hours = past.at.hour().abs_diff(at.hour());
            hours.min(24 - hours)
        };
        self.0.len() >= HABIT_LOGINS_MIN && self.0.iter().all(|past| apart(past) > HABIT_HOURS)
    }
}

/// A login as it is compared with those before.
struct Attempt {
    device: Uuid,
    new_device: bool,
    network: Option<Network>,
    at: DateTime<Utc>,
}

/// A login that is unusual, whose password was verified.
#[derive(Clone, Debug)]
pub struct ChallengeLogin {
    pub challenge: Uuid,
    /// The hash that the password was verified against.
    pub checked: PasswordHash,
    pub device: Uuid,
    pub origin: Option<Origin>,
    /// Of the code that is mailed, under a key.
    pub code_hash: SecretHash,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A code that was mailed and not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailedCode {
    pub challenge: Uuid,
    /// Where the login came from.
    pub origin: Option<Personal<Origin>>,
    pub mailed_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    code_hash: SecretHash,
}

/// The codes that may be good still, the last at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct MailedCodes(Vec<MailedCode>);

impl MailedCodes {
    fn mailed(&mut self, code: MailedCode) {
        self.0.retain(|former| code.mailed_at < former.expires_at);
        self.0.push(code);
        self.0.drain(..self.0.len().saturating_sub(CODES_MAX));
    }

    pub fn used(&mut self, challenge: Uuid) {
        self.0.retain(|code| code.challenge != challenge);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl SignIn {
    /// What is unusual about a login at `now`; it may come to nothing.
    pub fn risk(&self, device: Uuid, origin: Option<&Origin>, now: DateTime<Utc>) -> Vec<RiskReason> {
        let new_device = !self.devices.contains(&device);
        let network = Network::of_origin(origin);
        self.history.reasons(&Attempt { device, new_device, network, at: now })
    }

    /// A code that is good at `now`.
    pub fn mailed_code(&self, challenge: Uuid, now: DateTime<Utc>) -> Option<&MailedCode> {
        self.mailed_codes.0.iter().find(|code| code.challenge == challenge && now < code.expires_at)
    }

    /// The code that is too young for another one to be mailed.
    pub fn lately_mailed(&self, now: DateTime<Utc>) -> Option<&MailedCode> {
        self.mailed_codes.0.last().filter(|code| now < code.mailed_at + MAILED_EVERY && now < code.expires_at)
    }

    pub(in crate::user) fn challenge(&self, of: PersonId, wish: ChallengeLogin) -> Decided {
        if self.current() != Some(&wish.checked) {
            return Err(UserRejection::InvalidCredentials);
        }
        // What a mailbox proves is less.
        if self.has_second_factor() {
            return Err(UserRejection::SecondFactorRequired);
        }
        let asked = self.mailed_codes.0.iter().any(|code| code.challenge == wish.challenge);
        if asked || self.lately_mailed(wish.now).is_some() {
            return Ok(Vec::new());
        }
        Ok(vec![UserEvent::LoginChallenged {
            challenge: wish.challenge,
            risk: self.risk(wish.device, wish.origin.as_ref(), wish.now),
            device: wish.device,
            origin: wish.origin.map(|origin| Personal::new(of, origin)),
            code_hash: wish.code_hash,
            at: wish.now,
            expires_at: wish.expires_at,
        }])
    }

    /// Whether a mailed code stands in for more, where there is no second factor.
    pub(super) fn verify_mailed(
        &self,
        challenge: Uuid,
        hash: &SecretHash,
        now: DateTime<Utc>,
    ) -> Result<(), UserRejection> {
        if self.has_second_factor() {
            return Err(UserRejection::SecondFactorRequired);
        }
        let code = self.mailed_code(challenge, now).filter(|code| code.code_hash == *hash);
        code.map(|_| ()).ok_or(UserRejection::SecondFactorWrong)
    }

    /// Folds a code that was mailed.
    pub(super) fn mailed(&mut self, event: &UserEvent) {
        if let UserEvent::LoginChallenged { challenge, origin, code_hash, at, expires_at, .. } = event {
            self.mailed_codes.mailed(MailedCode {
                challenge: *challenge,
                origin: origin.clone(),
                mailed_at: *at,
                expires_at: *expires_at,
                code_hash: code_hash.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
