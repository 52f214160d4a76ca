//! What a session is good for that a tenant's provider began, and where none other is.

use super::*;
use crate::caller::Login;

fn by_sso(caller: Caller, sso: bool) -> Caller {
    let session = Login {
        id: Uuid::from_u128(0xc1).into(),
        began_at: kernel::Position(1),
        authenticated_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        second_factor: true,
        sso,
    };
    Caller { session: Some(session), ..caller }
}

fn asked<'a>(endpoint: &'a Endpoint, caller: &'a Caller, resource: Resource) -> Question<'a> {
    Question {
        action: endpoint.action,
        caller,
        kind: MembershipKind::Staff,
        holds: false,
        mfa: true,
        resource,
        connected: false,
        mutates: endpoint.mutates,
        when_blocked: endpoint.when_blocked,
        now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
    }
}

/// REQUIREMENTS §12, ruling 2
#[test]
fn where_a_provider_is_required_members_come_by_it_and_owners_as_they_like() {
    let (authorizer, map) = (authorizer(), url_map());
    for endpoint in map.endpoints().filter(|endpoint| endpoint.tenant == TenantRule::Own) {
        for role in [Role::Owner, Role::Administrator] {
            for (required, sso) in [(false, false), (false, true), (true, false), (true, true)] {
                let caller = by_sso(caller(role, None, Some(OWN)), sso);
                let (status, mode) = (Some(TenantStatus::Active), AccessMode::Active);
                let resource =
                    Resource::Tenant { id: OWN, mode, status, mfa_required: false, sso_required: required };
                let decision = authorizer.decide(&asked(endpoint, &caller, resource));
                let kept_out = required && !sso && role != Role::Owner;
                let allowed = endpoint.roles.contains(&role) && !kept_out;
                assert_eq!(decision.allowed, allowed, "{} as {role} ({required}, {sso})", endpoint.action);
                if kept_out && endpoint.roles.contains(&role) {
                    assert_eq!(decision.detail, Some(Detail::SsoRequired), "{}", endpoint.action);
                }
            }
        }
    }
}

#[test]
fn a_session_that_a_provider_began_knows_who_it_is_and_leaves_and_looks_after_nothing_else() {
    let (authorizer, map) = (authorizer(), url_map());
    let caller = by_sso(caller(Role::Owner, None, Some(OWN)), true);
    let mut open = BTreeSet::new();
    for endpoint in map.endpoints().filter(|endpoint| endpoint.tenant == TenantRule::Caller) {
        let decision = authorizer.decide(&asked(endpoint, &caller, Resource::Account));
        if decision.allowed {
            open.insert(endpoint.action);
        } else {
            assert_eq!(decision.detail, Some(Detail::SsoSession), "{}", endpoint.action);
        }
    }
    assert_eq!(open, ["me:access", "me:read", "sign_in:log_out"].into());
}
