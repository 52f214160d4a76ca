//! The caller: who is behind a request, once the credentials are checked.

use kernel::{Actor, ActorKind, ApplicationId, PersonId, TenantId};
use projections::Scope as Sight;
use schemas::values::{Role, Scope};
use uuid::Uuid;

/// The authenticated principal of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub actor: Actor,
    /// `None` for a stranger.
    pub role: Option<Role>,
    /// What the credentials were limited to.
    pub scopes: Vec<String>,
    /// The tenant the credentials, or `x-org`, are about. `None`: the whole platform, or nothing.
    pub tenant: Option<TenantId>,
    pub session: Option<Uuid>,
}

impl Caller {
    /// Nobody we know.
    pub fn stranger() -> Self {
        let actor = Actor { kind: ActorKind::Anonymous, id: "anonymous".to_owned() };
        Self { actor, role: None, scopes: Vec::new(), tenant: None, session: None }
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
