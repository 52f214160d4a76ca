//! The OpenAPI document: what handlers say of themselves, with what the URL map says of them.

pub mod visible;

use axum::Router;
use serde_json::{Map, Value, json};
use utoipa::PartialSchema as _;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder, Paths};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::endpoint::{Audited, Endpoint, Listener, TenantRule};
use crate::problem::{Code, FieldError, PROBLEM_JSON, Problem, ProblemBody};
use crate::state::AppState;
use crate::url_map::url_map;

/// The document as JSON.
pub fn document() -> Value {
    let mut paths = Paths::new();
    let mut schemas =
        vec![("Problem".to_owned(), ProblemBody::schema()), ("FieldError".to_owned(), FieldError::schema())];
    let mut endpoints = Vec::new();
    for (endpoint, own, documented) in url_map().documented() {
        paths.merge(documented);
        schemas.extend(own);
        endpoints.push(endpoint);
    }
    let info = InfoBuilder::new().title("Tenantry").version(env!("CARGO_PKG_VERSION")).description(Some(
        "The control plane: tenants, their people, applications, flags and the audit trail.",
    ));
    let components = ComponentsBuilder::new().schemas_from_iter(schemas);
    let api =
        OpenApiBuilder::new().info(info.build()).paths(paths).components(Some(components.build())).build();
    let mut document = serde_json::to_value(api).expect("an OpenAPI document is JSON");
    document["components"]["securitySchemes"] = json!({ "bearer": {
        "type": "http", "scheme": "bearer",
        "description": "An access token (JWT, RS256, at most 15 minutes) or an API key (`tk_…`).",
    }});
    document["components"]["responses"] = problems();
    document["components"]["parameters"] = parameters();
    for endpoint in &endpoints {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        rules(&mut document["paths"][endpoint.path][method.as_str()], endpoint);
    }
    visible::tell(&mut document, &endpoints);
    let known = document["components"]["schemas"].clone();
    examples(&mut document["paths"], &known);
    document
}

/// The document as text, as it is served and kept under `schemas`.
pub fn document_text() -> String {
    serde_json::to_string_pretty(&document()).expect("a JSON value is text") + "\n"
}

/// `/docs`: Swagger UI out of this binary; it loads nothing from elsewhere.
pub fn browser() -> Router<AppState> {
    SwaggerUi::new("/docs").config(Config::new(["/openapi.json"]).try_it_out_enabled(true)).into()
}

const PROBLEMS: &[(Code, &str, &str)] = &[
    (Code::Invalid, "invalid_fields", "Malformed or missing input; `errors` names the fields."),
    (
        Code::Unauthenticated,
        "invalid_token",
        "Credentials are missing, wrong, expired or revoked, or the tenant asks for a second factor (ERR-AUTH-461).",
    ),
    (Code::Forbidden, "forbidden", "Not allowed: `forbidden`, `read_only`, `blocked` or `wrong_org`."),
    (Code::NotFound, "not_found", "Not there, or another tenant's."),
    (Code::Conflict, "in_flight", "A conflict: a duplicate, or the same command is under way."),
    (Code::Rule, "idempotency_key_reused", "A rule says no."),
    (Code::TooMany, "busy", "Too many requests; wait as `Retry-After` says."),
    (Code::Unexpected, "unexpected", "Unexpected; nothing was half-done."),
    (Code::Unavailable, "busy", "Overload or failover; wait as `Retry-After` says."),
];

fn problems() -> Value {
    let mut responses = Map::new();
    let mut add = |name: String, problem: Problem, description: &str| {
        let body = json!({
            "type": format!("urn:tenantry:problem:{}", problem.code.as_str()), "title": "…",
            "status": problem.status.as_u16(), "code": problem.code.as_str(), "detail": problem.detail,
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        });
        let content = json!({ PROBLEM_JSON: {
            "schema": { "$ref": "#/components/schemas/Problem" }, "example": body,
        }});
        responses.insert(name, json!({ "description": description, "content": content }));
    };
    for (code, detail, description) in PROBLEMS {
        add(code.status().as_str().to_owned(), Problem::new(*code, *detail), description);
    }
    let stale = Problem::conflict("precondition_failed");
    add(
        "412".to_owned(),
        stale.with_status(axum::http::StatusCode::PRECONDITION_FAILED),
        "`If-Match` is stale.",
    );
    let large = Problem::invalid("too_large", Vec::new());
    add(
        "413".to_owned(),
        large.with_status(axum::http::StatusCode::PAYLOAD_TOO_LARGE),
        "The body is too large.",
    );
    Value::Object(responses)
}

fn parameters() -> Value {
    let header = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema });
    let text = || json!({ "type": "string" });
    json!({
        "IdempotencyKey": header("Idempotency-Key",
            "Makes a retry harmless: the same key gives the same outcome for 24 hours.",
            json!({ "type": "string", "minLength": 1, "maxLength": 255 })),
        "IfMatch": header("If-Match", "The `ETag` last seen; another one by now is 412.", text()),
        "MinPosition": header("X-Min-Position",
            "An `X-Position` that was answered to a write: the read waits, bounded, until it shows.", text()),
        "Org": header("x-org", "The tenant, where the credentials allow several.",
            json!({ "type": "string", "format": "uuid" })),
        "Traceparent": header("traceparent", "W3C Trace Context; the answer carries it on.", text()),
    })
}

/// What the URL map says, in OpenAPI's words.
fn rules(operation: &mut Value, endpoint: &Endpoint) {
    operation["operationId"] = json!(endpoint.action.replace(':', "_"));
    operation["x-action"] = json!(endpoint.action);
    operation["security"] = if endpoint.anyone { json!([]) } else { json!([{ "bearer": [] }]) };
    if endpoint.listener == Listener::Admin {
        operation["x-listener"] = json!("admin");
    }
    if let Audited::Never(because) = endpoint.audited {
        operation["x-unaudited"] = json!(because);
    }
    operation["x-mutates"] = json!(endpoint.mutates);
    if !endpoint.anyone {
        operation["x-roles"] = endpoint.roles.iter().map(|role| role.as_str()).collect();
        if let Some(scope) = endpoint.scope {
            operation["x-scope"] = json!(scope.as_str());
        }
        if let Some(scope) = endpoint.service {
            operation["x-service-scope"] = json!(scope);
        }
        operation["x-tenant"] = match endpoint.tenant {
            TenantRule::Platform => json!("platform"),
            TenantRule::Caller => json!("caller"),
            TenantRule::Own => json!("own"),
            TenantRule::Path(name) => json!(format!("path:{name}")),
            TenantRule::Connected => json!("connected"),
        };
        operation["x-when-blocked"] = json!(endpoint.when_blocked);
        if endpoint.fresh {
            operation["x-fresh-authentication"] = json!(true);
        }
    }
    let mut named: Vec<&str> = vec!["Traceparent"];
    let mut statuses: Vec<&str> = vec!["500", "503"];
    if !endpoint.anyone {
        named.push("Org");
        statuses.extend(["400", "401", "403", "404", "429"]);
        if endpoint.mutates {
            named.extend(["IdempotencyKey", "IfMatch"]);
            statuses.extend(["409", "412", "413", "422"]);
        } else {
            named.push("MinPosition");
        }
    }
    if !operation["parameters"].is_array() {
        operation["parameters"] = json!([]);
    }
    let parameters = operation["parameters"].as_array_mut().expect("it was made one");
    parameters.extend(named.iter().map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })));
    let responses = operation["responses"].as_object_mut().expect("an operation has responses");
    statuses.sort_unstable();
    for status in statuses {
        let known = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.entry(status).or_insert(known);
    }
    if endpoint.mutates && !endpoint.anyone {
        let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
        for (_, response) in responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
            response["headers"]["ETag"] = text("The resource's tag, for `If-Match`.");
            response["headers"]["X-Position"] = text("For `X-Min-Position`; opaque.");
        }
    }
}

/// A type's example serves every operation that uses the type.
fn examples(value: &mut Value, known: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Object(content)) = fields.get_mut("content") {
                for media in content.values_mut().filter(|media| media.get("example").is_none()) {
                    if let Some(example) = example(&media["schema"], known) {
                        media["example"] = example;
                    }
                }
            }
            fields.values_mut().for_each(|field| examples(field, known));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| examples(item, known)),
        _ => {}
    }
}

/// The example of a schema: its own, or one made of its parts'.
fn example(schema: &Value, known: &Value) -> Option<Value> {
    if let Some(own) = schema.get("example") {
        return Some(own.clone());
    }
    if let Some(at) = schema["$ref"].as_str() {
        return example(&known[at.rsplit('/').next()?], known);
    }
    if let Some(items) = schema.get("items") {
        return Some(json!([example(items, known)?]));
    }
    let properties = schema["properties"].as_object()?;
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut made = Map::new();
    for name in required.iter().filter_map(Value::as_str) {
        made.insert(name.to_owned(), example(properties.get(name)?, known)?);
    }
    (!made.is_empty()).then_some(Value::Object(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(document: &Value) -> Vec<(String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| {
            let named =
                |(method, operation): (&String, &Value)| (format!("{method} {path}"), operation.clone());
            item.as_object().unwrap().iter().map(named).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of).collect()
    }

    fn contents(of: &Value) -> Vec<Value> {
        let content = of["content"].as_object();
        content.map(|content| content.values().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn the_document_is_openapi_3_1_and_holds_every_endpoint_once() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let operations = operations(&document);
        assert_eq!(operations.len(), url_map().endpoints().count());
        let mut ids: Vec<_> = operations.iter().map(|(_, o)| o["operationId"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), operations.len());
    }

    #[test]
    fn every_operation_has_a_summary_security_problems_and_an_example() {
        for (name, operation) in operations(&document()) {
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{name}");
            assert!(operation["security"].is_array(), "{name}");
            assert!(operation["responses"]["503"].is_object(), "{name}");
            let mut all = contents(&operation["requestBody"]);
            let responses = operation["responses"].as_object().unwrap();
            all.extend(responses.iter().filter(|(s, _)| s.starts_with('2')).flat_map(|(_, r)| contents(r)));
            assert!(
                all.iter().all(|media| media.get("example").is_some()),
                "{name} has content without an example"
            );
            let bodiless = ["204", "303"].iter().any(|status| responses.contains_key(*status));
            assert!(!all.is_empty() || bodiless, "{name} has no example");
        }
    }

    #[test]
    fn every_example_validates() {
        let document = document();
        let mut checked = 0;
        for (name, operation) in operations(&document) {
            let mut all = contents(&operation["requestBody"]);
            all.extend(operation["responses"].as_object().unwrap().values().flat_map(contents));
            for media in all {
                let mut schema = media["schema"].clone();
                if !schema.is_object() {
                    schema = json!({});
                }
                schema["components"] = document["components"].clone();
                let validator = jsonschema::validator_for(&schema).unwrap();
                let errors: Vec<_> =
                    validator.iter_errors(&media["example"]).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{name}: {errors:?}");
                checked += 1;
            }
        }
        assert!(checked >= url_map().endpoints().count());
    }

    /// CC-API-002: a change of the API is a change that somebody reads.
    #[test]
    fn the_kept_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, document_text()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let differs = kept.lines().zip(document_text().lines()).position(|(kept, now)| kept != now);
        assert!(
            kept == document_text(),
            "schemas/openapi.json is not current (from line {:?}); write it anew with\n  \
             UPDATE_DOCS=1 cargo test -p gateway the_kept_document_is_current",
            differs.map(|line| line + 1)
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn refs(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(at)) = fields.get("$ref") {
                        found.push(at.clone());
                    }
                    fields.values().for_each(|value| refs(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| refs(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        refs(&document, &mut found);
        for at in found {
            assert!(document.pointer(at.trim_start_matches('#')).is_some(), "{at}");
        }
    }

    /// Default deny: an endpoint that names nobody lets nobody in, which can't be meant.
    #[test]
    fn every_endpoint_says_who_may_call_it() {
        for endpoint in url_map().endpoints() {
            let machines = endpoint.scope.is_some() || endpoint.service.is_some();
            let somebody = endpoint.anyone || !endpoint.roles.is_empty() || machines;
            assert!(somebody, "{} {}", endpoint.method, endpoint.path);
            assert!(endpoint.anyone || !matches!(endpoint.audited, Audited::Never(_)), "{}", endpoint.path);
            let (resource, verb) = endpoint.action.split_once(':').expect("resource:verb");
            assert!(!resource.is_empty() && !verb.is_empty());
            for parameter in [
                endpoint.resource.map(|(_, name)| name),
                match endpoint.tenant {
                    TenantRule::Path(name) => Some(name),
                    _ => None,
                },
            ]
            .into_iter()
            .flatten()
            {
                assert!(endpoint.path.contains(&format!("{{{parameter}}}")), "{}", endpoint.path);
            }
        }
    }
}
