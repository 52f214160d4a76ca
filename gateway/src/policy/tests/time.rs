//! What time it is, is told to who asks.

use super::*;

#[test]
fn a_policy_is_told_what_time_it_is_however_it_asks() {
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    for time in ["context.now", r#"context["now"]"#, r#"context["n\u{6f}w"]"#] {
        for (than, allowed) in [("2027-01-15T07:59:59.999Z", false), ("2027-01-15T08:00:00Z", true)] {
            let policy = format!(
                r#"@id("closed") forbid (principal, action == Action::"users:invite", resource) when {{ {time} > datetime("{than}") }};"#
            );
            let authorizer = with(&policy).unwrap();
            assert_eq!(owners(&authorizer, "users:invite").allowed, allowed, "{time} at {now}, {than}");
            assert!(authorizer.erring().is_empty(), "{time}");
        }
    }
}
