//! A question, and what policies are told of it.

use chrono::{DateTime, Utc};
use kernel::{ActorKind, TenantId};
use schemas::values::{AccessMode, MembershipKind, Role, TenantStatus};
use uuid::Uuid;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// What policies call who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asks {
    /// In a tenant.
    Person,
    /// As themself, or while no tenant is picked: nobody has a role then.
    Individual,
    Operator,
    Application,
    Service,
    Anonymous,
}

impl Asks {
    fn of(question: &Question<'_>) -> Self {
        let caller = question.caller;
        match caller.actor.kind {
            ActorKind::User if question.resource == Resource::Account || caller.role.is_none() => {
                Self::Individual
            }
            ActorKind::User => Self::Person,
            ActorKind::Operator => Self::Operator,
            ActorKind::Application => Self::Application,
            ActorKind::System if caller.service().is_some() => Self::Service,
            // Tenantry itself makes no requests.
            ActorKind::System | ActorKind::Anonymous => Self::Anonymous,
        }
    }
}

/// What policies look at beside what each may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Regards {
    /// What time it is.
    pub when: bool,
    /// Which person, application or tenant it is, and not only how they stand to each other.
    pub whom: bool,
}

/// Stands for the tenant that the caller is in, and for any other.
const OWN: TenantId = TenantId(Uuid::from_u128(1));
const OTHER: TenantId = TenantId(Uuid::from_u128(2));

/// All that policies are told of a question, and nothing that they are not: of two questions with the same facts the same
/// comes. Who it is and which tenant stands in them only for policies that regard whom; then few facts are different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    pub asks: Asks,
    /// The caller's, a service's name, or empty.
    pub id: String,
    pub scopes: Vec<String>,
    pub role: Option<Role>,
    pub kind: Option<MembershipKind>,
    /// The tenant that the caller is in.
    pub tenant: Option<TenantId>,
    pub mfa: bool,
    pub sso: bool,
    pub limited: bool,
    pub holds: bool,
    /// What the credentials are limited to covers the action.
    pub within: bool,
    pub connected: bool,
    pub resource: Resource,
    pub mutates: bool,
    pub when_blocked: bool,
    pub now: Option<DateTime<Utc>>,
}

impl Facts {
    pub fn of(question: &Question<'_>, regards: Regards) -> Self {
        let Question { action, caller, kind, holds, mfa, resource, connected, mutates, when_blocked, now } =
            *question;
        let asks = Asks::of(question);
        let (person, individual) = (asks == Asks::Person, asks == Asks::Individual);
        let has_role = matches!(asks, Asks::Person | Asks::Operator | Asks::Application);
        let mut facts = Self {
            asks,
            id: match asks {
                Asks::Anonymous => String::new(),
                Asks::Service => caller.service().unwrap_or_default().to_owned(),
                Asks::Person | Asks::Individual | Asks::Operator | Asks::Application => {
                    if regards.whom {
                        caller.actor.id.clone()
                    } else {
                        String::new()
                    }
                }
            },
            scopes: if asks == Asks::Anonymous { Vec::new() } else { caller.scopes.clone() },
            role: caller.role.filter(|_| has_role),
            kind: person.then_some(kind),
            tenant: caller.tenant.filter(|_| matches!(asks, Asks::Person | Asks::Operator)),
            mfa: mfa && (person || individual || asks == Asks::Operator),
            sso: caller.is_by_sso() && (person || individual),
            limited: caller.limited.is_some() && individual,
            holds: holds && person,
            within: person && caller.is_within(action),
            connected: connected && asks == Asks::Application,
            resource,
            mutates,
            when_blocked,
            now: regards.when.then_some(now),
        };
        if !regards.whom {
            if let Resource::Tenant { id, .. } = &mut facts.resource {
                *id = if facts.tenant == Some(*id) { OWN } else { OTHER };
            }
            facts.tenant = facts.tenant.map(|_| OWN);
        }
        facts
    }
}
