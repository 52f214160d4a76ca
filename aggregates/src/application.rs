//! A managed application and its API keys. Its name is a claim: unique in the deployment without regard to case.
//!
//! Secrets don't come here: a key arrives as its hash.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{ApplicationId, Claim, ClaimChange, Decider, KeyId, RejectionKind};
use schemas::events::ApplicationEvent;
use schemas::values::{
    ApplicationName, ApplicationStatus, Environment, KeyPrefix, OwnerId, RedirectUri, Scope, SecretHash,
};
use serde::{Deserialize, Serialize};

/// The claim on an application's name, in lower case.
pub const NAME_CLAIM: &str = "application.name";
/// The most redirect URIs of an application.
pub const REDIRECT_URIS_MAX: usize = 20;
/// The most keys of an application that are neither revoked nor expired.
pub const LIVE_KEYS_MAX: usize = 20;
/// How long a key may go on beside its successor, in hours: 30 days.
pub const OVERLAP_HOURS_MAX: u16 = 720;

/// An application, or the place for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Application {
    existing: Option<Existing>,
}

/// An application that was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Existing {
    pub application: ApplicationId,
    /// The registration, so that the same wish is known when it comes again.
    pub asked: Profile,
    pub profile: Profile,
    pub environment: Environment,
    pub disabled: bool,
    /// Also the revoked ones, so that a late retry never brings one back.
    pub keys: BTreeMap<KeyId, Key>,
}

/// What can change about an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub name: ApplicationName,
    pub owner: OwnerId,
    pub redirect_uris: BTreeSet<RedirectUri>,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub hash: SecretHash,
    pub prefix: KeyPrefix,
    pub scopes: BTreeSet<Scope>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked: bool,
}

impl Application {
    /// The application, if there is one.
    pub fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }
}

impl Existing {
    pub fn status(&self) -> ApplicationStatus {
        if self.disabled { ApplicationStatus::Disabled } else { ApplicationStatus::Active }
    }
}

impl Key {
    fn is_live(&self, now: DateTime<Utc>) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| end > now)
    }
}

/// What may be wished of an application.
#[derive(Clone, Debug)]
pub enum ApplicationCommand {
    /// FR-SYS-001
    Register {
        application: ApplicationId,
        name: ApplicationName,
        owner: OwnerId,
        environment: Environment,
        redirect_uris: BTreeSet<RedirectUri>,
    },
    /// FR-SYS-003. What is `None` stays. The environment never changes: keys were given out for it.
    Update {
        name: Option<ApplicationName>,
        owner: Option<OwnerId>,
        redirect_uris: Option<BTreeSet<RedirectUri>>,
    },
    /// FR-SYS-003
    Disable,
    Enable,
    /// FR-SYS-002
    IssueKey {
        key: KeyId,
        hash: SecretHash,
        prefix: KeyPrefix,
        scopes: BTreeSet<Scope>,
        /// `None`: until it is revoked.
        expires_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    },
    /// FR-SYS-002
    RevokeKey {
        key: KeyId,
    },
    /// FR-SYS-002. The successor may do what the key may, which goes on until the overlap is over.
    RotateKey {
        key: KeyId,
        successor: KeyId,
        hash: SecretHash,
        prefix: KeyPrefix,
        /// The successor's; `None`: until it is revoked.
        expires_at: Option<DateTime<Utc>>,
        /// 0: the key stops at once.
        overlap_hours: u16,
        now: DateTime<Utc>,
    },
}

/// Why an application refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationRejection {
    #[error("there is no such application")]
    NotFound,
    #[error("there is an application with this id, registered differently")]
    AlreadyExists,
    #[error("the application has no such key")]
    KeyNotFound,
    #[error("there is a key with this id, issued differently")]
    KeyAlreadyExists,
    #[error("the application is disabled")]
    Disabled,
    #[error("a key needs at least one scope")]
    ScopeRequired,
    #[error("the key would have expired at {expires_at}, before it is issued")]
    ExpiryInThePast { expires_at: DateTime<Utc> },
    #[error("an application has at most {limit} redirect URIs")]
    TooManyRedirectUris { limit: usize },
    #[error("an application has at most {limit} keys that are neither revoked nor expired")]
    TooManyKeys { limit: usize },
    #[error("the key is revoked or has expired: issue another one")]
    KeyNotLive,
    #[error("a key goes on beside its successor for at most {limit_hours} hours")]
    OverlapTooLong { limit_hours: u16 },
}

impl kernel::Rejection for ApplicationRejection {
    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound | Self::KeyNotFound => RejectionKind::NotFound,
            Self::AlreadyExists | Self::KeyAlreadyExists => RejectionKind::Conflict,
            Self::Disabled
            | Self::ScopeRequired
            | Self::ExpiryInThePast { .. }
            | Self::TooManyRedirectUris { .. }
            | Self::TooManyKeys { .. }
            | Self::KeyNotLive
            | Self::OverlapTooLong { .. } => RejectionKind::Rule,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::KeyNotFound => "key_not_found",
            Self::KeyAlreadyExists => "key_already_exists",
            Self::Disabled => "application_disabled",
            Self::ScopeRequired => "scope_required",
            Self::ExpiryInThePast { .. } => "expiry_in_the_past",
            Self::TooManyRedirectUris { .. } => "too_many_redirect_uris",
            Self::TooManyKeys { .. } => "too_many_keys",
            Self::KeyNotLive => "key_not_live",
            Self::OverlapTooLong { .. } => "overlap_too_long",
        }
    }
}

impl Decider for Application {
    const TYPE: &'static str = "application";
    const SNAPSHOT_VERSION: u32 = 1;

    type Command = ApplicationCommand;
    type Event = ApplicationEvent;
    type Rejection = ApplicationRejection;

    fn decide(&self, command: ApplicationCommand) -> Result<Vec<ApplicationEvent>, ApplicationRejection> {
        let known = || self.existing().ok_or(ApplicationRejection::NotFound);
        match command {
            ApplicationCommand::Register { application, name, owner, environment, redirect_uris } => {
                self.register(application, Profile { name, owner, redirect_uris }, environment)
            }
            ApplicationCommand::Update { name, owner, redirect_uris } => {
                let Profile { name: old_name, owner: old_owner, redirect_uris: old_uris } = &known()?.profile;
                few_enough(redirect_uris.as_ref())?;
                let name = name.filter(|name| name != old_name);
                let owner = owner.filter(|owner| owner != old_owner);
                let redirect_uris = redirect_uris.filter(|uris| uris != old_uris);
                let same = name.is_none() && owner.is_none() && redirect_uris.is_none();
                Ok(unless(same, || ApplicationEvent::Updated { name, owner, redirect_uris }))
            }
            ApplicationCommand::Disable => Ok(unless(known()?.disabled, || ApplicationEvent::Disabled {})),
            ApplicationCommand::Enable => Ok(unless(!known()?.disabled, || ApplicationEvent::Enabled {})),
            ApplicationCommand::IssueKey { key, hash, prefix, scopes, expires_at, now } => {
                let wished = Key { hash, prefix, scopes, expires_at, revoked: false };
                known()?.issue_key(key, wished, now)
            }
            ApplicationCommand::RevokeKey { key } => {
                let found = known()?.keys.get(&key).ok_or(ApplicationRejection::KeyNotFound)?;
                Ok(unless(found.revoked, || ApplicationEvent::KeyRevoked { key }))
            }
            ApplicationCommand::RotateKey {
                key,
                successor,
                hash,
                prefix,
                expires_at,
                overlap_hours,
                now,
            } => {
                let existing = known()?;
                let old = existing.keys.get(&key).ok_or(ApplicationRejection::KeyNotFound)?;
                let wished = Key { hash, prefix, scopes: old.scopes.clone(), expires_at, revoked: false };
                existing.rotate_key((key, old), (successor, wished), overlap_hours, now)
            }
        }
    }

    fn evolve(&mut self, event: &ApplicationEvent) {
        if let ApplicationEvent::Registered { application, name, owner, environment, redirect_uris } = event {
            let profile =
                Profile { name: name.clone(), owner: owner.clone(), redirect_uris: redirect_uris.clone() };
            self.existing = Some(Existing {
                application: *application,
                asked: profile.clone(),
                profile,
                environment: *environment,
                disabled: false,
                keys: BTreeMap::new(),
            });
        }
        // A stream begins with the registration, so there is nothing that could happen before.
        let Some(existing) = self.existing.as_mut() else { return };
        match event {
            ApplicationEvent::Registered { .. } => {}
            ApplicationEvent::Updated { name, owner, redirect_uris } => {
                let profile = &mut existing.profile;
                if let Some(name) = name {
                    profile.name.clone_from(name);
                }
                if let Some(owner) = owner {
                    profile.owner.clone_from(owner);
                }
                if let Some(redirect_uris) = redirect_uris {
                    profile.redirect_uris.clone_from(redirect_uris);
                }
            }
            ApplicationEvent::Disabled {} => existing.disabled = true,
            ApplicationEvent::Enabled {} => existing.disabled = false,
            ApplicationEvent::KeyIssued { key, hash, prefix, scopes, expires_at } => {
                let issued = Key {
                    hash: hash.clone(),
                    prefix: prefix.clone(),
                    scopes: scopes.clone(),
                    expires_at: *expires_at,
                    revoked: false,
                };
                existing.keys.insert(*key, issued);
            }
            ApplicationEvent::KeyRevoked { key } => {
                if let Some(key) = existing.keys.get_mut(key) {
                    key.revoked = true;
                }
            }
            ApplicationEvent::KeyRotated { key, expires_at, .. } => {
                if let Some(key) = existing.keys.get_mut(key) {
                    key.expires_at = Some(*expires_at);
                }
            }
        }
    }

    fn claims(&self, event: &ApplicationEvent) -> Vec<ClaimChange> {
        let claim = |name: &ApplicationName| Claim::new(NAME_CLAIM, name.folded());
        match event {
            ApplicationEvent::Registered { name, .. } => vec![ClaimChange::Take(claim(name))],
            ApplicationEvent::Updated { name: Some(name), .. } => {
                let new = claim(name);
                let old = self.existing().map(|existing| claim(&existing.profile.name));
                // Another spelling of the same name frees and takes nothing.
                if old.as_ref() == Some(&new) {
                    return Vec::new();
                }
                old.map(ClaimChange::Free).into_iter().chain([ClaimChange::Take(new)]).collect()
            }
            ApplicationEvent::Updated { name: None, .. }
            | ApplicationEvent::Disabled {}
            | ApplicationEvent::Enabled {}
            | ApplicationEvent::KeyIssued { .. }
            | ApplicationEvent::KeyRevoked { .. }
            | ApplicationEvent::KeyRotated { .. } => Vec::new(),
        }
    }
}

impl Application {
    fn register(
        &self,
        application: ApplicationId,
        wished: Profile,
        environment: Environment,
    ) -> Result<Vec<ApplicationEvent>, ApplicationRejection> {
        if let Some(before) = self.existing() {
            let same = before.asked == wished && before.environment == environment;
            return if same { Ok(Vec::new()) } else { Err(ApplicationRejection::AlreadyExists) };
        }
        few_enough(Some(&wished.redirect_uris))?;
        let Profile { name, owner, redirect_uris } = wished;
        Ok(vec![ApplicationEvent::Registered { application, name, owner, environment, redirect_uris }])
    }
}

impl Existing {
    fn issue_key(
        &self,
        key: KeyId,
        wished: Key,
        now: DateTime<Utc>,
    ) -> Result<Vec<ApplicationEvent>, ApplicationRejection> {
        if let Some(before) = self.keys.get(&key) {
            let same = Key { revoked: before.revoked, ..wished } == *before;
            return if same { Ok(Vec::new()) } else { Err(ApplicationRejection::KeyAlreadyExists) };
        }
        if self.disabled {
            return Err(ApplicationRejection::Disabled);
        }
        let Key { hash, prefix, scopes, expires_at, revoked: _ } = wished;
        if scopes.is_empty() {
            return Err(ApplicationRejection::ScopeRequired);
        }
        if let Some(expires_at) = expires_at.filter(|end| *end <= now) {
            return Err(ApplicationRejection::ExpiryInThePast { expires_at });
        }
        if self.keys.values().filter(|key| key.is_live(now)).count() >= LIVE_KEYS_MAX {
            return Err(ApplicationRejection::TooManyKeys { limit: LIVE_KEYS_MAX });
        }
        Ok(vec![ApplicationEvent::KeyIssued { key, hash, prefix, scopes, expires_at }])
    }

    /// Nothing if the successor was issued already: then the key was rotated to it.
    fn rotate_key(
        &self,
        (key, old): (KeyId, &Key),
        (successor, wished): (KeyId, Key),
        overlap_hours: u16,
        now: DateTime<Utc>,
    ) -> Result<Vec<ApplicationEvent>, ApplicationRejection> {
        if overlap_hours > OVERLAP_HOURS_MAX {
            return Err(ApplicationRejection::OverlapTooLong { limit_hours: OVERLAP_HOURS_MAX });
        }
        if !self.keys.contains_key(&successor) && !old.is_live(now) {
            return Err(ApplicationRejection::KeyNotLive);
        }
        let mut events = self.issue_key(successor, wished, now)?;
        if !events.is_empty() {
            let end = now + TimeDelta::hours(overlap_hours.into());
            let expires_at = old.expires_at.map_or(end, |before| before.min(end));
            events.push(ApplicationEvent::KeyRotated { key, successor, expires_at });
        }
        Ok(events)
    }
}

fn few_enough(uris: Option<&BTreeSet<RedirectUri>>) -> Result<(), ApplicationRejection> {
    if uris.is_some_and(|uris| uris.len() > REDIRECT_URIS_MAX) {
        return Err(ApplicationRejection::TooManyRedirectUris { limit: REDIRECT_URIS_MAX });
    }
    Ok(())
}

/// Nothing if it is so already, else the one event.
fn unless(already: bool, event: impl FnOnce() -> ApplicationEvent) -> Vec<ApplicationEvent> {
    if already { Vec::new() } else { vec![event()] }
}

#[cfg(test)]
mod tests;
