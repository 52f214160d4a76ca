//! What tenants give their people: by a permission, and never more than can be given.

use super::*;

/// What a tenant gives its people opens what administrators may, and never what is the owners' alone.
#[test]
fn a_permission_opens_what_can_be_given_and_nothing_else() {
    let (authorizer, map) = (authorizer(), url_map());
    let mut opened = 0;
    for endpoint in map.endpoints().filter(|endpoint| !endpoint.roles.contains(&Role::User)) {
        let case = |holds| Case {
            caller: caller(Role::User, None, Some(OWN)),
            standing: Standing::Own,
            kind: MembershipKind::Staff,
            holds,
            mode: AccessMode::Active,
            mfa_required: false,
            mfa: false,
        };
        assert!(endpoint.anyone || !authorizer.decide(&case(false).question(endpoint)).allowed);
        let decision = authorizer.decide(&case(true).question(endpoint));
        if decision.allowed {
            assert!(endpoint.can_be_given(), "{} is nobody's to give", endpoint.action);
            assert_eq!(named(&decision), ["members-do-what-they-were-given"]);
            opened += 1;
        }
    }
    assert!(opened > 20, "only {opened} endpoints can be given");
    assert!(!map.endpoints().any(|one| one.action == "own_tenant:change_plan" && one.can_be_given()));
}
