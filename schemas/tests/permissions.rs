//! What permissions stand for: wildcards cover names, and nothing covers more than it says.

use proptest::prelude::*;
use schemas::values::{Module, Permission, Plan};

fn permission(text: &str) -> Permission {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_permission_is_a_resource_and_an_action_each_a_name_or_a_wildcard() {
    for text in
        ["users:invite", "finance.invoices:approve", "*:read", "finance.*:read", "a-b_c.d9:x", "*:*", "a:b.*"]
    {
        assert_eq!(permission(text).as_str(), text);
    }
    for (short, whole) in [("finance.*", "finance.*:*"), ("*", "*:*")] {
        assert_eq!(permission(short), permission(whole), "a wildcard alone is of every action");
    }
    let long = format!("{}:a", "a".repeat(127));
    let long_once_whole = format!("{}.*", "a".repeat(125));
    for text in [
        "",
        "users",
        ":",
        "users:",
        ":read",
        "Users:read",
        "users:read ",
        "9a:read",
        "a..b:read",
        "a.:read",
        ".a:read",
        "a*:read",
        "*.a:read",
        "a.*.b:read",
        "**:read",
        ".*:read",
        "a:b:c",
        "a\0:b",
        "ä:b",
        &long,
        &long_once_whole,
    ] {
        assert!(text.parse::<Permission>().is_err(), "{text:?} is accepted");
    }
    assert!(format!("{}:a", "a".repeat(126)).parse::<Permission>().is_ok());
}

#[test]
fn a_wildcard_covers_what_it_stands_for() {
    for (one, other) in [
        ("*:read", "users:read"),
        ("*:*", "a.*:*"),
        ("finance.*", "finance.invoices:approve"),
        ("finance.*:read", "finance.invoices.drafts:read"),
        ("finance.*", "finance.invoices.*:read"),
        ("users:*", "users:invite"),
    ] {
        assert!(permission(one).covers(&permission(other)), "{one} covers {other}");
        assert!(!permission(other).covers(&permission(one)), "{other} does not cover {one}");
        assert!(permission(one).overlaps(&permission(other)));
    }
    for (one, other) in [
        ("finance.*", "finance:read"),
        ("finance.*", "finances.x:read"),
        ("users:read", "users:invite"),
        ("*:read", "users:readers"),
    ] {
        assert!(!permission(one).covers(&permission(other)), "{one} does not cover {other}");
        assert!(!permission(one).overlaps(&permission(other)));
    }
    // They meet in finance.x:read, and neither covers the other.
    let (one, other) = (permission("*:read"), permission("finance.*"));
    assert!(one.overlaps(&other) && !one.covers(&other) && !other.covers(&one));
}

#[test]
fn a_module_is_a_name() {
    for text in ["webhooks", "api-access", "finance.invoices", "a_1"] {
        assert_eq!(text.parse::<Module>().unwrap().as_str(), text);
    }
    for text in ["", "Webhooks", "a.", "a..b", "1a", "a:b", "*", "a.*", &"a".repeat(65)] {
        assert!(text.parse::<Module>().is_err(), "{text:?} is accepted");
    }
}

#[test]
fn a_plan_has_modules_and_lacks_the_others() {
    let all: std::collections::BTreeSet<Module> = Plan::Enterprise.modules();
    for &plan in Plan::ALL {
        let (has, lacks) = (plan.modules(), plan.lacks());
        assert!(has.is_disjoint(&lacks));
        assert_eq!(&has | &lacks, all);
        assert!(has.iter().all(|module| !plan.withholds(&format!("{module}:use"))));
        assert!(lacks.iter().all(|module| plan.withholds(&format!("{module}.inner:use"))));
        assert!(!plan.withholds("users:invite"));
    }
}

/// Few names, so that what is tried often has something to do with each other.
fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 1..4).prop_map(|steps| steps.join("."))
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("*".to_owned()),
        2 => name().prop_map(|name| format!("{name}.*")),
        3 => name(),
    ]
}

fn any_permission() -> impl Strategy<Value = Permission> {
    (part(), part()).prop_map(|(resource, action)| permission(&format!("{resource}:{action}")))
}

fn concrete() -> impl Strategy<Value = Permission> {
    (name(), name()).prop_map(|(resource, action)| permission(&format!("{resource}:{action}")))
}

/// Something that a permission stands for and that no other one of these tests names.
fn example_of(permission: &Permission) -> Permission {
    let part = |part: &str| match part.strip_suffix('*') {
        Some(prefix) => format!("{prefix}never-named"),
        None => part.to_owned(),
    };
    format!("{}:{}", part(permission.resource()), part(permission.action())).parse().unwrap()
}

proptest! {
    #[test]
    fn covering_is_an_order(one in any_permission(), two in any_permission(), three in any_permission()) {
        prop_assert!(one.covers(&one));
        if one.covers(&two) && two.covers(&three) {
            prop_assert!(one.covers(&three), "{one} {two} {three}");
        }
        if one.covers(&two) && two.covers(&one) {
            prop_assert_eq!(one, two);
        }
    }

    #[test]
    fn everything_covers_all_and_a_name_itself_alone(one in any_permission(), name in concrete()) {
        prop_assert!(permission("*:*").covers(&one));
        prop_assert_eq!(name.covers(&one), name == one);
    }

    /// Nobody holds more by a wildcard than by all that it stands for.
    #[test]
    fn one_covers_another_exactly_if_it_covers_whatever_that_stands_for(
        one in any_permission(),
        other in any_permission(),
    ) {
        prop_assert_eq!(one.covers(&other), one.covers(&example_of(&other)), "{} {}", one, other);
    }

    #[test]
    fn two_overlap_exactly_if_they_have_something_in_common(
        one in any_permission(),
        other in any_permission(),
        name in concrete(),
    ) {
        prop_assert_eq!(one.overlaps(&other), other.overlaps(&one));
        if one.covers(&name) && other.covers(&name) {
            prop_assert!(one.overlaps(&other), "{} and {} meet in {}", one, other, name);
        }
        if one.covers(&other) {
            prop_assert!(one.overlaps(&other));
        }
        if one.overlaps(&other) {
            // The narrower of each part, put together, is covered by both.
            let narrower = |a: &str, b: &str| {
                let (whole_a, whole_b) = (permission(&format!("{a}:x")), permission(&format!("{b}:x")));
                if whole_a.covers(&whole_b) { b.to_owned() } else { a.to_owned() }
            };
            let resource = narrower(one.resource(), other.resource());
            let meeting = permission(&format!("{resource}:{}", narrower(one.action(), other.action())));
            prop_assert!(one.covers(&meeting) && other.covers(&meeting));
        }
    }

    #[test]
    fn where_two_meet_is_all_that_both_stand_for_and_nothing_else(
        one in any_permission(),
        other in any_permission(),
        name in concrete(),
    ) {
        let meeting = one.meet(&other);
        prop_assert_eq!(&meeting, &other.meet(&one));
        prop_assert_eq!(meeting.is_some(), one.overlaps(&other));
        let both = one.covers(&name) && other.covers(&name);
        prop_assert_eq!(meeting.is_some_and(|meeting| meeting.covers(&name)), both, "{} and {}", one, other);
    }

    #[test]
    fn a_permission_survives_storage(one in any_permission()) {
        let stored = serde_json::to_string(&one).unwrap();
        prop_assert_eq!(serde_json::from_str::<Permission>(&stored).unwrap(), one);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "[a-z*.:_]{0,20}") {
        if let Ok(read) = text.parse::<Permission>() {
            prop_assert_eq!(permission(read.as_str()), read);
        }
    }
}
