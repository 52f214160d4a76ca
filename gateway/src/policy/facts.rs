//! Facts in Cedar's terms: entities, their attributes and the context, without a detour through JSON.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use chrono::{DateTime, SecondsFormat, Utc};
use kernel::TenantId;
use schemas::values::{AccessMode, MembershipKind, Role, TenantStatus};

use super::question::{Asks, Facts, Resource};
use super::slices::Ground;

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

/// What is around each call but the time.
struct Calls([Context; 4]);

impl Calls {
    fn new() -> Self {
        Self([(false, false), (false, true), (true, false), (true, true)].map(|(mutates, when_blocked)| {
            Context::from_pairs(around(mutates, when_blocked)).expect("a record of two truths is a context")
        }))
    }

    fn of(&self, facts: &Facts) -> Context {
        self.0[2 * usize::from(facts.mutates) + usize::from(facts.when_blocked)].clone()
    }
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
    pub(super) fn types(&self, facts: &Facts) -> (&EntityTypeName, &EntityTypeName) {
        let principal = match facts.asks {
            Asks::Individual => &self.individual,
            Asks::Person => &self.person,
            Asks::Operator => &self.operator,
            Asks::Application => &self.application,
            Asks::Service => &self.service,
            Asks::Anonymous => self.anonymous.type_name(),
        };
        let resource = match facts.resource {
            Resource::Platform => self.platform.type_name(),
            Resource::Account => &self.account,
            Resource::Tenant { .. } => &self.tenant,
        };
        (principal, resource)
    }

    /// The question, and all that may be known to answer it.
    pub(super) fn put(&self, facts: &Facts, ground: &Ground) -> Result<(Request, Entities), Unaskable> {
        let cannot = |error: &dyn std::fmt::Display| Unaskable(error.to_string());
        let principal = self.principal(facts)?;
        let resource = self.resource(facts)?;
        let context = match facts.now {
            Some(now) => {
                let around = around(facts.mutates, facts.when_blocked);
                let now = ("now".to_owned(), instant(now));
                Context::from_pairs(around.into_iter().chain([now])).map_err(|error| cannot(&error))?
            }
            None => self.calls.of(facts),
        };
        let (asks, about) = (principal.uid(), resource.uid());
        let request = Request::new(asks, ground.action.clone(), about, context, None);
        let known = ground.entities.clone().add_entities([principal, resource], None);
        Ok((request.map_err(|error| cannot(&error))?, known.map_err(|error| cannot(&error))?))
    }

    fn principal(&self, facts: &Facts) -> Result<Entity, Unaskable> {
        let truth = |name: &str, so| (name.to_owned(), RestrictedExpression::new_bool(so));
        let scopes = facts.scopes.iter().cloned().map(RestrictedExpression::new_string);
        let mut about = HashMap::from([("scopes".to_owned(), RestrictedExpression::new_set(scopes))]);
        if let Some(role) = facts.role.and_then(|role| self.roles.get(&role)) {
            about.insert("role".to_owned(), RestrictedExpression::new_entity_uid(role.clone()));
        }
        let mut within = HashSet::new();
        match facts.asks {
            Asks::Anonymous => return Ok(Entity::with_uid(self.anonymous.clone())),
            Asks::Service => {}
            Asks::Individual => {
                about.extend([
                    truth("mfa", facts.mfa),
                    truth("limited", facts.limited),
                    truth("sso", facts.sso),
                ]);
            }
            Asks::Person => {
                about.extend([
                    truth("mfa", facts.mfa),
                    truth("sso", facts.sso),
                    truth("holds", facts.holds),
                    truth("within", facts.within),
                ]);
                let kind = facts.kind.and_then(|kind| self.kinds.get(&kind)).cloned();
                about
                    .extend(kind.map(|kind| ("kind".to_owned(), RestrictedExpression::new_entity_uid(kind))));
                within.extend(facts.tenant.map(|tenant| self.tenant(tenant)));
            }
            Asks::Operator => {
                about.extend([truth("mfa", facts.mfa)]);
                if let Some(tenant) = facts.tenant {
                    let tenant = RestrictedExpression::new_entity_uid(self.tenant(tenant));
                    about.insert("tenant".to_owned(), tenant);
                }
            }
            Asks::Application => {
                if let (true, Resource::Tenant { id, .. }) = (facts.connected, facts.resource) {
                    within.insert(self.tenant(id));
                }
            }
        }
        let (principal, _) = self.types(facts);
        let uid = named(principal, &facts.id);
        Entity::new(uid, about, within).map_err(|error| Unaskable(error.to_string()))
    }

    fn resource(&self, facts: &Facts) -> Result<Entity, Unaskable> {
        let (id, mode, status, mfa, sso) = match facts.resource {
            Resource::Platform => return Ok(Entity::with_uid(self.platform.clone())),
            Resource::Account => return Ok(Entity::with_uid(named(&self.account, &facts.id))),
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
