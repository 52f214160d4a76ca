//! Credentials that are neither sessions nor keys: personal access tokens, and tokens of services.

use std::sync::Arc;

use kernel::{Position, TokenId};

use super::*;
use crate::personal_token::Limited;

/// Of a service, as its token says.
fn service(scope: Option<&str>, tenant: Option<TenantId>) -> Caller {
    let actor = Actor { kind: ActorKind::System, id: "service:billing".to_owned() };
    let scopes = scope.iter().map(|scope| (*scope).to_owned()).collect();
    Caller { actor, scopes, ..caller(Role::InternalService, None, tenant) }
}

/// The same caller by a personal access token.
pub(super) fn limited(caller: &Caller, permissions: &[&str]) -> Caller {
    let permissions = permissions.iter().map(|text| text.parse().unwrap()).collect();
    let limited = Limited {
        token: TokenId(Uuid::from_u128(0xd1)),
        permissions: Arc::new(permissions),
        began_at: Position(1),
        second_factor: false,
    };
    Caller { limited: Some(limited), ..caller.clone() }
}

/// What a personal access token keeps its person from, whatever they may.
pub(super) fn is_beyond_token(caller: &Caller, endpoint: &Endpoint) -> bool {
    let Some(limited) = &caller.limited else { return false };
    match endpoint.tenant {
        TenantRule::Caller => !["me:read", "me:access"].contains(&endpoint.action),
        _ => !limited.covers(endpoint.action),
    }
}

/// Services, with and without the scope that endpoints ask for.
pub(super) fn of_services() -> Vec<Case> {
    let mut cases = Vec::new();
    for tenant in [None, Some(OWN)] {
        for scope in [Some("access:read"), Some("flag:read"), None] {
            cases.push(Case {
                caller: service(scope, tenant),
                standing: if tenant.is_some() { Standing::Own } else { Standing::None },
                kind: MembershipKind::Staff,
                holds: false,
                mode: AccessMode::Active,
                mfa_required: false,
                mfa: false,
            });
        }
    }
    cases
}

/// The whole question for an owner's token.
fn by_token(authorizer: &Authorizer, action: &str, permissions: &[&str]) -> Decision {
    let case = Case {
        caller: limited(&caller(Role::Owner, None, Some(OWN)), permissions),
        standing: Standing::Own,
        kind: MembershipKind::Staff,
        holds: true,
        mode: AccessMode::Active,
        mfa_required: false,
        mfa: false,
    };
    let map = url_map();
    let endpoint = map.endpoints().find(|endpoint| endpoint.action == action).unwrap();
    authorizer.decide(&case.question(endpoint))
}

#[test]
fn a_personal_token_does_what_its_permissions_and_its_person_may_and_says_why_not() {
    let authorizer = authorizer();
    assert!(by_token(&authorizer, "users:read", &["users:*"]).allowed);
    for (action, permissions, guard) in [
        ("roles:read", &["users:*"][..], "a-personal-token-stays-within-its-permissions"),
        ("my_tokens:issue", &["*"], "a-personal-token-looks-after-no-account"),
        ("passwords:change", &["*", "passwords:change"], "a-personal-token-looks-after-no-account"),
    ] {
        let decision = by_token(&authorizer, action, permissions);
        assert_eq!((decision.allowed, decision.detail), (false, Some(Detail::Forbidden)), "{action}");
        assert_eq!(named(&decision), [guard], "{action}");
    }
    // No permission makes an operator of anybody.
    assert!(!by_token(&authorizer, "tenants:suspend", &["*"]).allowed);
    for action in ["me:read", "me:access"] {
        assert!(by_token(&authorizer, action, &["users:read"]).allowed, "{action}");
    }
}

/// A published policy may permit what it likes: a token is not widened by it.
#[test]
fn no_policy_widens_a_personal_token() {
    let authorizer = with(r#"@id("everything") permit (principal, action, resource);"#).unwrap();
    assert!(!by_token(&authorizer, "roles:read", &["users:*"]).allowed);
    assert!(!by_token(&authorizer, "mfa:remove", &["*"]).allowed);
}
