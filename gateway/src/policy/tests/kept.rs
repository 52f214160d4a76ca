//! What was decided is kept, where it is the same each time.

use super::*;

fn decide(authorizer: &Authorizer, mutates: bool, now: i64) -> Decision {
    authorizer.decide(&Question {
        action: "sign_in:log_in",
        caller: &Caller::stranger(),
        kind: MembershipKind::Staff,
        holds: false,
        mfa: false,
        resource: Resource::Platform,
        connected: false,
        mutates,
        when_blocked: false,
        now: DateTime::from_timestamp(now, 0).unwrap(),
    })
}

#[test]
fn a_policy_decides_by_what_is_around_the_call_however_often_it_is_asked() {
    let policy = r#"@id("quiet") forbid (principal, action == Action::"sign_in:log_in", resource) when { context.mutates };"#;
    let authorizer = with(policy).unwrap();
    for _ in 0..3 {
        assert!(decide(&authorizer, false, 0).allowed);
        assert_eq!(named(&decide(&authorizer, true, 0)), ["quiet"]);
    }
}

#[test]
fn a_policy_that_looks_at_the_time_is_asked_each_time() {
    let policy = r#"@id("night") forbid (principal, action == Action::"sign_in:log_in", resource)
        when { context.now > datetime("2027-01-15T08:00:00Z") };"#;
    let authorizer = with(policy).unwrap();
    for (now, allowed) in [(1_799_999_999, true), (1_800_000_001, false), (1_799_999_999, true)] {
        assert_eq!(decide(&authorizer, true, now).allowed, allowed, "{now}");
    }
}

#[test]
fn a_policy_that_errs_errs_each_time() {
    let policy = r#"@id("overflows") forbid (principal, action == Action::"sign_in:log_in", resource)
        when { 9223372036854775807 + 1 == 0 };"#;
    let authorizer = with(policy).unwrap();
    for times in 1..=3 {
        assert!(!decide(&authorizer, true, 0).allowed);
        assert_eq!(authorizer.erring().into_values().collect::<Vec<_>>(), [times]);
    }
}

/// What comes of it when a person, owner of one tenant, lists the people of a tenant.
fn listed(authorizer: &Authorizer, person: u128, own: TenantId, asked: TenantId) -> Decision {
    let mut caller = caller(Role::Owner, None, Some(own));
    caller.actor.id = Uuid::from_u128(person).to_string();
    authorizer.decide(&Question {
        action: "users:list",
        caller: &caller,
        kind: MembershipKind::Staff,
        holds: false,
        mfa: false,
        resource: Resource::Tenant {
            id: asked,
            mode: AccessMode::Active,
            status: Some(TenantStatus::Active),
            mfa_required: false,
            sso_required: false,
        },
        connected: false,
        mutates: false,
        when_blocked: false,
        now: DateTime::UNIX_EPOCH,
    })
}

#[test]
fn what_was_decided_of_one_member_holds_for_another_and_not_for_a_stranger_to_the_tenant() {
    let authorizer = authorizer();
    for _ in 0..2 {
        for (person, own, asked, allowed) in
            [(1, OWN, OWN, true), (2, OTHER, OTHER, true), (1, OWN, OTHER, false), (2, OTHER, OWN, false)]
        {
            let decision = listed(&authorizer, person, own, asked);
            assert_eq!(decision.allowed, allowed, "{person} of {own} asks about {asked}");
        }
    }
    let slices = authorizer.slices.read().unwrap().clone();
    assert_eq!(slices.get("users:list").unwrap().kept(), 2, "one of members, one of strangers");
}

/// No operator can publish such a policy any more; one that was published when they could is still in force.
#[test]
fn a_policy_that_names_somebody_is_about_them_alone() {
    let (tenant, person) = (OWN.0, Uuid::from_u128(1));
    for names in [
        format!(r#"(principal, action, resource == Tenant::"{tenant}")"#),
        format!(r#"(principal in Tenant::"{tenant}", action, resource)"#),
        format!(r#"(principal == Person::"{person}", action, resource)"#),
        format!(r#"(principal is Person, action, resource) when {{ principal == Person::"{person}" }}"#),
        format!(r#"(principal, action, resource is Tenant) unless {{ resource != Tenant::"{tenant}" }}"#),
    ] {
        let authorizer = with(&format!(r#"@id("theirs") forbid {names};"#)).unwrap();
        for _ in 0..2 {
            assert_eq!(named(&listed(&authorizer, 1, OWN, OWN)), ["theirs"], "{names}");
            assert!(listed(&authorizer, 2, OTHER, OTHER).allowed, "{names}");
        }
    }
}

#[test]
fn what_is_kept_ends_with_the_policies_that_decided_it_and_is_bounded() {
    let authorizer = authorizer();
    assert!(listed(&authorizer, 1, OWN, OWN).allowed);
    let closed = r#"forbid (principal, action == Action::"users:list", resource);"#;
    let closed = authorizer.read_offered(Uuid::from_u128(7), closed).unwrap();
    let published = Published { policies: vec![closed], unreadable: Vec::new() };
    authorizer.exchange(&published).unwrap();
    assert!(!listed(&authorizer, 1, OWN, OWN).allowed);
    authorizer.exchange(&Published::default()).unwrap();
    assert!(listed(&authorizer, 1, OWN, OWN).allowed);
    // Scopes that nobody has are told to policies as they are.
    let endpoint = url_map().endpoints().find(|endpoint| endpoint.action == "flags:poll").unwrap().clone();
    for n in 0..1_000 {
        let mut polling = polling(1);
        polling.caller.scopes.push(n.to_string());
        assert!(authorizer.decide(&polling.question(&endpoint)).allowed);
    }
    let slices = authorizer.slices.read().unwrap().clone();
    assert_eq!(slices.get("flags:poll").unwrap().kept(), 256);
}

/// A poll of a connected application.
fn polling(application: u128) -> Case {
    let mut case = Case::of(caller(Role::Application, Some(Scope::FlagRead), None), Standing::Own);
    case.caller.actor.id = Uuid::from_u128(application).to_string();
    case
}

/// An application can be named by what operators publish.
#[test]
fn a_policy_that_names_an_application_is_about_it_alone() {
    let named = Uuid::from_u128(1);
    let policy = format!(r#"@id("its") forbid (principal == Application::"{named}", action, resource);"#);
    let (plain, naming) = (authorizer(), with(&policy).unwrap());
    let endpoint = url_map().endpoints().find(|endpoint| endpoint.action == "flags:poll").unwrap().clone();
    for _ in 0..2 {
        for (application, allowed) in [(1, false), (2, true)] {
            let polling = polling(application);
            assert!(plain.decide(&polling.question(&endpoint)).allowed);
            assert_eq!(naming.decide(&polling.question(&endpoint)).allowed, allowed, "{application}");
        }
    }
}
