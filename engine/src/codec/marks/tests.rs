use kernel::{PersonId, TenantId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::keyring::made_up;

fn person(n: u128) -> Subject {
    Subject::Person(PersonId(Uuid::from_u128(n)))
}

fn place(number: u128) -> Place<'static> {
    Place { kind: "event", of: "user", id: Uuid::from_u128(9), number }
}

/// A document as it is stored in the first place.
fn stored(text: &str, held: &Held) -> Result<String, CodecError> {
    Clear::of(text.into())?.sealed(&place(1), held, &mut Vec::new())
}

/// Keys of the persons and tenants 1 to 3.
fn held() -> Held {
    let subjects = (1..=3).flat_map(|n| [person(n), Subject::Tenant(TenantId(Uuid::from_u128(n)))]);
    subjects.fold(Held::default(), |held, subject| held.with(subject, Some(made_up(subject))))
}

/// A marked field, as the kernel's types write it.
fn marked(mark: &str, of: u128, value: Option<Value>) -> Value {
    let mut body = serde_json::Map::from_iter([("of".to_owned(), json!(Uuid::from_u128(of)))]);
    body.extend(value.map(|value| ("value".to_owned(), value)));
    json!({ mark: body })
}

/// Anything that can stand in a document, with marks anywhere in it.
fn document() -> impl Strategy<Value = Value> {
    let text =
        || prop_oneof!["[a-z]{0,3}", "\\PC{0,4}", Just("\"$\\".to_owned()), Just("$person".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let mark = prop_oneof![Just(kernel::PERSONAL_MARK), Just(kernel::CONFIDENTIAL_MARK)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner.clone()), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            (mark, 1_u128..=3, prop::option::of(inner)).prop_map(|(mark, of, value)| marked(mark, of, value)),
        ]
    })
}

/// What the walk must find, found by way of values: mark and path of each marked field, from the outside.
fn by_value(value: &Value, path: &[u8], into: &mut Vec<(String, Vec<u8>)>) {
    match value {
        Value::Object(fields) => {
            if let Some((name, _)) = fields.iter().next().filter(|_| kernel::is_mark(value)) {
                into.push((name.clone(), path.to_owned()));
                return;
            }
            for (name, value) in fields {
                by_value(value, &[path, b".", name.as_bytes()].concat(), into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                by_value(item, &[path, b"[", &(index as u64).to_be_bytes()].concat(), into);
            }
        }
        _ => {}
    }
}

fn by_walk(text: &str) -> Result<Vec<(String, Vec<u8>)>, CodecError> {
    let mut all = Vec::new();
    each_mark(text, |marked, path| {
        all.push((marked.mark.to_owned(), path.to_owned()));
        Ok(())
    })?;
    Ok(all)
}

/// What comes out of it without its marked values: nothing else may change, or be left to read.
fn emptied(value: &mut Value) {
    if kernel::is_mark(value) {
        let of = value.as_object().unwrap().values().next().unwrap()["of"].clone();
        let mark = value.as_object().unwrap().keys().next().unwrap().clone();
        *value = json!({ mark: { "of": of } });
        return;
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(emptied),
        Value::Array(items) => items.iter_mut().for_each(emptied),
        _ => {}
    }
}

proptest! {
    #[test]
    fn the_walk_finds_every_mark_and_the_way_to_it(document in document()) {
        let mut expected = Vec::new();
        by_value(&document, b"", &mut expected);
        for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
            prop_assert_eq!(by_walk(&text).unwrap(), expected.clone(), "{}", text);
        }
    }

    #[test]
    fn what_is_sealed_is_hidden_and_opens_to_what_it_was(document in document()) {
        let (held, text) = (held(), document.to_string());
        let sealed = stored(&text, &held).unwrap();
        let (mut left, mut expected): (Value, Value) = (serde_json::from_str(&sealed).unwrap(), document.clone());
        emptied(&mut left);
        emptied(&mut expected);
        prop_assert_eq!(left, expected);
        let mut marks = Vec::new();
        by_value(&serde_json::from_str(&sealed).unwrap(), b"", &mut marks);
        each_mark(&sealed, |marked, _| {
            let (body, _) = Body::of(&marked)?;
            assert!(body.value.is_none(), "{sealed}");
            Ok(())
        }).unwrap();
        prop_assert_eq!(open(&sealed, &place(1), &held).unwrap(), text.clone());
        // Whose keys it takes is told before and after.
        let (before, mut after) = (Clear::subjects([&Clear::of(text.into()).unwrap()]), BTreeSet::new());
        subjects(&sealed, &mut after).unwrap();
        prop_assert_eq!(&before, &after.into_iter().collect::<Vec<_>>());
        // Elsewhere it doesn't open.
        if !before.is_empty() {
            prop_assert!(open(&sealed, &place(2), &held).is_err());
        }
    }

    #[test]
    fn what_belongs_to_who_was_forgotten_is_gone_and_the_rest_is_there(document in document()) {
        let (held, text) = (held(), document.to_string());
        let sealed = stored(&text, &held).unwrap();
        let held = held.with(person(1), Some(Known::Forgotten));
        let opened = open(&sealed, &place(1), &held).unwrap();
        let mut of = BTreeSet::new();
        subjects(&opened, &mut of).unwrap();
        prop_assert!(!of.contains(&person(1)));
        prop_assert!(!mentions(&opened, person(1)));
        prop_assert_eq!(by_walk(&opened).unwrap().len(), by_walk(&text).unwrap().len());
    }

    #[test]
    fn text_that_is_no_json_is_an_error_and_never_a_panic(text in "[\\[\\]{}:,\"\\\\$a-z0-9 é]{0,40}") {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        if is_json {
            prop_assert!(by_walk(&text).is_ok());
        } else {
            let _ = by_walk(&text);
        }
        let _ = open(&text, &place(1), &held());
    }
}

#[test]
fn a_document_that_is_too_deep_is_an_error() {
    let deep = |depth: usize| format!("{}\"$\"{}", "[".repeat(depth), "]".repeat(depth));
    assert!(by_walk(&deep(128)).is_ok());
    assert!(by_walk(&deep(129)).is_err());
    assert!(by_walk(&deep(1_000_000)).is_err());
}

#[test]
fn a_mark_that_says_of_nobody_or_stands_beside_something_else() {
    let held = held();
    let nobody = r#"{"$personal":{"value":1}}"#;
    assert!(stored(nobody, &held).is_err());
    assert!(open(nobody, &place(1), &held).is_err());
    // Beside another key it is no mark, and what is in it may be.
    let beside = r#"{"$personal":{"a":{"$personal":{"of":"00000000-0000-0000-0000-000000000001","value":null}}},"b":1}"#;
    assert_eq!(by_walk(beside).unwrap(), [("$personal".to_owned(), b".$personal.a".to_vec())]);
    let sealed = stored(beside, &held).unwrap();
    assert!(sealed.contains("sealed") && !sealed.contains("null"), "{sealed}");
    assert_eq!(open(&sealed, &place(1), &held).unwrap(), beside);
}

/// Nothing is stored in the clear for want of a key, and nothing is taken for forgotten for want of one.
#[test]
fn without_a_key_nothing_is_sealed_and_nothing_opens() {
    let text = marked(kernel::PERSONAL_MARK, 1, Some(json!("ann@example.org"))).to_string();
    let sealed = stored(&text, &held()).unwrap();
    for known in [None, Some(Known::Broken)] {
        let held = held().with(person(1), known);
        assert!(stored(&text, &held).is_err());
        assert!(open(&sealed, &place(1), &held).is_err());
        // From before sealing was switched on.
        assert_eq!(open(&text, &place(1), &held).unwrap(), text);
    }
    let held = held().with(person(1), Some(Known::Forgotten));
    assert!(stored(&text, &held).is_err());
    assert_eq!(open(&text, &place(1), &held).unwrap(), marked(kernel::PERSONAL_MARK, 1, None).to_string());
}

/// What was sealed by any version opens: what a field is bound to is part of the storage format, byte for byte.
#[test]
fn a_field_is_bound_to_its_subject_document_and_path_in_this_form() {
    let mut bound_to = b"tenantry field\0person\0event\0user\0".to_vec();
    bound_to.extend_from_slice(Uuid::from_u128(1).as_bytes());
    bound_to.extend_from_slice(Uuid::from_u128(9).as_bytes());
    bound_to.extend_from_slice(&7_u128.to_be_bytes());
    bound_to.extend_from_slice(b".Told.all[\0\0\0\0\0\0\0\x01");
    let Known::Keys(keys) = made_up(person(1)) else { panic!("they are keys") };
    let mut sealed = String::new();
    keys.current().seal(&bound_to, br#""ann@example.org""#, &mut sealed).unwrap();
    let id = Uuid::from_u128(1);
    let stored = format!(r#"{{"Told":{{"all":[0,{{"$personal":{{"of":"{id}","sealed":"{sealed}"}}}}]}}}}"#);
    let opened =
        format!(r#"{{"Told":{{"all":[0,{{"$personal":{{"of":"{id}","value":"ann@example.org"}}}}]}}}}"#);
    assert_eq!(open(&stored, &place(7), &held()).unwrap(), opened);
}
