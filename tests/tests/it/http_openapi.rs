//! `/openapi.json` as it is served: OpenAPI 3.1, and examples that the server itself accepts.

use jsonschema::Validator;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::TestApp;

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

fn validator(document: &Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    jsonschema::validator_for(&schema).unwrap()
}

/// CC-API-001
#[tokio::test]
async fn the_document_is_openapi_3_1() {
    let app = TestApp::new().await;
    let answer = app.get("/openapi.json").send().await.is(StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let shape = json!({
        "type": "object",
        "required": ["summary", "operationId", "responses", "security", "tags", "parameters"],
        "properties": {
            "summary": {"type": "string", "minLength": 3, "maxLength": 80},
            "operationId": {"type": "string", "pattern": "^[a-z_]+$"},
            "tags": {"type": "array", "minItems": 1},
            "responses": {"type": "object", "minProperties": 2},
            "security": {"type": "array"},
        },
    });
    let shape = jsonschema::validator_for(&shape).unwrap();
    for (name, operation) in operations(&document) {
        let errors: Vec<_> = shape.iter_errors(operation).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let named = operation["parameters"].as_array().unwrap().iter();
        let in_path: Vec<_> = named.filter(|parameter| parameter["in"] == "path").collect();
        assert_eq!(in_path.len(), name.matches('{').count(), "{name} documents its path");
    }
}

/// Each request's example has the shape the document gives it, and so has each answer's.
#[tokio::test]
async fn every_example_validates_against_its_schema() {
    let app = TestApp::new().await;
    let document = app.get("/openapi.json").send().await.body;
    let mut checked = 0;
    for (name, operation) in operations(&document) {
        let answers = operation["responses"].as_object().unwrap().values();
        for content in answers.chain([&operation["requestBody"]]) {
            for media in content["content"].as_object().into_iter().flat_map(|content| content.values()) {
                let validator = validator(&document, &media["schema"]);
                let errors: Vec<_> =
                    validator.iter_errors(&media["example"]).map(|e| e.to_string()).collect();
                assert!(media.get("example").is_some() && errors.is_empty(), "{name}: {errors:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "only {checked} examples");
}

/// What the server answers is what its document says.
#[tokio::test]
async fn answers_have_the_shape_that_is_documented() {
    use schemas::values::Role;
    let app = TestApp::new().await;
    let portal = json!({"application": {"name": "Portal", "environment": "production"}});
    let tenant = app.provision_with("acme", portal).await;
    let application = tenant.application.unwrap();
    let (key, _) = app.issue_key(application, &["flag:read"]).await;
    app.settled().await;
    let document = app.get("/openapi.json").send().await.body;
    let platform = |role| app.token(role, None);
    let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
    let (id, person) = (tenant.id.to_string(), tenant.owner.to_string());
    for (template, token) in [
        ("/api/operator/tenants", platform(Role::Operator)),
        ("/api/operator/tenants/{id}", platform(Role::Operator)),
        ("/api/operator/tenants/{id}/flags", platform(Role::Operator)),
        ("/api/operator/health", platform(Role::Operator)),
        ("/api/operator/projections", platform(Role::Operator)),
        ("/api/developer/applications", platform(Role::Developer)),
        ("/api/auditor/audit-logs", platform(Role::Auditor)),
        ("/api/v1/tenants/me", owner.clone()),
        ("/api/v1/tenants/me/audit-logs", owner.clone()),
        ("/api/v1/users", owner.clone()),
        ("/api/v1/users/{id}", owner.clone()),
        ("/api/v1/memberships", owner.clone()),
        ("/api/v1/invitations", owner.clone()),
        ("/api/v1/users/me", owner.clone()),
        ("/api/v1/tenants/me/password-policy", owner.clone()),
        ("/api/v1/tenants/me/security", owner.clone()),
        ("/auth/me", owner),
        ("/api/v1/flags", key),
    ] {
        let named = if template.starts_with("/api/v1") { &person } else { &id };
        let mut path = template.replace("{id}", named);
        if template == "/api/v1/flags" {
            path.push_str(&format!("?tenant={id}"));
        }
        let answer = app.get(&path).by(&token).send().await.is(StatusCode::OK);
        let schema =
            &document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{template}");
        let validator = validator(&document, schema);
        let errors: Vec<_> = validator.iter_errors(&answer.body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{template}: {errors:?}\n{}", answer.text);
    }
}
