//! What an endpoint says of itself: who may call it, on which tenant, and what it does. The gate carries it out.

use axum::http::Method;
use chrono::TimeDelta;
use schemas::values::{Role, Scope};

/// Which tenant a call concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantRule {
    /// None in particular: the platform, or all tenants.
    Platform,
    /// The caller themself, whichever tenants they belong to: none is needed, and what may be done in it doesn't matter.
    Caller,
    /// The caller's own.
    Own,
    /// The one whose id is this parameter of the path.
    Path(&'static str),
    /// The one an application names by `?tenant=` or `x-org`; it must be connected to it.
    Connected,
}

/// How a call gets into the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audited {
    /// Exactly one entry, durable before the answer.
    Durably,
    /// Exactly one entry, queued: for what is polled, where a commit for each call would be the cost of the call.
    Queued,
    /// No entry; the reason is written beside it.
    Never(&'static str),
}

/// Where an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Public,
    /// The separate port for operators' machines.
    Admin,
    Both,
}

/// One endpoint's rules. Nobody may call it until it says who may.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub method: Method,
    /// With `{parameters}`, as in the OpenAPI document.
    pub path: &'static str,
    /// Such as `tenants:suspend`: the name in audit, metrics and OpenAPI.
    pub action: &'static str,
    /// Anyone, without credentials.
    pub anyone: bool,
    pub roles: &'static [Role],
    /// Applications whose key has this scope.
    pub scope: Option<Scope>,
    /// Internal services with this scope.
    pub service: Option<&'static str>,
    pub tenant: TenantRule,
    /// What is acted on: its type, and the path parameter that names it.
    pub resource: Option<(&'static str, &'static str)>,
    /// True if it changes something: then a tenant that is read-only refuses it.
    pub mutates: bool,
    /// True if it works whatever the tenant's access mode is.
    pub when_blocked: bool,
    pub audited: Audited,
    pub listener: Listener,
    /// True if it goes on, with its age, when this node can't know whether it is current.
    pub serves_stale: bool,
    /// True if it wants a caller who proved who they are within [`FRESH_FOR`].
    pub fresh: bool,
}

/// How long whoever signed in may do what is sensitive without proving again who they are.
pub const FRESH_FOR: TimeDelta = TimeDelta::minutes(10);

impl Endpoint {
    const fn new(method: Method, path: &'static str, action: &'static str, mutates: bool) -> Self {
        Self {
            method,
            path,
            action,
            anyone: false,
            roles: &[],
            scope: None,
            service: None,
            tenant: TenantRule::Platform,
            resource: None,
            mutates,
            when_blocked: false,
            audited: Audited::Durably,
            listener: Listener::Public,
            serves_stale: false,
            fresh: false,
        }
    }

    pub const fn get(path: &'static str, action: &'static str) -> Self {
        Self::new(Method::GET, path, action, false)
    }

    pub const fn post(path: &'static str, action: &'static str) -> Self {
        Self::new(Method::POST, path, action, true)
    }

    pub const fn put(path: &'static str, action: &'static str) -> Self {
        Self::new(Method::PUT, path, action, true)
    }

    pub const fn patch(path: &'static str, action: &'static str) -> Self {
        Self::new(Method::PATCH, path, action, true)
    }

    pub const fn delete(path: &'static str, action: &'static str) -> Self {
        Self::new(Method::DELETE, path, action, true)
    }

    /// True if a tenant can give it to others of its people, by a permission of the action's name: whatever administrators
    /// may in their own tenant.
    pub fn can_be_given(&self) -> bool {
        self.tenant == TenantRule::Own && self.roles.contains(&Role::Administrator)
    }

    /// These roles may.
    pub const fn roles(mut self, roles: &'static [Role]) -> Self {
        self.roles = roles;
        self
    }

    /// Applications with this scope may.
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Internal services with this scope may.
    pub const fn service(mut self, scope: &'static str) -> Self {
        self.service = Some(scope);
        self
    }

    /// Anyone may, without credentials.
    pub const fn anyone(mut self) -> Self {
        self.anyone = true;
        self
    }

    pub const fn tenant(mut self, rule: TenantRule) -> Self {
        self.tenant = rule;
        self
    }

    /// What is acted on: its type, and the path parameter that names it.
    pub const fn on(mut self, kind: &'static str, parameter: &'static str) -> Self {
        self.resource = Some((kind, parameter));
        self
    }

    /// A POST that changes nothing, such as an evaluation.
    pub const fn reads(mut self) -> Self {
        self.mutates = false;
        self
    }

    /// A GET that changes something, as browsers are sent to it.
    pub const fn changes(mut self) -> Self {
        self.mutates = true;
        self
    }

    pub const fn when_blocked(mut self) -> Self {
        self.when_blocked = true;
        self
    }

    pub const fn hot(mut self) -> Self {
        self.audited = Audited::Queued;
        self
    }

    pub const fn unaudited(mut self, because: &'static str) -> Self {
        self.audited = Audited::Never(because);
        self
    }

    pub const fn on_listener(mut self, listener: Listener) -> Self {
        self.listener = listener;
        self
    }

    /// Sensitive: it wants a fresh authentication.
    pub const fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    pub const fn serves_stale(mut self) -> Self {
        self.serves_stale = true;
        self
    }
}
