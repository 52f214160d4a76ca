//! The mechanism: what is not declared for a caller is not there, however deep.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::view::audience::{DEVELOPER, EVERYONE, MANAGERS, NOBODY, OPERATOR, OWNER, THEMSELF, USER};

struct Person {
    id: u32,
    email: Option<String>,
    kind: &'static str,
    secret: Option<String>,
    home: Home,
    homes: Vec<Home>,
    by_name: BTreeMap<String, Home>,
    maybe: Option<Home>,
}

fields! { Person {
    id: EVERYONE,
    email: MANAGERS.or(THEMSELF),
    kind as "type": EVERYONE,
    secret if given: OWNER,
    home: EVERYONE,
    homes: EVERYONE,
    by_name: EVERYONE,
    maybe: EVERYONE,
} }

#[derive(Clone)]
struct Home {
    town: &'static str,
    street: &'static str,
}

fields! { Home {
    town: EVERYONE,
    street if far: MANAGERS,
} }

fn far(home: &Home, _: &&str, _: Audience) -> bool {
    home.town != "here"
}

fn person() -> Person {
    let home = Home { town: "Bern", street: "Gasse 1" };
    Person {
        id: 7,
        email: None,
        kind: "staff",
        secret: Some("s".to_owned()),
        homes: vec![home.clone()],
        by_name: BTreeMap::from([("a".to_owned(), home.clone())]),
        maybe: Some(home.clone()),
        home,
    }
}

fn seen(value: &impl Shown, to: Audience) -> Value {
    serde_json::to_value(For(value, to)).unwrap()
}

/// CON-SEC-007
#[test]
fn whoever_may_see_everything_gets_every_field_in_its_order() {
    let text = serde_json::to_string(&For(&person(), OWNER)).unwrap();
    assert_eq!(
        text,
        r#"{"id":7,"email":null,"type":"staff","secret":"s","home":{"town":"Bern","street":"Gasse 1"},"homes":[{"town":"Bern","street":"Gasse 1"}],"by_name":{"a":{"town":"Bern","street":"Gasse 1"}},"maybe":{"town":"Bern","street":"Gasse 1"}}"#
    );
}

/// CON-SEC-007
#[test]
fn what_a_role_may_not_see_is_absent_in_nested_values_lists_and_maps_too() {
    let home = json!({"town": "Bern"});
    assert_eq!(
        seen(&person(), USER),
        json!({"id": 7, "type": "staff", "home": home, "homes": [home], "by_name": {"a": home}, "maybe": home})
    );
    assert_eq!(seen(&vec![person().home], USER), json!([home]));
}

#[test]
fn null_is_a_value_and_not_the_same_as_absent() {
    let of = |person: &Person, to| seen(person, to).as_object().unwrap().get("email").cloned();
    assert_eq!(of(&person(), OWNER), Some(Value::Null));
    assert_eq!(of(&person(), USER), None);
    let without = Person { secret: None, ..person() };
    assert!(!seen(&without, OWNER).as_object().unwrap().contains_key("secret"));
}

#[test]
fn whom_an_answer_is_about_sees_what_is_declared_for_themself_in_any_role() {
    let keys = |to| seen(&person(), to).as_object().unwrap().contains_key("email");
    assert!(keys(USER.or(THEMSELF)) && keys(THEMSELF) && !keys(USER) && !keys(OPERATOR));
}

#[test]
fn a_condition_narrows_an_audience_and_never_widens_it() {
    let here = Home { town: "here", street: "Gasse 1" };
    assert_eq!(seen(&here, OWNER), json!({"town": "here"}));
    assert_eq!(seen(&person().home, OWNER), json!({"town": "Bern", "street": "Gasse 1"}));
    assert_eq!(seen(&person().home, OPERATOR), json!({"town": "Bern"}));
}

/// Default deny: who is of no kind that is known sees nothing.
#[test]
fn a_caller_of_no_kind_gets_an_empty_object() {
    assert_eq!(seen(&person(), NOBODY), json!({}));
}

#[test]
fn only_a_field_that_is_declared_and_for_others_is_hidden_from_filters() {
    assert!(Field::is_hidden(Person::FIELDS, "email", USER));
    assert!(!Field::is_hidden(Person::FIELDS, "email", OWNER));
    assert!(Field::is_hidden(Person::FIELDS, "secret", DEVELOPER));
    assert!(!Field::is_hidden(Person::FIELDS, "created_at", USER));
}

#[tokio::test]
async fn a_body_is_json_that_was_filtered() {
    let response = body(USER, &person().home);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let bytes = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
    assert_eq!(&bytes[..], br#"{"town":"Bern"}"#);
}
