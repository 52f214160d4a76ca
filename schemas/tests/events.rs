//! What was promised to disk is held: every event version can be read, is catalogued, and keeps free text marked.

mod declared;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kernel::{CONFIDENTIAL_MARK, Event, PERSONAL_MARK, is_mark};
use schemas::catalogue::{self, Sensitivity, catalogue, events_md};
use schemas::events::{
    ApplicationEvent, EventName, MembershipEvent, PolicyEvent, RoleEvent, TenantEvent, UserEvent,
};
use serde_json::Value;

/// Plain texts that are neither id, time, hash nor word, each with the reason why it may stay readable for ever.
const IDENTIFIERS: &[(&str, &str)] = &[
    ("tenant.flag_set/key", "an identifier shared with the applications' source code"),
    ("tenant.flag_cleared/key", "an identifier shared with the applications' source code"),
    ("tenant.provisioning_failed/reason", "a rejection's machine string"),
    ("application.registered/name", "the deployment's own, not a tenant's"),
    ("application.registered/redirect_uris", "the deployment's own, not a tenant's"),
    ("application.updated/name", "the deployment's own, not a tenant's"),
    ("application.updated/owner", "an opaque id, which cannot be an e-mail address"),
    ("application.updated/redirect_uris", "the deployment's own, not a tenant's"),
    ("policy.published/text", "the deployment's own rules, which name no tenant and no person"),
    ("application.key_issued/prefix", "the part of a random secret that is no secret"),
    ("role.created/permissions", "identifiers shared with the applications' source code"),
    ("role.permissions_set/permissions", "identifiers shared with the applications' source code"),
    ("user.token_issued/permissions", "identifiers shared with the applications' source code"),
    ("membership.permission_granted/permission", "an identifier shared with the applications' source code"),
    ("membership.permission_revoked/permission", "an identifier shared with the applications' source code"),
    ("membership.module_granted/module", "an identifier shared with the catalogue of modules"),
    ("membership.module_revoked/module", "an identifier shared with the catalogue of modules"),
    ("membership.delegation_changed/may_grant", "identifiers shared with the applications' source code"),
];

#[test]
fn every_variant_is_named_once_and_in_order() {
    fn check<E: Event>(names: &[EventName]) {
        let named: Vec<_> = names.iter().map(|name| name.variant).collect();
        assert_eq!(named, declared::variants::<E>());
    }
    check::<TenantEvent>(TenantEvent::NAMES);
    check::<UserEvent>(UserEvent::NAMES);
    check::<MembershipEvent>(MembershipEvent::NAMES);
    check::<ApplicationEvent>(ApplicationEvent::NAMES);
    check::<PolicyEvent>(PolicyEvent::NAMES);
    check::<RoleEvent>(RoleEvent::NAMES);

    let mut types = BTreeSet::new();
    for entry in catalogue() {
        assert!(types.insert(entry.name.event_type), "{} is used twice", entry.name.event_type);
        assert!(entry.name.event_type.starts_with(&format!("{}.", entry.aggregate)));
    }
}

#[test]
fn every_fixture_of_a_newest_shape_is_read_and_written_back_the_same() {
    fn check<E: Event>(names: &[EventName]) {
        for name in names {
            let payload: Value = serde_json::from_str(name.fixture).unwrap();
            let event =
                E::deserialize(&payload).unwrap_or_else(|error| panic!("{}: {error}", name.event_type));
            assert_eq!((event.event_type(), event.event_version()), (name.event_type, name.version));
            assert_eq!(serde_json::to_value(&event).unwrap(), payload, "{}", name.event_type);
        }
    }
    check::<TenantEvent>(TenantEvent::NAMES);
    check::<UserEvent>(UserEvent::NAMES);
    check::<MembershipEvent>(MembershipEvent::NAMES);
    check::<ApplicationEvent>(ApplicationEvent::NAMES);
    check::<PolicyEvent>(PolicyEvent::NAMES);
    check::<RoleEvent>(RoleEvent::NAMES);
}

#[test]
fn every_fixture_shows_every_field_of_its_event() {
    fn check<E: Event>(names: &[EventName]) {
        for name in names {
            let payload: Value = serde_json::from_str(name.fixture).unwrap();
            let shown: BTreeSet<_> = payload[name.variant].as_object().unwrap().keys().cloned().collect();
            let declared: BTreeSet<_> =
                declared::fields::<E>(name.variant).into_iter().map(str::to_owned).collect();
            assert_eq!(shown, declared, "{}", name.event_type);
        }
    }
    check::<TenantEvent>(TenantEvent::NAMES);
    check::<UserEvent>(UserEvent::NAMES);
    check::<MembershipEvent>(MembershipEvent::NAMES);
    check::<ApplicationEvent>(ApplicationEvent::NAMES);
    check::<PolicyEvent>(PolicyEvent::NAMES);
    check::<RoleEvent>(RoleEvent::NAMES);
}

/// What an older release wrote is read through the upcasters, version by version, up to the newest shape.
#[test]
fn every_fixture_on_disk_leads_to_a_newest_shape() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut seen = 0;
    for file in fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        let file_name = file.file_name().into_string().unwrap();
        let stem = file_name.strip_suffix(".json").unwrap_or_else(|| panic!("{file_name} is no fixture"));
        let (event_type, version) = stem.rsplit_once(".v").unwrap();
        let payload = serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap();
        read_through(event_type, version, payload);
        seen += 1;
    }
    assert!(seen >= catalogue().len(), "a newest shape has no fixture");
}

fn read_through(event_type: &str, version: &str, payload: Value) {
    let upcasters = schemas::upcasters();
    let older = upcasters.iter().find(|it| it.event_type == event_type && it.from_version == version);
    if let Some(upcaster) = older {
        for part in (upcaster.upcast)(payload) {
            read_through(part.event_type, part.event_version, part.payload);
        }
        return;
    }
    let newest =
        catalogue().into_iter().any(|it| it.name.event_type == event_type && it.name.version == version);
    assert!(newest, "{event_type} version {version} is neither newest nor upcast");
    let read = match event_type.split_once('.').unwrap().0 {
        "tenant" => TenantEvent::deserialize_value(payload),
        "user" => UserEvent::deserialize_value(payload),
        "membership" => MembershipEvent::deserialize_value(payload),
        "application" => ApplicationEvent::deserialize_value(payload),
        "policy" => PolicyEvent::deserialize_value(payload),
        "role" => RoleEvent::deserialize_value(payload),
        other => panic!("{other} is no aggregate"),
    };
    read.unwrap_or_else(|error| panic!("{event_type} version {version}: {error}"));
}

trait DeserializeValue: Event {
    fn deserialize_value(payload: Value) -> Result<(), serde_json::Error> {
        Self::deserialize(payload).map(drop)
    }
}
impl<E: Event> DeserializeValue for E {}

/// FR-OPS-002: what is not marked can't be forgotten, so no free text may stand unmarked.
#[test]
fn no_text_stands_unmarked_but_ids_times_hashes_words_and_listed_identifiers() {
    let mut used = BTreeSet::new();
    for entry in catalogue() {
        let payload: Value = serde_json::from_str(entry.name.fixture).unwrap();
        for (path, text) in unmarked_texts(&payload[entry.name.variant], "") {
            let field = format!("{}/{path}", entry.name.event_type);
            let listed = IDENTIFIERS.iter().any(|(identifier, _)| *identifier == field);
            let harmless = catalogue::is_id(&text)
                || catalogue::is_time(&text)
                || catalogue::is_hash(&text)
                || catalogue::is_word(&text);
            assert!(listed || harmless, "{field} is free text without a mark");
            if listed {
                used.insert(field);
            }
        }
    }
    assert_eq!(used.len(), IDENTIFIERS.len(), "the list names a field that is gone");
}

fn unmarked_texts(value: &Value, path: &str) -> Vec<(String, String)> {
    if is_mark(value) {
        return Vec::new();
    }
    match value {
        Value::String(text) => vec![(path.to_owned(), text.clone())],
        Value::Array(items) => items.iter().flat_map(|item| unmarked_texts(item, path)).collect(),
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, inner)| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                unmarked_texts(inner, &path)
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// FR-OPS-002, CON-COMP-001: a shredded event is still an event.
#[test]
fn every_event_is_still_read_when_its_keys_are_destroyed() {
    for entry in catalogue() {
        let mut payload: Value = serde_json::from_str(entry.name.fixture).unwrap();
        forget(&mut payload);
        read_through(entry.name.event_type, entry.name.version, payload);
    }
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object.iter_mut() {
                if key == PERSONAL_MARK || key == CONFIDENTIAL_MARK {
                    inner.as_object_mut().unwrap().shift_remove("value");
                } else {
                    forget(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// CC-OPS-001: the previous release reads what the next one writes, so a release can be taken back.
#[test]
fn a_field_of_the_future_does_not_stop_an_event_from_being_read() {
    for entry in catalogue() {
        let mut payload: Value = serde_json::from_str(entry.name.fixture).unwrap();
        payload[entry.name.variant]["invented_later"] = Value::Bool(true);
        read_through(entry.name.event_type, entry.name.version, payload);
    }
}

#[test]
fn the_catalogue_knows_what_is_marked_and_what_may_be_missing() {
    let entries = catalogue();
    let field = |event_type: &str, path: &str| {
        let entry = entries.iter().find(|entry| entry.name.event_type == event_type).unwrap();
        let field = entry.fields.iter().find(|field| field.path == path).unwrap();
        (field.sensitivity, field.shape.clone(), field.required)
    };
    assert_eq!(field("tenant.provisioned", "domain"), (Sensitivity::Confidential, "text".into(), true));
    assert_eq!(field("tenant.provisioned", "owner_email"), (Sensitivity::Personal, "text".into(), true));
    assert_eq!(field("tenant.provisioned", "trial_ends_at"), (Sensitivity::Plain, "time".into(), false));
    assert_eq!(
        field("tenant.provisioned", "application.new.name"),
        (Sensitivity::Confidential, "text".into(), true)
    );
    assert_eq!(field("user.registered", "first_name"), (Sensitivity::Personal, "text".into(), false));
    assert_eq!(field("application.key_issued", "scopes"), (Sensitivity::Plain, "array of word".into(), true));
}

#[test]
fn docs_events_md_is_current() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let written = fs::read_to_string(page).expect("docs/events.md is there");
    assert!(
        written == events_md(),
        "docs/events.md is stale: cargo run -p schemas --example events_md > docs/events.md"
    );
}
