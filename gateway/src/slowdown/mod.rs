//! The ladder against brute force, credential stuffing and password spraying (FR-AUTH-001, CON-SEC-008).
//!
//! Nobody is locked out, everybody who fails is slowed: each failure beyond the free ones doubles the wait before the
//! next attempt, up to [`LadderSettings::wait_max`]. There are four grounds to be slowed on:
//!
//! | [`Ground`] | counts failures | of |
//! |---|---|---|
//! | `Address` | at one account from one address | strangers |
//! | `Account` | at one account from all addresses together, so that a thousand of them gain nothing | strangers |
//! | `Accounts` | from one address at many accounts | strangers |
//! | `Device` | at one account of one device that has signed in to it before | that device |
//!
//! **A known device stands on its own ladder only.** Whatever strangers do to an account, or whoever shares the address,
//! its owner gets in from where they signed in before. That the device is known must be proved, by a token signed for
//! this account; here it is believed. The owner on a new device is a stranger like any other: while an attack goes on
//! they wait with the attackers, and do better to ask for a reset by e-mail, whose link counts as a device that is known.
//!
//! **Reserved, then settled.** [`Ladder::ask`] counts an attempt as failed as soon as it is let in, and [`Ladder::told`]
//! takes it back if it wasn't. So a hundred at once are let in no further than a hundred in a row, and an attempt that
//! nothing is ever told of, as its client hung up, has failed.
//!
//! **What a success forgives**: the ladder of this address (or device) at this account. Never what strangers did to the
//! account, or what the address did to others: an attacker has an account of their own to succeed with.
//!
//! **Known and unknown accounts are the same**: an account is a keyed hash of an e-mail address, and nothing is looked
//! up, so that no wait tells whether there is such a person (CON-SEC-009).
//!
//! **Bounded.** Four maps of at most [`LadderSettings::entries_max`] entries each, none above about 1 KiB: with the
//! defaults some 170 MB at the height of an attack on all grounds at once, nothing when there is none. A full map parts
//! with what was untouched for longest, and with what slows somebody only when that has three quarters of the room.
//! A refused attempt leaves nothing behind, so filling a map costs as many hashes as it has entries.
//!
//! In memory, of this node alone: a restart forgets it, and N nodes let in N times as much. No I/O, no clock: the time
//! comes with each call.

mod rungs;
mod shelf;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::telemetry;
use rungs::{Accounts, Manner, Mark, One, Rung, Strangers};
use shelf::Shelf;

/// An account that somebody tries to sign in to, whether there is one or not: a keyed hash of its e-mail address in
/// its canonical form.
pub type Account = [u8; 32];

/// How steep the ladder is. What is 0 or less counts as the least that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderSettings {
    /// Failures at one account from one address, or of one device, before the next has to wait: 5.
    pub failures_free: u32,
    /// Failures at one account of all strangers within `strangers_window` before all of them have to wait: 20.
    pub strangers_free: u32,
    /// An hour.
    pub strangers_window: TimeDelta,
    /// Accounts that one address may fail at within `accounts_window` before it has to wait: 20.
    pub accounts_free: u32,
    /// 10 minutes.
    pub accounts_window: TimeDelta,
    /// The longest wait: 15 minutes. The first is a second.
    pub wait_max: TimeDelta,
    /// So long after the last failure it is all forgotten: an hour. Longer than the longest wait, or waiting for it
    /// would be as good as for being forgotten.
    pub forgotten_after: TimeDelta,
    /// Entries of each of the four maps: 100,000. At least 16.
    pub entries_max: usize,
}

impl Default for LadderSettings {
    fn default() -> Self {
        Self {
            failures_free: 5,
            strangers_free: 20,
            strangers_window: TimeDelta::hours(1),
            accounts_free: 20,
            accounts_window: TimeDelta::minutes(10),
            wait_max: TimeDelta::minutes(15),
            forgotten_after: TimeDelta::hours(1),
            entries_max: 100_000,
        }
    }
}

impl LadderSettings {
    fn sensible(self) -> Self {
        let second = TimeDelta::seconds(1);
        let wait_max = self.wait_max.clamp(second, TimeDelta::days(1));
        Self {
            failures_free: self.failures_free.max(1),
            strangers_free: self.strangers_free.clamp(1, 1000),
            strangers_window: self.strangers_window.max(second),
            accounts_free: self.accounts_free.clamp(1, 1000),
            accounts_window: self.accounts_window.max(second),
            wait_max,
            forgotten_after: self.forgotten_after.max(wait_max + second),
            entries_max: self.entries_max.max(16),
        }
    }
}

/// Somebody wants to try a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub account: Account,
    /// Where they come from. `None` if that isn't known, as behind a proxy that doesn't say: all such are one address
    /// at each account, and none across accounts.
    pub address: Option<IpAddr>,
    /// The device, if it has proved that it signed in to this account before.
    pub known_device: Option<Uuid>,
}

/// Addresses are personal data and must not reach a log (CC-LOG-002).
impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("has_known_device", &self.known_device.is_some())
            .finish_non_exhaustive()
    }
}

/// How an attempt came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    /// The password was wrong, the account unknown or disabled: whatever is told as a failure.
    Failed,
    /// The password was not looked at, as the hasher or the database was busy: nobody has learnt anything.
    NotTried,
}

/// What somebody is slowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// Failures at this account from this address.
    Address,
    /// Failures at this account of this known device.
    Device,
    /// Failures at this account of all strangers together.
    Account,
    /// Failures of this address at many accounts.
    Accounts,
}

impl Ground {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Device => "device",
            Self::Account => "account",
            Self::Accounts => "accounts",
        }
    }
}

/// The attempt may not be made yet (ERR-RATE-429). The answer must not say on which ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts; the next may be made in {} s", retry_after.as_secs_f64().ceil())]
pub struct SlowDown {
    /// More than nothing, and at most [`LadderSettings::wait_max`].
    pub retry_after: Duration,
    /// The ground with the longest wait: for metrics and the audit trail.
    pub because: Ground,
}

/// An attack, noticed. Each is told once when it rises, and again only after it was forgiven or forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Many guesses at one account: of one address, of one device, or ([`Ground::Account`]) of many strangers together.
    BruteForce { ground: Ground },
    /// One address tries many accounts, with about one guess each: as with passwords that leaked elsewhere.
    Stuffing,
    /// One address tries many accounts with several guesses each: as with the few passwords that are always in use
    /// somewhere. The first round of it can't be told from stuffing.
    Spraying,
}

impl Finding {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BruteForce { .. } => "brute_force",
            Self::Stuffing => "stuffing",
            Self::Spraying => "spraying",
        }
    }
}

/// Leave to make one attempt. It counts as failed until [`Ladder::told`] hears otherwise.
#[derive(Debug)]
#[must_use = "an attempt that nothing is told of counts as failed"]
pub struct Pass {
    attempt: Attempt,
    marks: Marks,
}

#[derive(Debug)]
enum Marks {
    Device(Uuid, Mark),
    Stranger { one: Mark, account: Mark, accounts: Option<Mark> },
}

/// Who may try when. One per process; shared by reference.
#[derive(Debug)]
pub struct Ladder {
    settings: LadderSettings,
    /// Held for a few look-ups, never across anything slow.
    shelves: Mutex<Shelves>,
}

#[derive(Debug)]
struct Shelves {
    addresses: Shelf<(Account, Option<Network>), One>,
    devices: Shelf<(Account, Uuid), One>,
    accounts: Shelf<Account, Strangers>,
    networks: Shelf<Network, Accounts>,
}

/// What counts as one address: with IPv6 the /64, as that is what one customer gets at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let (network, _) =
                    address.octets().split_first_chunk().map(|(n, rest)| (*n, rest)).expect("16 bytes");
                Self::V6(network)
            }
        }
    }
}

impl Ladder {
    pub fn new(settings: LadderSettings) -> Self {
        let settings = settings.sensible();
        let max = settings.entries_max;
        let shelves = Shelves {
            addresses: Shelf::new(Ground::Address.as_str(), max),
            devices: Shelf::new(Ground::Device.as_str(), max),
            accounts: Shelf::new(Ground::Account.as_str(), max),
            networks: Shelf::new(Ground::Accounts.as_str(), max),
        };
        Self { settings, shelves: Mutex::new(shelves) }
    }

    /// Asks for leave to try a password. Asking in vain makes no wait longer.
    ///
    /// # Errors
    /// It is too early.
    pub fn ask(&self, attempt: &Attempt, now: DateTime<Utc>) -> Result<Pass, SlowDown> {
        let mut shelves = self.lock();
        if let Some((wait, because)) = shelves.wait(attempt, &self.settings, now) {
            drop(shelves);
            telemetry::sign_in_slowed(because.as_str());
            return Err(SlowDown { retry_after: wait.to_std().unwrap_or_default(), because });
        }
        let marks = shelves.begin(attempt, &self.settings, now);
        Ok(Pass { attempt: *attempt, marks })
    }

    /// Says how the attempt came out. What has risen by it is for the audit trail.
    pub fn told(&self, pass: Pass, outcome: Outcome, now: DateTime<Utc>) -> Vec<Finding> {
        let mut shelves = self.lock();
        let findings = match outcome {
            Outcome::Failed => shelves.failed(&pass, &self.settings, now),
            Outcome::Succeeded | Outcome::NotTried => {
                shelves.take_back(&pass, outcome == Outcome::Succeeded, &self.settings, now);
                Vec::new()
            }
        };
        drop(shelves);
        for finding in &findings {
            telemetry::sign_in_finding(finding.as_str());
        }
        findings
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    /// The longest wait of all grounds, if there is one.
    fn wait(
        &self,
        attempt: &Attempt,
        settings: &LadderSettings,
        now: DateTime<Utc>,
    ) -> Option<(TimeDelta, Ground)> {
        let Attempt { account, .. } = *attempt;
        if let Some(device) = attempt.known_device {
            let wait = self.devices.get(&(account, device))?.wait(settings, now)?;
            return Some((wait, Ground::Device));
        }
        let network = attempt.address.map(Network::of);
        let one = self.addresses.get(&(account, network)).and_then(|one| one.wait(settings, now));
        let strangers = self.accounts.get(&account).and_then(|strangers| strangers.wait(settings, now));
        let accounts = network
            .and_then(|network| self.networks.get(&network))
            .and_then(|accounts| accounts.wait_at(account, settings, now));
        [(one, Ground::Address), (strangers, Ground::Account), (accounts, Ground::Accounts)]
            .into_iter()
            .filter_map(|(wait, ground)| Some((wait?, ground)))
            .max_by_key(|(wait, _)| *wait)
    }

    fn begin(&mut self, attempt: &Attempt, settings: &LadderSettings, now: DateTime<Utc>) -> Marks {
        let Attempt { account, .. } = *attempt;
        if let Some(device) = attempt.known_device {
            let mark =
                change(&mut self.devices, (account, device), One::new, settings, now, |one| one.begin(now));
            return Marks::Device(device, mark);
        }
        let network = attempt.address.map(Network::of);
        Marks::Stranger {
            one: change(&mut self.addresses, (account, network), One::new, settings, now, |one| {
                one.begin(now)
            }),
            account: change(&mut self.accounts, account, Strangers::new, settings, now, |strangers| {
                strangers.begin(settings, now)
            }),
            accounts: network.map(|network| {
                change(&mut self.networks, network, Accounts::new, settings, now, |accounts| {
                    accounts.begin(account, settings, now)
                })
            }),
        }
    }

    fn take_back(&mut self, pass: &Pass, forgives: bool, settings: &LadderSettings, now: DateTime<Utc>) {
        let Attempt { account, .. } = pass.attempt;
        let one_taken_back = |one: &mut One, mark: &Mark| match forgives {
            true => one.succeeded(mark),
            false => one.take_back(mark),
        };
        let network = pass.attempt.address.map(Network::of);
        match &pass.marks {
            Marks::Device(device, mark) => {
                amend(&mut self.devices, (account, *device), settings, now, |one| one_taken_back(one, mark));
            }
            Marks::Stranger { one, account: strangers, accounts } => {
                amend(&mut self.addresses, (account, network), settings, now, |rung| {
                    one_taken_back(rung, one)
                });
                amend(&mut self.accounts, account, settings, now, |rung| rung.take_back(strangers));
                if let (Some(network), Some(mark)) = (network, accounts) {
                    amend(&mut self.networks, network, settings, now, |rung| rung.take_back(account, mark));
                }
            }
        }
    }

    fn failed(&mut self, pass: &Pass, settings: &LadderSettings, now: DateTime<Utc>) -> Vec<Finding> {
        let Attempt { account, .. } = pass.attempt;
        let network = pass.attempt.address.map(Network::of);
        let brute_force =
            |ground, rises: Option<bool>| (rises == Some(true)).then_some(Finding::BruteForce { ground });
        let found = match &pass.marks {
            Marks::Device(device, _) => {
                let rises = amend(&mut self.devices, (account, *device), settings, now, |one| {
                    one.failed(settings, now)
                });
                [brute_force(Ground::Device, rises), None, None]
            }
            Marks::Stranger { .. } => {
                let address = amend(&mut self.addresses, (account, network), settings, now, |one| {
                    one.failed(settings, now)
                });
                let strangers = amend(&mut self.accounts, account, settings, now, |strangers| {
                    strangers.failed(settings, now)
                });
                let manner = network.and_then(|network| {
                    amend(&mut self.networks, network, settings, now, |rung| rung.failed(settings, now))?
                });
                let manner = manner.map(|manner| match manner {
                    Manner::OneEach => Finding::Stuffing,
                    Manner::SeveralEach => Finding::Spraying,
                });
                [brute_force(Ground::Address, address), brute_force(Ground::Account, strangers), manner]
            }
        };
        found.into_iter().flatten().collect()
    }
}

/// Changes what is remembered of a key, which begins anew if it is over.
fn change<K: std::hash::Hash + Eq, R: Rung, T>(
    shelf: &mut Shelf<K, R>,
    key: K,
    new: fn(DateTime<Utc>) -> R,
    settings: &LadderSettings,
    now: DateTime<Utc>,
    by: impl FnOnce(&mut R) -> T,
) -> T {
    let found = shelf.take(&key).filter(|rung| !rung.is_over(settings, now));
    let mut rung = found.unwrap_or_else(|| new(now));
    let result = by(&mut rung);
    shelf.put(key, rung, settings, now);
    result
}

/// The same, of what was left there by an attempt. If it was parted with meanwhile, that attempt has gone with it.
fn amend<K: std::hash::Hash + Eq, R: Rung, T>(
    shelf: &mut Shelf<K, R>,
    key: K,
    settings: &LadderSettings,
    now: DateTime<Utc>,
    by: impl FnOnce(&mut R) -> T,
) -> Option<T> {
    let mut rung = shelf.take(&key)?;
    let result = by(&mut rung);
    shelf.put(key, rung, settings, now);
    Some(result)
}

#[cfg(test)]
mod tests;
