//! What the memory of access knows of how people sign in.

use engine::projection::MemoryProjection;
use kernel::{Personal, ShardId, TokenId};
use projections::AccessMemory;
use schemas::events::{MembershipEvent, TenantEvent, UserEvent};
use schemas::values::{AccessMode, MembershipKind, PasswordPolicy, Plan, Role};

use crate::feeds::at;
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
    let passkey = |number| kernel::PasskeyId(uuid::Uuid::from_u128(number));
    let added = |number| UserEvent::PasskeyAdded {
        passkey: passkey(number),
        name: Personal::new(person(1), "a phone".parse().unwrap()),
        credential: Personal::new(person(1), "AAAA".parse().unwrap()),
        record: Personal::new(person(1), "{}".parse().unwrap()),
        counter: 0,
        at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
    };
    let removed = |number| UserEvent::PasskeyRemoved { passkey: passkey(number) };
    for (event, has) in [(added(1), true), (added(2), true), (removed(1), true), (removed(2), false)] {
        access.apply(&to_user(1, event)).unwrap();
        assert_eq!(access.has_second_factor(person(1)), has);
    }
}

/// Memory holds no more of a person's tokens than the aggregate lets there be: what ended or expired leaves.
#[test]
fn a_token_that_ended_or_expired_leaves_when_the_next_is_issued() {
    let access = AccessMemory::new();
    let day = |n: i64| chrono::DateTime::from_timestamp(1_800_000_000 + n * 86_400, 0).unwrap();
    let id = |n: u128| TokenId(uuid::Uuid::from_u128(n));
    let mut position = 10;
    let mut happens = |event: UserEvent| {
        position += 1;
        let envelope = kernel::Envelope { position: kernel::Position(position), ..to_user(1, event) };
        access.apply(&envelope).unwrap();
    };
    let issued = |n: u128, at: i64| UserEvent::TokenIssued {
        token: id(n),
        tenant: tenant(1),
        name: Personal::new(person(1), "script".parse().unwrap()),
        permissions: ["users:*".parse().unwrap()].into(),
        hash: "a".repeat(64).parse().unwrap(),
        second_factor: false,
        at: day(at),
        expires_at: day(at + 10),
    };
    let known = || (1..6).filter(|n| access.token(id(*n)).is_some()).collect::<Vec<_>>();
    access.apply(&registered(1, "ann@acme.example", "Archer")).unwrap();
    happens(issued(1, 0));
    happens(issued(2, 5));
    assert_eq!(known(), [1, 2]);
    happens(issued(3, 10));
    assert_eq!(known(), [2, 3], "the first has expired");
    happens(UserEvent::SessionsRevoked { because: schemas::values::SessionEnd::Logout });
    assert_eq!(known(), [2, 3], "they are told that they have ended");
    happens(issued(4, 11));
    happens(issued(5, 11));
    happens(UserEvent::TokenRevoked { token: id(5) });
    assert_eq!(known(), [4]);
    access.reset(ShardId(0));
    assert_eq!(known(), [] as [u128; 0]);
}

#[test]
fn what_a_stranger_registered_is_blocked_and_binds_nobody_before_it_is_verified() {
    let access = AccessMemory::new();
    for envelope in [
        provisioned(1, "Acme", "acme.example", Plan::Free),
        provisioned(2, "Bee", "bee.example", Plan::Free),
        to_tenant(2, TenantEvent::Registered {}),
        registered(1, "ann@acme.example", "Archer"),
        invited(1, 1, 1, Role::User),
        invited(2, 2, 1, Role::Owner),
    ] {
        access.apply(&envelope).unwrap();
    }
    let mode = || access.tenant(tenant(2)).unwrap().effective(MembershipKind::Staff, at(1));
    assert_eq!((mode(), access.belongs_elsewhere(person(1), tenant(1))), (AccessMode::Blocked, false));
    access.apply(&to_tenant(2, TenantEvent::Verified {})).unwrap();
    assert_eq!((mode(), access.belongs_elsewhere(person(1), tenant(1))), (AccessMode::Active, true));
}
