//! A question in Cedar's terms: entities, their attributes and the context, without a detour through JSON.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use chrono::{DateTime, SecondsFormat, Utc};
use kernel::{ActorKind, TenantId};
use schemas::values::{AccessMode, MembershipKind, Role, TenantStatus};

use super::slices::Slice;
use crate::caller::Caller;

/// May this caller do this, on that?
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// An endpoint's action, such as `tenants:suspend`.
    pub action: &'a str,
    pub caller: &'a Caller,
    /// What a person is to the tenant.
    pub kind: MembershipKind,
    /// What a person was given in the tenant, by a role of its own or a grant, covers the action.
    pub holds: bool,
    /// True if a second factor was part of the sign-in.
    pub mfa: bool,
    pub resource: Resource,
    /// True if the caller is an application and the tenant is connected to it.
    pub connected: bool,
    pub mutates: bool,
    pub when_blocked: bool,
    pub now: DateTime<Utc>,
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// No tenant's in particular.
    Platform,
    /// The caller's own: password, second factor, sessions.
    Account,
    Tenant {
        id: TenantId,
        /// What the caller may do in it now.
        mode: AccessMode,
        /// `None`: it is not there, or that can't be known.
        status: Option<TenantStatus>,
        /// Its people get in only with a second factor.
        mfa_required: bool,
        /// Members other than owners get in only by a provider of its own.
        sso_required: bool,
    },
}

impl Question<'_> {
    /// True if a person asks as themself, or picked no tenant.
    fn is_of_individual(&self) -> bool {
        self.resource == Resource::Account || self.caller.role.is_none()
    }
}

/// Why a question can't be put to Cedar.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the question can't be put: {0}")]
pub(super) struct Unaskable(String);

/// The schema's names, made once.
pub(super) struct Words {
    person: EntityTypeName,
    individual: EntityTypeName,
    account: EntityTypeName,
    operator: EntityTypeName,
    application: EntityTypeName,
    service: EntityTypeName,
    anonymous: EntityUid,
    tenant: EntityTypeName,
    platform: EntityUid,
    roles: BTreeMap<Role, EntityUid>,
    kinds: BTreeMap<MembershipKind, EntityUid>,
    modes: BTreeMap<AccessMode, EntityUid>,
    statuses: BTreeMap<TenantStatus, EntityUid>,
    unknown: EntityUid,
    calls: Calls,
}

/// How many different things can be around a call, but for the time.
pub(super) const AROUND: usize = 4;

/// What is around each call but the time.
struct Calls([Context; AROUND]);

impl Calls {
    fn new() -> Self {
        Self([(false, false), (false, true), (true, false), (true, true)].map(|(mutates, when_blocked)| {
            Context::from_pairs(around(mutates, when_blocked)).expect("a record of two truths is a context")
        }))
    }

    fn of(&self, question: &Question<'_>) -> Context {
        self.0[around_of(question)].clone()
    }
}

fn around_of(question: &Question<'_>) -> usize {
    2 * usize::from(question.mutates) + usize::from(question.when_blocked)
}

fn around(mutates: bool, when_blocked: bool) -> [(String, RestrictedExpression); 2] {
    [
        ("mutates".to_owned(), RestrictedExpression::new_bool(mutates)),
        ("when_blocked".to_owned(), RestrictedExpression::new_bool(when_blocked)),
    ]
}

fn kind_of(name: &'static str) -> EntityTypeName {
    name.parse().expect("a word is an entity type's name")
}

fn named(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

fn all<T: Copy + Ord>(
    of: &'static str,
    words: &[T],
    word: impl Fn(T) -> &'static str,
) -> BTreeMap<T, EntityUid> {
    let of = kind_of(of);
    words.iter().map(|one| (*one, named(&of, word(*one)))).collect()
}

impl Words {
    pub(super) fn new() -> Self {
        Self {
            person: kind_of("Person"),
            individual: kind_of("Individual"),
            account: kind_of("Account"),
            operator: kind_of("Operator"),
            application: kind_of("Application"),
            service: kind_of("Service"),
            anonymous: named(&kind_of("Anonymous"), "anonymous"),
            tenant: kind_of("Tenant"),
            platform: named(&kind_of("Platform"), "platform"),
            roles: all("Role", Role::ALL, Role::as_str),
            kinds: all("Kind", MembershipKind::ALL, MembershipKind::as_str),
            modes: all("Mode", AccessMode::ALL, AccessMode::as_str),
            statuses: all("Status", TenantStatus::ALL, TenantStatus::as_str),
            unknown: named(&kind_of("Status"), "unknown"),
            calls: Calls::new(),
        }
    }

    /// The types of who asks and of what it is about.
    pub(super) fn types(&self, question: &Question<'_>) -> (&EntityTypeName, &EntityTypeName) {
        let principal = match question.caller.actor.kind {
            // As themself, or while no tenant is picked, nobody has a role.
            ActorKind::User if question.is_of_individual() => &self.individual,
            ActorKind::User => &self.person,
            ActorKind::Operator => &self.operator,
            ActorKind::Application => &self.application,
            ActorKind::System if question.caller.service().is_some() => &self.service,
            // Tenantry itself makes no requests.
            ActorKind::System | ActorKind::Anonymous => self.anonymous.type_name(),
        };
        let resource = match question.resource {
            Resource::Platform => self.platform.type_name(),
            Resource::Account => &self.account,
            Resource::Tenant { .. } => &self.tenant,
        };
        (principal, resource)
    }

    /// Which of the things around calls is around this one, if nothing else is told with it: a stranger asks about what is
    /// no tenant's, and it does not matter when.
    pub(super) fn around_a_stranger(&self, question: &Question<'_>, slice: &Slice) -> Option<usize> {
        let (principal, _) = self.types(question);
        let alone = principal == self.anonymous.type_name()
            && question.resource == Resource::Platform
            && !slice.asks_when;
        alone.then(|| around_of(question))
    }

    /// The question, and all that may be known to answer it.
    pub(super) fn put(
        &self,
        question: &Question<'_>,
        slice: &Slice,
    ) -> Result<(Request, Entities), Unaskable> {
        let cannot = |error: &dyn std::fmt::Display| Unaskable(error.to_string());
        let principal = self.principal(question)?;
        let resource = self.resource(question)?;
        let context = if slice.asks_when {
            let around = around(question.mutates, question.when_blocked);
            let now = ("now".to_owned(), instant(question.now));
            Context::from_pairs(around.into_iter().chain([now])).map_err(|error| cannot(&error))?
        } else {
            self.calls.of(question)
        };
        let (asks, about) = (principal.uid(), resource.uid());
        let request = Request::new(asks, slice.ground.action.clone(), about, context, None);
        let known = slice.ground.entities.clone().add_entities([principal, resource], None);
        Ok((request.map_err(|error| cannot(&error))?, known.map_err(|error| cannot(&error))?))
    }

    fn principal(&self, question: &Question<'_>) -> Result<Entity, Unaskable> {
        let caller = question.caller;
        let (principal, _) = self.types(question);
        if principal == self.anonymous.type_name() {
            return Ok(Entity::with_uid(self.anonymous.clone()));
        }
        let scopes = caller.scopes.iter().cloned().map(RestrictedExpression::new_string);
        let mut about = HashMap::from([("scopes".to_owned(), RestrictedExpression::new_set(scopes))]);
        if let Some(name) = caller.service() {
            let uid = named(principal, name);
            return Entity::new(uid, about, HashSet::new()).map_err(|error| Unaskable(error.to_string()));
        }
        if principal == &self.individual {
            about.insert("mfa".to_owned(), RestrictedExpression::new_bool(question.mfa));
            let limited = caller.limited.is_some();
            about.insert("limited".to_owned(), RestrictedExpression::new_bool(limited));
            about.insert("sso".to_owned(), RestrictedExpression::new_bool(caller.is_by_sso()));
            let uid = named(principal, &caller.actor.id);
            return Entity::new(uid, about, HashSet::new()).map_err(|error| Unaskable(error.to_string()));
        }
        if let Some(role) = caller.role.and_then(|role| self.roles.get(&role)) {
            about.insert("role".to_owned(), RestrictedExpression::new_entity_uid(role.clone()));
        }
        let mut within = HashSet::new();
        match caller.actor.kind {
            ActorKind::User => {
                about.insert("mfa".to_owned(), RestrictedExpression::new_bool(question.mfa));
                about.insert("sso".to_owned(), RestrictedExpression::new_bool(caller.is_by_sso()));
                let kind = self.kinds[&question.kind].clone();
                about.insert("kind".to_owned(), RestrictedExpression::new_entity_uid(kind));
                about.insert("holds".to_owned(), RestrictedExpression::new_bool(question.holds));
                let covered = caller.is_within(question.action);
                about.insert("within".to_owned(), RestrictedExpression::new_bool(covered));
                within.extend(caller.tenant.map(|tenant| self.tenant(tenant)));
            }
            ActorKind::Operator => {
                about.insert("mfa".to_owned(), RestrictedExpression::new_bool(question.mfa));
                if let Some(tenant) = caller.tenant {
                    let tenant = RestrictedExpression::new_entity_uid(self.tenant(tenant));
                    about.insert("tenant".to_owned(), tenant);
                }
            }
            ActorKind::Application => {
                if let (true, Resource::Tenant { id, .. }) = (question.connected, question.resource) {
                    within.insert(self.tenant(id));
                }
            }
            ActorKind::System | ActorKind::Anonymous => {}
        }
        let uid = named(principal, &caller.actor.id);
        Entity::new(uid, about, within).map_err(|error| Unaskable(error.to_string()))
    }

    fn resource(&self, question: &Question<'_>) -> Result<Entity, Unaskable> {
        let (id, mode, status, mfa, sso) = match question.resource {
            Resource::Platform => return Ok(Entity::with_uid(self.platform.clone())),
            Resource::Account => {
                return Ok(Entity::with_uid(named(&self.account, &question.caller.actor.id)));
            }
            Resource::Tenant { id, mode, status, mfa_required, sso_required } => {
                (id, mode, status, mfa_required, sso_required)
            }
        };
        let status = status.map_or(&self.unknown, |status| &self.statuses[&status]);
        let about = [("mode", &self.modes[&mode]), ("status", status)];
        let about =
            about.map(|(name, word)| (name.to_owned(), RestrictedExpression::new_entity_uid(word.clone())));
        let mut about = HashMap::from(about);
        about.insert("mfa_required".to_owned(), RestrictedExpression::new_bool(mfa));
        about.insert("sso_required".to_owned(), RestrictedExpression::new_bool(sso));
        Entity::new(self.tenant(id), about, HashSet::new()).map_err(|error| Unaskable(error.to_string()))
    }

    fn tenant(&self, tenant: TenantId) -> EntityUid {
        named(&self.tenant, &tenant.to_string())
    }
}

/// Cedar knows milliseconds.
fn instant(at: DateTime<Utc>) -> RestrictedExpression {
    RestrictedExpression::new_datetime(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}
