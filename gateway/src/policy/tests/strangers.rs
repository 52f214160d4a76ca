//! What strangers are told is kept, where it is the same each time.

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
