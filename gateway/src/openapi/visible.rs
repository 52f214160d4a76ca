//! Who sees a field, where not everybody does who may call: `x-visible-to`. Such a field can't be required.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::view::audience::Audience;
use crate::view::declared::declared;

/// How the names of pages begin.
const PAGE: &str = "PageBody_";

/// Says it in the schemas of a document.
pub fn tell(document: &mut Value, endpoints: &[Arc<Endpoint>]) {
    name_items(document);
    let callers = callers(document, endpoints);
    let schemas = &mut document["components"]["schemas"];
    for declared in declared() {
        let (Some(callers), Some(schema)) =
            (callers.get(&declared.schema), schemas.get_mut(&declared.schema))
        else {
            continue;
        };
        for field in declared.fields {
            if callers.iter().all(|caller| field.audience.meets(*caller)) {
                continue;
            }
            if let Some(property) = schema["properties"].get_mut(field.name) {
                property["x-visible-to"] = field.audience.words().collect();
            }
            if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|name| *name != json!(field.name));
            }
        }
    }
}

/// A page's items have their type's schema, whose name generics lose.
fn name_items(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut();
    let Some(schemas) = schemas else { return };
    let names: BTreeSet<String> = schemas.keys().cloned().collect();
    for (page, schema) in schemas.iter_mut() {
        if let Some(item) = page.strip_prefix(PAGE).filter(|item| names.contains(*item)) {
            schema["properties"]["items"]["items"] =
                json!({ "$ref": format!("#/components/schemas/{item}") });
        }
    }
}

/// Whom a schema is answered to, by its name.
fn callers(document: &Value, endpoints: &[Arc<Endpoint>]) -> BTreeMap<String, Vec<Audience>> {
    let mut found: BTreeMap<String, Vec<Audience>> = BTreeMap::new();
    for endpoint in endpoints {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        for schema in answered(document, &document["paths"][endpoint.path][method.as_str()]) {
            found.entry(schema).or_default().extend(Audience::all_of(endpoint));
        }
    }
    found
}

/// The schemas that an operation's answers are made of, problems aside.
pub fn answered(document: &Value, operation: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for response in operation["responses"].as_object().into_iter().flat_map(|all| all.values()) {
        references(&response["content"]["application/json"]["schema"], document, &mut names);
    }
    names
}

fn references(schema: &Value, document: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) =
                fields.get("$ref").and_then(Value::as_str).and_then(|at| at.rsplit('/').next())
                && names.insert(name.to_owned())
            {
                references(&document["components"]["schemas"][name], document, names);
            }
            fields.values().for_each(|value| references(value, document, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, document, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::document;
    use crate::url_map::url_map;
    use crate::view::fields::Field;

    /// Answers without a schema: they are made by nobody's hand, and are the same for everybody; or were made before, for one
    /// person, who alone gets them.
    const FREE: [&str; 3] = ["/.well-known/jwks.json", "/openapi.json", "/api/v1/jobs/{job_id}/result"];

    /// REQUIREMENTS §1 rule 6: an answer that nobody thought about is found.
    #[test]
    fn every_type_that_is_answered_declares_its_fields() {
        let document = document();
        let declared = declared();
        for endpoint in url_map().endpoints() {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][endpoint.path][method.as_str()];
            for (status, response) in operation["responses"].as_object().unwrap() {
                let schema = &response["content"]["application/json"]["schema"];
                let is_free = FREE.contains(&endpoint.path);
                assert!(
                    schema.is_null() || schema["$ref"].is_string() || is_free,
                    "{method} {} answers {status} with a schema that has no name: give it a type",
                    endpoint.path
                );
            }
            for name in answered(&document, operation) {
                let schema = &document["components"]["schemas"][&name];
                let Some(properties) = schema["properties"].as_object() else { continue };
                let names: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
                if name.starts_with(PAGE) {
                    assert!(
                        properties["items"]["items"]["$ref"].is_string(),
                        "the items of {name} have no name"
                    );
                    assert_eq!(names, BTreeSet::from(["items", "next_cursor"]), "{name}");
                    continue;
                }
                let told: BTreeSet<&str> = declared
                    .iter()
                    .filter(|declared| declared.schema == name)
                    .flat_map(|declared| declared.fields.iter().map(|field| field.name))
                    .collect();
                let fields =
                    names.iter().map(|name| format!("{name}: EVERYONE")).collect::<Vec<_>>().join(", ");
                assert_eq!(
                    told, names,
                    "{method} {} answers `{name}`, and it is not declared who sees which of its fields. Beside the type \
                     stands\n  fields! {{ {name} {{ {fields} }} }}\nwith an audience for what not everybody may see, and \
                     the type stands in gateway/src/view/declared.rs",
                    endpoint.path
                );
            }
        }
    }

    /// What is declared and answered nowhere misleads.
    #[test]
    fn every_declared_type_is_answered_once() {
        let document = document();
        let answered: BTreeSet<String> = url_map()
            .endpoints()
            .flat_map(|endpoint| {
                let method = endpoint.method.as_str().to_ascii_lowercase();
                answered(&document, &document["paths"][endpoint.path][method.as_str()])
            })
            .collect();
        let mut names: Vec<String> = declared().into_iter().map(|declared| declared.schema).collect();
        names.sort();
        let unique: BTreeSet<String> = names.iter().cloned().collect();
        assert_eq!(names.len(), unique.len(), "two types have one name, or one is declared twice: {names:?}");
        let unused: Vec<_> = unique.difference(&answered).collect();
        assert!(unused.is_empty(), "no endpoint answers {unused:?}");
    }

    #[test]
    fn a_field_that_not_every_caller_sees_says_who_does_and_is_not_required() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let session = &schemas["Session"];
        let words = json!(["owner", "administrator", "self"]);
        assert_eq!(session["properties"]["device"]["x-visible-to"], words);
        assert!(!session["required"].as_array().unwrap().contains(&json!("device")));
        assert!(session["required"].as_array().unwrap().contains(&json!("id")));
        // Only developers issue keys, and see all of them: there is nothing to say.
        assert!(!schemas["IssuedApiKey"].to_string().contains("x-visible-to"));
    }

    #[test]
    fn every_word_of_a_document_names_an_audience() {
        let everyone: Vec<_> = crate::view::audience::EVERYONE.words().collect();
        assert_eq!(everyone.len(), 11);
        let fields: Vec<Field> = declared().iter().flat_map(|declared| declared.fields.to_vec()).collect();
        // Nothing is declared for nobody by an oversight.
        assert!(fields.iter().all(|field| field.audience.words().next().is_some()));
    }
}
