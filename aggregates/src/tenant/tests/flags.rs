//! Flags: set, changed, cleared, limited, and the numbers that callers know them by.

use super::*;

/// FR-FLAG-001
#[test]
fn a_flag_is_set_changed_and_cleared() {
    given([provisioned()])
        .when(set_flag("new-editor", true))
        .then([flag("new-editor", true)])
        .and_again_nothing()
        .and()
        .when(set_flag("new-editor", false))
        .then([flag("new-editor", false)])
        .and()
        .when(TenantCommand::ClearFlag { key: value("new-editor") })
        .then([TenantEvent::FlagCleared { key: value("new-editor") }])
        .and_again_nothing();
}

/// `If-Match`: who sets flags is in nobody's way who changes the tenant, nor who sets others.
#[test]
fn a_tenant_and_each_of_its_flags_have_numbers_of_their_own() {
    let revision = |part: Option<&str>, events: &[TenantEvent]| given(events.to_vec()).state().revision(part);
    let mut history = vec![];
    assert_eq!((revision(None, &history), revision(Some("a"), &history)), (Some(0), Some(0)));
    history.extend([provisioned(), flag("a", true), flag("b", true), suspended()]);
    assert_eq!(revision(None, &history), Some(2));
    assert_eq!((revision(Some("a"), &history), revision(Some("b"), &history)), (Some(1), Some(2)));
    assert_eq!((revision(Some("c"), &history), revision(Some("no key!"), &history)), (Some(0), Some(0)));
    history.extend([flag("a", false), TenantEvent::FlagCleared { key: value("b") }]);
    assert_eq!((revision(Some("a"), &history), revision(Some("b"), &history)), (Some(3), Some(0)));
    history.push(flag("b", true));
    assert_eq!(revision(Some("b"), &history), Some(5), "never again a number that it had");
    assert_eq!(revision(None, &history), Some(2));
    assert_eq!(Tenant::part(&set_flag("a", true)).as_deref(), Some("a"));
    assert_eq!(Tenant::part(&TenantCommand::ClearFlag { key: value("a") }).as_deref(), Some("a"));
    assert_eq!(Tenant::part(&TenantCommand::Purge), None);
}

#[test]
fn the_plan_limits_new_flags_but_not_changes_of_old_ones() {
    let full = || {
        let flags = (0..Plan::Free.limits().flags).map(|number| flag(&format!("f{number}"), true));
        given([provisioned()].into_iter().chain(flags))
    };
    full().when(set_flag("one-more", true)).then_rejected(Rule, "capacity");
    full().when(set_flag("f0", false)).then([flag("f0", false)]);
}
