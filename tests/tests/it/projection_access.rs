//! What the memory of access knows of how people sign in.

use engine::projection::MemoryProjection;
use kernel::{Personal, ShardId};
use projections::AccessMemory;
use schemas::events::{MembershipEvent, TenantEvent, UserEvent};
use schemas::values::{PasswordPolicy, Plan, Role};

use crate::projection_world::{
    invited, person, provisioned, registered, tenant, to_membership, to_tenant, to_user,
};

fn long() -> PasswordPolicy {
    PasswordPolicy { length_min: 20.try_into().unwrap(), ..PasswordPolicy::DEFAULT }
}

/// FR-AUTH-006: the strictest of those that a person actively belongs to, and of the one that they join.
#[test]
fn what_a_new_password_must_satisfy_is_asked_by_the_tenants_that_its_person_belongs_to() {
    let access = AccessMemory::new();
    let asks = |t, policy| to_tenant(t, TenantEvent::PasswordPolicyChanged { policy });
    let upper = PasswordPolicy { require_upper: true, ..PasswordPolicy::DEFAULT };
    let both = PasswordPolicy { require_upper: true, ..long() };
    for envelope in [
        provisioned(1, "Acme", "acme.example", Plan::Free),
        provisioned(2, "Bee", "bee.example", Plan::Free),
        asks(1, long()),
        asks(2, upper),
        registered(1, "ann@acme.example", "Archer"),
        invited(1, 1, 1, Role::User),
        invited(2, 2, 1, Role::User),
    ] {
        access.apply(&envelope).unwrap();
    }
    let asked = |joining| access.password_policy(person(1), joining);
    assert_eq!(asked(None), PasswordPolicy::DEFAULT, "an invitation alone asks for nothing");
    assert_eq!(asked(Some(tenant(2))), upper);
    access.apply(&to_membership(1, 1, MembershipEvent::Accepted {})).unwrap();
    assert_eq!((asked(None), asked(Some(tenant(2)))), (long(), both));
    access.apply(&to_membership(2, 1, MembershipEvent::Accepted {})).unwrap();
    assert_eq!(asked(None), both);
    access.apply(&to_membership(1, 1, MembershipEvent::Removed {})).unwrap();
    assert_eq!(asked(None), upper);
    // What can't be folded any more counts as it was last.
    access.close(ShardId(0), &asks(2, upper).stream);
    assert_eq!(asked(None), upper);
}

/// NFR-SEC-003
#[test]
fn whether_a_person_has_a_second_factor_is_known_as_it_changes() {
    let access = AccessMemory::new();
    access.apply(&registered(1, "ann@acme.example", "Archer")).unwrap();
    assert!(!access.has_second_factor(person(1)) && !access.has_second_factor(person(2)));
    let secret = Personal::new(person(1), "07".repeat(20).parse().unwrap());
    access
        .apply(&to_user(1, UserEvent::MfaEnrolled { secret, step: 1, recovery_codes: Vec::new() }))
        .unwrap();
    assert!(access.has_second_factor(person(1)));
    access.apply(&to_user(1, UserEvent::MfaRemoved {})).unwrap();
    assert!(!access.has_second_factor(person(1)));
}
