//! What the policies promise: they say what the URL map says, they refuse when in doubt, and they are quick.

mod credentials;
mod given;
mod kept;
mod published;
mod slices;
mod sso;
mod time;

use std::collections::BTreeSet;

use chrono::DateTime;
use kernel::{Actor, ActorKind, TenantId};
use schemas::values::{AccessMode, MembershipKind, Role, Scope, TenantStatus};
use uuid::Uuid;

use super::*;
use crate::caller::Caller;
use crate::endpoint::{Endpoint, TenantRule};
use crate::url_map::url_map;

const OWN: TenantId = TenantId(Uuid::from_u128(0xa1));
const OTHER: TenantId = TenantId(Uuid::from_u128(0xa2));

fn authorizer() -> Authorizer {
    Authorizer::new(&Sources::builtin()).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The built-in policies, and one more.
fn with(policy: &str) -> Result<Authorizer, PolicyFaults> {
    let mut sources = Sources::builtin();
    sources.policies.push(Source::new("more.cedar", policy));
    Authorizer::new(&sources)
}

/// How a caller stands to the tenant in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is theirs, or they are connected to it.
    Own,
    Other,
    /// They have none.
    None,
}

/// One case of the table.
#[derive(Clone, Debug)]
struct Case {
    caller: Caller,
    standing: Standing,
    kind: MembershipKind,
    /// They were given a permission of the action's name.
    holds: bool,
    mode: AccessMode,
    mfa_required: bool,
    mfa: bool,
}

fn caller(role: Role, scope: Option<Scope>, tenant: Option<TenantId>) -> Caller {
    let kind = match role {
        Role::Application => ActorKind::Application,
        role if role.is_platform() => ActorKind::Operator,
        role if role.is_tenant() => ActorKind::User,
        _ => ActorKind::System,
    };
    Caller {
        actor: Actor { kind, id: Uuid::from_u128(0xb1).to_string() },
        role: Some(role),
        scopes: scope.iter().map(|scope| scope.as_str().to_owned()).collect(),
        tenant,
        session: None,
        limited: None,
    }
}

/// Every role, every scope of a key, whatever is held of a tenant, and in whichever mode that is.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &role in Role::ALL {
        let scopes: Vec<Option<Scope>> = match role {
            Role::Application => Scope::ALL.iter().copied().map(Some).chain([None]).collect(),
            _ => vec![None],
        };
        for scope in scopes {
            for standing in [Standing::Own, Standing::Other, Standing::None] {
                // A tenant's role without a tenant is nothing: such a token is refused before.
                if role.is_tenant() && standing == Standing::None {
                    continue;
                }
                let tenant = match standing {
                    _ if role == Role::Application => None,
                    Standing::Own => Some(OWN),
                    Standing::Other => Some(OTHER),
                    Standing::None => None,
                };
                for &kind in MembershipKind::ALL {
                    for (&mode, holds) in
                        AccessMode::ALL.iter().flat_map(|mode| [(mode, false), (mode, true)])
                    {
                        let caller = caller(role, scope, tenant);
                        let case =
                            Case { caller, standing, kind, holds, mode, mfa_required: false, mfa: false };
                        // Whether a second factor is asked for, and shown.
                        if kind == MembershipKind::Staff {
                            cases.push(Case { mfa_required: true, ..case.clone() });
                            cases.push(Case { mfa_required: true, mfa: true, ..case.clone() });
                        }
                        // By a personal access token too, for everything and for little.
                        for permissions in [&["*"][..], &["users:*"]].into_iter().filter(|_| role.is_tenant())
                        {
                            let caller = credentials::limited(&case.caller, permissions);
                            cases.push(Case { caller, ..case.clone() });
                        }
                        cases.push(case);
                    }
                }
            }
        }
    }
    cases.extend(credentials::of_services());
    cases
}

impl Case {
    /// Of staff that was given nothing, in an active tenant that asks for no second factor.
    fn of(caller: Caller, standing: Standing) -> Self {
        let (kind, mode) = (MembershipKind::Staff, AccessMode::Active);
        Self { caller, standing, kind, holds: false, mode, mfa_required: false, mfa: false }
    }

    /// What the gate asks. It is about the tenant [`OWN`], unless the endpoint is about the caller's own.
    fn question<'a>(&'a self, endpoint: &'a Endpoint) -> Question<'a> {
        let status = Some(TenantStatus::Active);
        let (mode, mfa_required) = (self.mode, self.mfa_required);
        let sso_required = false;
        let tenant = |id| Resource::Tenant { id, mode, status, mfa_required, sso_required };
        let resource = match endpoint.tenant {
            TenantRule::Platform => Resource::Platform,
            TenantRule::Caller => Resource::Account,
            TenantRule::Path(_) | TenantRule::Connected => tenant(OWN),
            // Whoever has none is asked about as if they had one, and told so if that would do.
            TenantRule::Own => match self.caller.tenant {
                Some(own) => tenant(own),
                None => {
                    let (id, mode) = (TenantId(Uuid::nil()), AccessMode::Active);
                    Resource::Tenant { id, mode, status, mfa_required: false, sso_required }
                }
            },
        };
        Question {
            action: endpoint.action,
            caller: &self.caller,
            kind: self.kind,
            holds: self.holds,
            mfa: self.mfa,
            resource,
            connected: self.caller.application().is_some() && self.standing == Standing::Own,
            mutates: endpoint.mutates,
            when_blocked: endpoint.when_blocked,
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    /// What the URL map says, by itself: who may, on which tenant, in which mode. In this order.
    fn by_table(&self, endpoint: &Endpoint) -> Option<Detail> {
        let caller = &self.caller;
        let may = match caller.application() {
            Some(_) => endpoint.scope.is_some_and(|scope| caller.has_scope(scope)),
            None if caller.service().is_some() => {
                endpoint.service.is_some_and(|scope| caller.scopes.iter().any(|held| held == scope))
            }
            None => caller.role.is_some_and(|role| {
                let was_given = role.is_tenant() && self.holds && endpoint.can_be_given();
                was_given || endpoint.roles.contains(&role)
            }),
        };
        if !may {
            return Some(Detail::Forbidden);
        }
        match endpoint.tenant {
            TenantRule::Platform if caller.tenant.is_some() => return Some(Detail::WrongOrg),
            // Whoever may is a person, and it is their own.
            TenantRule::Platform | TenantRule::Caller => return None,
            TenantRule::Path(_) | TenantRule::Connected => {
                let everywhere = caller.is_platform() || caller.service().is_some();
                let unlimited = everywhere && caller.tenant.is_none();
                if !unlimited && self.standing != Standing::Own {
                    return Some(Detail::Hidden);
                }
            }
            TenantRule::Own if caller.tenant.is_none() => return None,
            TenantRule::Own => {}
        }
        if caller.person().is_some() && !caller.is_platform() && self.mfa_required && !self.mfa {
            return Some(Detail::MfaRequired);
        }
        if caller.is_platform() || endpoint.when_blocked {
            return None;
        }
        match self.mode {
            AccessMode::Active => None,
            AccessMode::ReadOnly if !endpoint.mutates => None,
            AccessMode::ReadOnly => Some(Detail::ReadOnly),
            AccessMode::Blocked => Some(Detail::Blocked),
        }
    }
}

/// All endpoints that ask for credentials, each also as if it worked in a blocked tenant.
fn endpoints() -> Vec<Endpoint> {
    let map = url_map();
    let guarded = map.endpoints().filter(|endpoint| !endpoint.anyone);
    guarded.flat_map(|one| [Endpoint::clone(one), Endpoint::clone(one).when_blocked()]).collect()
}

/// CC-AUTH-003, CON-SEC-007, NFR-SEC-005
#[test]
fn policies_say_what_the_url_map_says() {
    let (authorizer, cases) = (authorizer(), cases());
    let (mut allowed, mut refused) = (0, BTreeSet::new());
    for endpoint in &endpoints() {
        for case in &cases {
            let decision = authorizer.decide(&case.question(endpoint));
            let by_table = case.by_table(endpoint);
            let beyond = credentials::is_beyond_token(&case.caller, endpoint).then_some(Detail::Forbidden);
            let expected = by_table.or(beyond);
            let what = || format!("{} {}: {case:?}: {decision:?}", endpoint.method, endpoint.path);
            assert_eq!((decision.allowed, decision.detail), (expected.is_none(), expected), "{}", what());
            match expected {
                None => allowed += 1,
                Some(detail) => _ = refused.insert(detail),
            }
            // By which policies stands there, unless it is that none permits.
            assert_eq!(decision.determining.is_empty(), by_table == Some(Detail::Forbidden), "{}", what());
        }
    }
    // The table says something of everything; of sessions that providers began says `sso`.
    let of_sso = [Detail::SsoSession, Detail::SsoRequired];
    assert!(allowed > 500, "only {allowed} cases are allowed");
    assert_eq!(refused, Detail::ALL.into_iter().filter(|detail| !of_sso.contains(detail)).collect());
    assert!(authorizer.erring().is_empty());
}

#[test]
fn what_is_open_is_open_to_anybody_and_nothing_else_is() {
    let authorizer = authorizer();
    let stranger = Caller::stranger();
    for endpoint in url_map().endpoints() {
        for resource in [
            Resource::Platform,
            Resource::Account,
            Resource::Tenant {
                id: OWN,
                mode: AccessMode::Active,
                status: Some(TenantStatus::Active),
                mfa_required: true,
                sso_required: false,
            },
        ] {
            let question = Question {
                action: endpoint.action,
                caller: &stranger,
                kind: MembershipKind::Staff,
                holds: true,
                mfa: true,
                resource,
                connected: true,
                mutates: false,
                when_blocked: true,
                now: DateTime::UNIX_EPOCH,
            };
            let open = endpoint.anyone && resource == Resource::Platform;
            assert_eq!(authorizer.decide(&question).allowed, open, "{}", endpoint.action);
        }
    }
}

#[test]
fn policies_and_the_url_map_name_the_same_actions() {
    let (map, authorizer) = (url_map(), authorizer());
    let routed: BTreeSet<&str> = map.endpoints().map(|endpoint| endpoint.action).collect();
    let known: BTreeSet<&str> = authorizer.actions().collect();
    assert_eq!(routed, known, "schema.cedarschema and url_map.rs have each action, or neither has");
}

/// The endpoint of an action, for an owner whose tenant is active.
fn owners(authorizer: &Authorizer, action: &str) -> Decision {
    let case = Case::of(caller(Role::Owner, None, Some(OWN)), Standing::Own);
    let map = url_map();
    let endpoint = map.endpoints().find(|endpoint| endpoint.action == action).unwrap();
    authorizer.decide(&case.question(endpoint))
}

fn named(decision: &Decision) -> Vec<&str> {
    decision.determining.iter().map(AsRef::as_ref).collect()
}

#[test]
fn a_policy_that_cannot_be_evaluated_refuses_although_others_permit() {
    // It overflows: no check finds that beforehand.
    for effect in ["permit", "forbid"] {
        let policy = format!(
            r#"@id("overflows") {effect} (principal is Person, action in Action::"tenant:people", resource)
               when {{ principal.role == Role::"owner" && 9223372036854775807 + 1 == 0 }};"#
        );
        let authorizer = with(&policy).unwrap();
        for _ in 0..3 {
            let decision = owners(&authorizer, "users:list");
            assert_eq!((decision.allowed, decision.detail), (false, Some(Detail::Forbidden)), "{effect}");
            assert_eq!(named(&decision), ["overflows"], "{effect}");
        }
        let errors: Vec<_> = authorizer.erring().into_iter().map(|(id, n)| (id.to_string(), n)).collect();
        assert_eq!(errors, [("overflows".to_owned(), 3)]);
        assert!(owners(&authorizer, "own_tenant:read").allowed, "what it does not concern goes on");
    }
}

#[test]
fn a_policy_that_errs_opens_no_other_tenant_and_does_not_even_show_it() {
    let authorizer = with(
        r#"@id("overflows") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#,
    );
    let authorizer = authorizer.unwrap();
    let map = url_map();
    let endpoint = map.endpoints().find(|endpoint| endpoint.action == "flags:poll").unwrap();
    let case = Case::of(caller(Role::Application, Some(Scope::FlagRead), None), Standing::Other);
    let decision = authorizer.decide(&case.question(endpoint));
    assert_eq!((decision.allowed, decision.detail), (false, Some(Detail::Hidden)));
    assert_eq!(named(&decision), ["overflows", "strangers-do-not-see-a-tenant"]);
}

#[test]
fn a_policy_that_forbids_wins_and_is_told_by_its_detail() {
    let policy = r#"
        @id("permits-everything") permit (principal, action, resource);
        @id("nobody-invites-today") @detail("read_only")
        forbid (principal is Person, action == Action::"users:invite", resource)
        when { context.now < datetime("2100-01-01") };
    "#;
    let authorizer = with(policy).unwrap();
    let decision = owners(&authorizer, "users:invite");
    assert_eq!((decision.allowed, decision.detail), (false, Some(Detail::ReadOnly)));
    assert_eq!(named(&decision), ["nobody-invites-today"]);
    let decision = owners(&authorizer, "users:list");
    assert_eq!(named(&decision), ["managers-run-their-tenant", "permits-everything"]);
    // The guards stand, whatever permits.
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.caller.role == Some(Role::Owner)).collect();
    let map = url_map();
    let endpoint = map.endpoints().find(|endpoint| endpoint.action == "users:list").unwrap();
    for case in cases {
        let decision = authorizer.decide(&case.question(endpoint));
        let kept_out = case.mode == AccessMode::Blocked || (case.mfa_required && !case.mfa);
        assert_eq!(decision.allowed, !kept_out, "{case:?}");
    }
}

#[test]
fn what_is_wrong_with_a_policy_is_told_with_its_name_and_place() {
    let scope = "(principal is Person, action, resource)";
    for (policy, place, named, told) in [
        (
            "\n@id(\"x\") permit (principal, action, resource) when { 1 + };",
            Some(2),
            None,
            "unexpected token",
        ),
        (
            &format!("@id(\"x\")\nforbid {scope}\nwhen {{ principal.age > 3 }};"),
            Some(3),
            Some("x"),
            "attribute `age`",
        ),
        (
            &format!("@id(\"x\") forbid {scope}\nwhen {{\n principal.role == Role::\"onwer\" }};"),
            Some(3),
            Some("x"),
            "onwer",
        ),
        (
            "@id(\"x\") forbid (principal, action == Action::\"tenants:suspent\", resource);",
            Some(1),
            Some("x"),
            "suspent",
        ),
        // It can never apply: nothing says that an application suspends tenants.
        (
            "@id(\"x\") permit (principal is Application, action == Action::\"tenants:suspend\", resource);",
            Some(1),
            Some("x"),
            "",
        ),
        (&format!("forbid {scope};"), None, Some("policy0"), "@id"),
        (&format!("@id(\"x\") forbid {scope}; @id(\"x\") permit {scope};"), None, Some("x"), "twice"),
        (&format!("@id(\"x\") @detail(\"no_way\") forbid {scope};"), None, Some("x"), "@detail"),
        (&format!("@id(\"x\") @detail(\"blocked\") permit {scope};"), None, Some("x"), "@detail"),
        ("@id(\"x\") permit (principal == ?principal, action, resource);", None, None, "templates"),
    ] {
        let PolicyFaults(faults) = with(policy).err().unwrap_or_else(|| panic!("it was taken: {policy}"));
        let fault = &faults[0];
        assert_eq!(fault.source, "more.cedar", "{policy}");
        assert_eq!(fault.place.map(|(line, _)| line), place, "{policy}: {fault}");
        assert_eq!(fault.policy.as_deref(), named, "{policy}: {fault}");
        assert!(fault.what.contains(told), "{policy}: {fault}");
    }
    let old = "@id(\"x\")\nforbid (principal is Person, action, resource) when { principal.age > 3 };";
    let told = with(old).err().unwrap().to_string();
    assert!(told.starts_with("more.cedar:2:"), "{told}");
    assert!(told.contains("policy `x`"), "{told}");
    let taken = with("@id(\"owners-hold-the-contract\") forbid (principal, action, resource);");
    assert!(taken.err().unwrap().to_string().contains("owners-hold-the-contract"));
}

#[test]
fn a_server_with_a_broken_schema_is_not_made() {
    let mut sources = Sources::builtin();
    sources.schema.text.push_str("\nentity Person;");
    let faults = Authorizer::new(&sources).err().unwrap();
    assert!(faults.to_string().starts_with("schema.cedarschema"), "{faults}");
}
