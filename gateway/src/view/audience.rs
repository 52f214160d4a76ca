//! Kinds of callers, and sets of them: whom a field of an answer is for.

use kernel::ActorKind;
use schemas::values::Role;

use crate::caller::Caller;
use crate::endpoint::{Endpoint, TenantRule};

/// A set of kinds of callers. A caller is one too: of their role, and of [`THEMSELF`] where the answer is about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience(u16);

/// Whoever may call the endpoint at all.
pub const EVERYONE: Audience = Audience(u16::MAX);
/// What is declared so is in no answer.
pub const NOBODY: Audience = Audience(0);
pub const OPERATOR: Audience = Audience(1);
pub const SUPERVISOR: Audience = Audience(1 << 1);
pub const AUDITOR: Audience = Audience(1 << 2);
pub const DEVELOPER: Audience = Audience(1 << 3);
pub const OWNER: Audience = Audience(1 << 4);
pub const ADMINISTRATOR: Audience = Audience(1 << 5);
/// A member without managing rights, whatever they were given beside.
pub const USER: Audience = Audience(1 << 6);
/// Who came with an API key.
pub const APPLICATION: Audience = Audience(1 << 7);
/// Who came with nothing.
pub const STRANGER: Audience = Audience(1 << 8);
/// A service of ours, by a token that it signed itself.
pub const SERVICE: Audience = Audience(1 << 10);
/// The person that the answer is about, in whichever role.
pub const THEMSELF: Audience = Audience(1 << 9);
/// Who runs the tenant.
pub const MANAGERS: Audience = OWNER.or(ADMINISTRATOR);
/// Who runs the platform, or looks after it.
pub const PLATFORM: Audience = OPERATOR.or(SUPERVISOR).or(AUDITOR).or(DEVELOPER);

/// Their words in the OpenAPI document.
const WORDS: [(Audience, &str); 11] = [
    (OPERATOR, "operator"),
    (SUPERVISOR, "supervisor"),
    (AUDITOR, "auditor"),
    (DEVELOPER, "developer"),
    (OWNER, "owner"),
    (ADMINISTRATOR, "administrator"),
    (USER, "user"),
    (APPLICATION, "application"),
    (SERVICE, "service"),
    (STRANGER, "stranger"),
    (THEMSELF, "self"),
];

impl Audience {
    /// These, and those too.
    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// True if a caller is among them.
    pub const fn meets(self, caller: Self) -> bool {
        self.0 & caller.0 != 0
    }

    pub fn words(self) -> impl Iterator<Item = &'static str> {
        WORDS.into_iter().filter(move |(kind, _)| self.meets(*kind)).map(|(_, word)| word)
    }

    /// What somebody who acts in a role is.
    pub const fn of_role(role: Role) -> Self {
        match role {
            Role::Operator => OPERATOR,
            Role::Supervisor => SUPERVISOR,
            Role::Auditor => AUDITOR,
            Role::Developer => DEVELOPER,
            Role::Owner => OWNER,
            Role::Administrator => ADMINISTRATOR,
            Role::User => USER,
            Role::Application => APPLICATION,
            Role::InternalService => SERVICE,
            // None of them has called yet: whoever lets them says what they see.
            Role::BillingSystem | Role::System => NOBODY,
        }
    }

    /// What a caller of an endpoint is.
    pub fn of(endpoint: &Endpoint, caller: &Caller) -> Self {
        let kind = match (caller.role, caller.actor.kind) {
            (Some(role), _) => Self::of_role(role),
            (None, ActorKind::Application) => APPLICATION,
            (None, ActorKind::Anonymous) => STRANGER,
            (None, ActorKind::User | ActorKind::Operator | ActorKind::System) => NOBODY,
        };
        // Who runs the platform looks at somebody else there.
        if endpoint.tenant == TenantRule::Caller && !caller.is_platform() { kind.or(THEMSELF) } else { kind }
    }

    /// Everything that a caller who is let in by an endpoint can be.
    pub fn all_of(endpoint: &Endpoint) -> Vec<Self> {
        let mut all: Vec<Self> = endpoint.roles.iter().map(|role| Self::of_role(*role)).collect();
        if endpoint.can_be_given() {
            all.push(USER);
        }
        if endpoint.tenant == TenantRule::Caller {
            all.iter_mut().filter(|kind| !PLATFORM.meets(**kind)).for_each(|kind| *kind = kind.or(THEMSELF));
            all.push(THEMSELF);
        }
        if endpoint.scope.is_some() {
            all.push(APPLICATION);
        }
        if endpoint.service.is_some() {
            all.push(SERVICE);
        }
        if endpoint.anyone {
            all.push(STRANGER);
        }
        all
    }
}
