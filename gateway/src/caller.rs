//! The caller: who is behind a request, once the credentials are checked.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use kernel::{Actor, ActorKind, ApplicationId, PersonId, Position, SessionId, TenantId};
use projections::Scope as Sight;
use schemas::values::{Role, Scope};

use crate::personal_token::Limited;
use crate::problem::Problem;
use crate::services::ACTOR_PREFIX;

/// The authenticated principal of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub actor: Actor,
    /// `None` for a stranger, and for a person whose token is good for several tenants until one is picked.
    pub role: Option<Role>,
    /// What the credentials were limited to.
    pub scopes: Vec<String>,
    /// The tenant the credentials, or `x-org`, are about. `None`: the whole platform, or nothing.
    pub tenant: Option<TenantId>,
    /// `None` for whatever is no session: keys, personal access tokens, services.
    pub session: Option<Login>,
    /// The personal access token that was used.
    pub limited: Option<Limited>,
}

/// What a token says of the session it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    pub id: SessionId,
    /// Where in the journal it begins.
    pub began_at: Position,
    /// When its holder proved who they are.
    pub authenticated_at: DateTime<Utc>,
    /// A second factor was part of it.
    pub second_factor: bool,
    /// An OpenID provider of the tenant's vouched for them: it is good for that tenant, and not for what is theirs elsewhere.
    pub sso: bool,
}

impl Caller {
    /// Nobody we know.
    pub fn stranger() -> Self {
        let actor = Actor { kind: ActorKind::Anonymous, id: "anonymous".to_owned() };
        Self { actor, role: None, scopes: Vec::new(), tenant: None, session: None, limited: None }
    }

    /// A person, in a role of theirs if they act in one.
    pub fn of_person(person: PersonId, tenant: Option<TenantId>, role: Option<Role>) -> Self {
        let actor = Actor { kind: ActorKind::User, id: person.to_string() };
        Self { actor, role, scopes: Vec::new(), tenant, session: None, limited: None }
    }

    /// An application, with what its key is for.
    pub fn of_application(application: ApplicationId, scopes: &BTreeSet<Scope>) -> Self {
        let actor = Actor { kind: ActorKind::Application, id: application.to_string() };
        let scopes = scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        Self { actor, role: Some(Role::Application), scopes, tenant: None, session: None, limited: None }
    }

    pub fn role_name(&self) -> &'static str {
        self.role.map_or("none", Role::as_str)
    }

    pub fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held == scope.as_str())
    }

    /// The application, if an API key was used.
    pub fn application(&self) -> Option<ApplicationId> {
        (self.actor.kind == ActorKind::Application).then(|| self.actor.id.parse().ok()).flatten()
    }

    /// The person, if the token is a person's.
    pub fn person(&self) -> Option<PersonId> {
        match self.actor.kind {
            ActorKind::User | ActorKind::Operator => self.actor.id.parse().ok(),
            ActorKind::Application | ActorKind::System | ActorKind::Anonymous => None,
        }
    }

    /// The name of the internal service, if one signed the token.
    pub fn service(&self) -> Option<&str> {
        let is_service = self.actor.kind == ActorKind::System && self.role == Some(Role::InternalService);
        is_service.then(|| self.actor.id.strip_prefix(ACTOR_PREFIX)).flatten()
    }

    /// True unless the credentials are limited to permissions that don't stand for an action.
    pub fn is_within(&self, action: &str) -> bool {
        self.limited.as_ref().is_none_or(|limited| limited.covers(action))
    }

    /// Where in the journal begins what the credentials rest on: whatever ended it stands after that. `None`: they rest on
    /// nothing that ends by an event of a person or a tenant.
    pub fn began_at(&self) -> Option<Position> {
        let session = self.session.map(|session| session.began_at);
        session.or_else(|| self.limited.as_ref().map(|limited| limited.began_at))
    }

    /// True if a second factor was part of the sign-in.
    pub fn second_factor(&self) -> bool {
        self.session.is_some_and(|session| session.second_factor)
            || self.limited.as_ref().is_some_and(|limited| limited.second_factor)
    }

    /// True if a provider of the tenant's began the session.
    pub fn is_by_sso(&self) -> bool {
        self.session.is_some_and(|session| session.sso)
    }

    /// The person and the session, of whoever signed in.
    ///
    /// # Errors
    /// ERR-AUTH-403: the token is nobody's in particular.
    pub fn signed_in(&self) -> Result<(PersonId, SessionId), Problem> {
        let person = self.person().ok_or_else(|| Problem::forbidden("forbidden"))?;
        let session = self.session.ok_or_else(|| Problem::forbidden("forbidden"))?;
        Ok((person, session.id))
    }

    pub fn is_platform(&self) -> bool {
        self.role.is_some_and(Role::is_platform)
    }

    /// Whose rows a query of this caller may see. `None`: nobody's.
    pub fn sight(&self) -> Option<Sight> {
        match self.tenant {
            Some(tenant) => Some(Sight::Tenant(tenant)),
            None if self.is_platform() => Some(Sight::Platform),
            None => None,
        }
    }
}
