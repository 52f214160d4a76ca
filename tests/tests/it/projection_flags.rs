//! Flags in memory: what operators see and applications poll.

use engine::projection::MemoryProjection;
use kernel::{Envelope, Position, ShardId};
use projections::FlagMemory;
use schemas::events::TenantEvent;
use schemas::values::{FlagValue, Plan};
use serde_json::json;

use crate::feeds::at;
use crate::projection_read_models::a_full_history;
use crate::projection_world::{application, flag_set, provisioned, suspended, tenant, to_tenant};

/// What is in memory after a history.
fn flags_after(history: impl IntoIterator<Item = Envelope>) -> FlagMemory {
    let flags = FlagMemory::new();
    for (envelope, position) in history.into_iter().zip(1..) {
        if envelope.stream.aggregate_type == "tenant" {
            let recorded_at = at(position);
            flags.apply(&Envelope { position: Position(position), recorded_at, ..envelope }).unwrap();
        }
    }
    flags
}

/// FR-FLAG-001
#[test]
fn flags_show_their_last_value_and_cleared_ones_are_gone() {
    let mut history = a_full_history();
    history.push(flag_set(2, "other", FlagValue::Boolean(true)));
    let flags = flags_after(history);
    let mine = flags.tenant(tenant(1)).unwrap();
    let shown: Vec<_> = mine.flags.iter().map(|(key, flag)| (key.as_str(), flag.value.to_json())).collect();
    assert_eq!(shown, [("limits", json!({"seats": [1, 2]})), ("plan.sso", json!(true))]);
    let limits = &mine.flags["limits"];
    assert_eq!((limits.updated_at, limits.updated_by.as_str()), (at(20), "operator-1"));
    assert_eq!(
        flags.tenant(tenant(2)).unwrap().flags.keys().map(|key| key.as_str()).collect::<Vec<_>>(),
        ["other"]
    );
}

/// FR-FLAG-001
#[test]
fn a_flag_has_a_number_of_its_own_that_never_comes_back() {
    let set = |key, on| flag_set(1, key, FlagValue::Boolean(on));
    let cleared = || to_tenant(1, TenantEvent::FlagCleared { key: "a".parse().unwrap() });
    let number = |history: Vec<Envelope>| {
        let begun = [provisioned(1, "Acme", "acme.example", Plan::Pro)];
        let flags = flags_after(begun.into_iter().chain(history));
        flags.tenant(tenant(1)).unwrap().flags.get("a").map(|flag| flag.revision)
    };
    assert_eq!(number(vec![set("a", true)]), Some(1));
    assert_eq!(number(vec![set("a", true), set("b", true), suspended(1, "unpaid")]), Some(1));
    assert_eq!(number(vec![set("a", true), set("b", true), set("a", false)]), Some(3));
    assert_eq!(number(vec![set("a", true), cleared()]), None);
    assert_eq!(number(vec![set("a", true), cleared(), set("a", true)]), Some(3));
}

/// FR-FLAG-002
#[test]
fn a_tenants_etag_changes_with_its_flags_and_with_nothing_else() {
    let flags = FlagMemory::new();
    let mut position = 0;
    let mut happens = |envelope: Envelope| {
        position += 1;
        flags.apply(&Envelope { position: Position(position), ..envelope }).unwrap();
        flags.tenant(tenant(1)).map(|flags| flags.etag())
    };
    let new = happens(provisioned(1, "Acme", "acme.example", Plan::Pro)).unwrap();
    let set = happens(flag_set(1, "a", FlagValue::Boolean(true))).unwrap();
    assert_ne!(new, set);
    assert_eq!(happens(suspended(1, "unpaid")).unwrap(), set);
    let connected = to_tenant(1, TenantEvent::ApplicationConnected { application: application(1) });
    assert_eq!(happens(connected).unwrap(), set);
    assert_eq!(happens(flag_set(2, "a", FlagValue::Boolean(true))).unwrap(), set);
    let cleared = happens(to_tenant(1, TenantEvent::FlagCleared { key: "a".parse().unwrap() })).unwrap();
    assert_ne!(cleared, set);
    assert_ne!(cleared, new, "the same content again is still another version");
    assert!(flags.tenant(tenant(1)).unwrap().access.suspended);
    flags.reset(ShardId(0));
    assert!(flags.tenant(tenant(1)).is_none());
}

/// CON-COMP-001
#[test]
fn a_flag_whose_value_is_forgotten_is_gone() {
    let mut forgotten = flag_set(1, "theme", FlagValue::string("dark").unwrap());
    let mut payload = forgotten.payload.clone().into_value();
    crate::projection_read_models::forget(&mut payload);
    forgotten.payload = payload.into();
    let flags = flags_after([provisioned(1, "Acme", "acme.example", Plan::Pro), forgotten]);
    assert!(flags.tenant(tenant(1)).unwrap().flags.is_empty());
}
