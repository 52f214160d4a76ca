//! Bad input of every kind: each has its code, names its field, is never a failure of ours, and nothing is written.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestTenant};

/// What attackers and careless programs send where text is expected.
const PAYLOADS: &[&str] = &[
    "' OR 1=1 --",
    "\"; DROP TABLE events; --",
    "1; SELECT pg_sleep(10)",
    "$1",
    "%",
    "%%%",
    "_",
    "\\",
    "\\x00",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "\u{202e}abc",
    "\u{feff}",
    "𝕏",
    "null",
    "true",
    "-1",
    "99999999999999999999",
    "1e400",
    "[]",
    "{}",
    "",
];

struct Target {
    app: TestApp,
    tenant: TestTenant,
    operator: String,
    owner: String,
    developer: String,
    auditor: String,
    before: i64,
}

impl Target {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let portal = json!({"application": {"name": "Portal", "environment": "production"}});
        let tenant = app.provision_with("acme", portal).await;
        let operator = app.token(Role::Operator, None);
        let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
        let (developer, auditor) = (app.token(Role::Developer, None), app.token(Role::Auditor, None));
        let before = app.events().await;
        Self { app, tenant, operator, owner, developer, auditor, before }
    }

    /// The tenant's path, as operators have it.
    fn path(&self, rest: &str) -> String {
        format!("/api/operator/tenants/{}{rest}", self.tenant.id)
    }

    async fn nothing_was_written(&self) {
        assert_eq!(self.app.events().await, self.before, "an event was written");
        let people = self.app.get("/api/v1/users").by(&self.owner).send().await.is(StatusCode::OK);
        assert_eq!(people.body["items"].as_array().unwrap().len(), 1);
    }

    async fn patch_raw(&self, body: impl Into<reqwest::Body>) -> Answer {
        self.app.call(Method::PATCH, &self.path("")).by(&self.operator).raw(body).send().await
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// ERR-VAL-400
#[tokio::test]
async fn what_is_no_json_is_refused() {
    let target = Target::new().await;
    for body in [
        "{",
        "{\"name\":}",
        "{\"name\":\"a\"} x",
        "nonsense",
        "{'name':'a'}",
        "\u{feff}{}",
        "{\"name\":\"\u{1}\"}",
    ] {
        target.patch_raw(body).await.refused(400, "ERR-VAL-400", "malformed_json");
    }
    target.patch_raw(vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']).await.refused(
        400,
        "ERR-VAL-400",
        "malformed_json",
    );
    // Lone surrogates are no text, and a NUL can't be stored.
    target.patch_raw(r#"{"name":"\ud800"}"#).await.refused(400, "ERR-VAL-400", "malformed_json");
    target.patch_raw(r#"{"name":"a\udc00b"}"#).await.refused(400, "ERR-VAL-400", "malformed_json");
    target.patch_raw(r#"{"name":"a\u0000b"}"#).await.names(&["/name"]);
    target.patch_raw(r#"{"settings":{"a":{"b":"x\u0000"}}}"#).await.names(&["/settings/a/b"]);
    target.patch_raw(r#"{"name":"a","name":"b"}"#).await.refused(400, "ERR-VAL-400", "invalid_fields");
    let deep = format!("{{\"settings\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(target.patch_raw(deep).await.status, StatusCode::BAD_REQUEST);
    for body in ["[]", "\"name\"", "1", "null", "true"] {
        let answer = target.patch_raw(body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (400, &json!("ERR-VAL-400")), "{body}");
    }
    let form = target.app.call(Method::PATCH, &target.path("")).by(&target.operator);
    let form = form.header("content-type", "text/plain").send().await;
    form.refused(400, "ERR-VAL-400", "content_type");
    target.nothing_was_written().await;
}

/// ERR-VAL-400: every wrong field is named, not only the first.
#[tokio::test]
async fn every_wrong_field_is_named() {
    let target = Target::new().await;
    let app = &target.app;
    let post = |path: &str, token: &str, body: Value| app.post(path, body).by(token).send();
    let tenants = "/api/operator/tenants";
    let wrong = json!({"name": "", "domain": "no dots", "plan": "gold", "owner_email": "x", "region": "us",
        "slug": "-", "extra": 1, "trial_ends_at": "soon"});
    let all = ["/name", "/domain", "/plan", "/owner_email", "/region", "/slug", "/extra", "/trial_ends_at"];
    let answer = post(tenants, &target.operator, wrong).await;
    let named: BTreeSet<_> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(named, all.map(str::to_owned).into(), "{}", answer.text);
    post(tenants, &target.operator, json!({})).await.refused(400, "ERR-VAL-400", "invalid_fields");
    post("/api/v1/users", &target.owner, json!({"email": "a@b", "role": "king"}))
        .await
        .names(&["/email", "/role"]);
    post("/api/v1/users", &target.owner, json!({"email": "a@b.example", "role": "operator"}))
        .await
        .names(&["/role"]);
    let me = format!("/api/v1/users/{}", target.tenant.owner);
    let role = app.put(&format!("{me}/role"), json!({"role": "auditor"})).by(&target.owner).send().await;
    role.names(&["/role"]);
    app.put(&format!("{me}/status"), json!({"status": 1})).by(&target.owner).send().await.names(&["/status"]);
    post(&target.path("/suspend"), &target.operator, json!({"reason": "a\nb"})).await.names(&["/reason"]);
    post(&target.path("/suspend"), &target.operator, json!({"reason": "x".repeat(501)}))
        .await
        .names(&["/reason"]);
    let apps = "/api/developer/applications";
    post(apps, &target.developer, json!({"name": 1, "environment": "moon"}))
        .await
        .names(&["/name", "/environment"]);
    let keys = format!("{apps}/{}/keys", target.tenant.application.unwrap());
    post(&keys, &target.developer, json!({"scopes": "flag:read"})).await.names(&["/scopes"]);
    post(&keys, &target.developer, json!({"scopes": ["flag:read"], "expires_at": 7}))
        .await
        .names(&["/expires_at"]);
    target.nothing_was_written().await;
}

/// Ids and keys in the path.
#[tokio::test]
async fn what_is_no_id_is_refused_and_an_unknown_one_is_not_there() {
    let target = Target::new().await;
    let application = target.tenant.application.unwrap();
    let routes: [(Method, String, &str, Value); 8] = [
        (Method::GET, "/api/operator/tenants/{}".into(), &target.operator, json!(null)),
        (Method::POST, "/api/operator/tenants/{}/suspend".into(), &target.operator, json!({"reason": "x"})),
        (Method::PUT, "/api/operator/tenants/{}/flags/a".into(), &target.operator, json!({"value": 1})),
        (Method::GET, "/api/v1/users/{}".into(), &target.owner, json!(null)),
        (Method::PUT, "/api/v1/users/{}/role".into(), &target.owner, json!({"role": "user"})),
        (Method::DELETE, "/api/v1/memberships/{}".into(), &target.owner, json!(null)),
        (Method::GET, "/api/developer/applications/{}".into(), &target.developer, json!(null)),
        (
            Method::DELETE,
            format!("/api/developer/applications/{application}/keys/{{}}"),
            &target.developer,
            json!(null),
        ),
    ];
    for (method, path, token, body) in routes {
        let send = |id: &str| {
            let call = target.app.call(method.clone(), &path.replace("{}", id)).by(token);
            if body.is_null() { call } else { call.json(body.clone()) }.send()
        };
        for payload in PAYLOADS.iter().filter(|payload| !payload.is_empty()) {
            let answer = send(&encoded(payload)).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["code"]),
                (400, &json!("ERR-VAL-400")),
                "{path} {payload}"
            );
        }
        let nul = send("%00").await;
        assert_eq!(nul.status, StatusCode::BAD_REQUEST, "{path}");
        let broken = send("%ff%fe").await;
        assert_eq!(broken.status, StatusCode::BAD_REQUEST, "{path}");
        let unknown = send(&Uuid::from_u128(0xdead).to_string()).await;
        assert_eq!((unknown.status.as_u16(), &unknown.body["code"]), (404, &json!("ERR-RES-404")), "{path}");
    }
    target.nothing_was_written().await;
}

/// Filters, sorts, limits and cursors: what is not on the allow-list is refused, and what is stays a value.
#[tokio::test]
async fn no_filter_sort_or_cursor_breaks_out_of_its_list() {
    let target = Target::new().await;
    let lists = [
        ("/api/operator/tenants", &target.operator, "name"),
        ("/api/v1/users", &target.owner, "email"),
        ("/api/v1/memberships", &target.owner, "email"),
        ("/api/developer/applications", &target.developer, "name"),
        ("/api/auditor/audit-logs", &target.auditor, "actor"),
    ];
    for (path, token, field) in lists {
        let get = async |query: String| target.app.get(&format!("{path}?{query}")).by(token).send().await;
        for payload in PAYLOADS {
            let value = encoded(payload);
            for op in ["eq", "ne", "in", "like"] {
                let answer = get(format!("filter[{field}][{op}]={value}")).await;
                assert_eq!(answer.status, StatusCode::OK, "{path} {op} {payload}: {}", answer.text);
            }
            for query in [
                format!("filter[{value}][eq]=x"),
                format!("filter[{field}][{value}]=x"),
                format!("sort={value}"),
                format!("cursor={value}"),
                format!("cursor={value}.{value}"),
                format!("limit={value}x"),
                format!("x{value}=1"),
            ] {
                let answer = get(query.clone()).await;
                let found = (answer.status.as_u16(), &answer.body["code"]);
                assert_eq!(found, (400, &json!("ERR-VAL-400")), "{path}?{query}: {}", answer.text);
                assert!(answer.body["errors"][0]["parameter"].is_string(), "{path}?{query}: {}", answer.text);
            }
        }
        get(format!("filter[{field}][eq]=%00")).await.names(&[&format!("filter[{field}][eq]")]);
        get("limit=0".to_owned()).await.names(&["limit"]);
        get("limit=201".to_owned()).await.names(&["limit"]);
        get("filter[created_at][gt]=yesterday&filter[recorded_at][gt]=x".to_owned()).await.refused(
            400,
            "ERR-VAL-400",
            "invalid_parameter",
        );
    }
    target.nothing_was_written().await;
}

/// A cursor of one list, order or tenant opens no other.
#[tokio::test]
async fn a_cursor_fits_its_own_list_only() {
    let target = Target::new().await;
    target.app.provision("second").await;
    target.app.settled().await;
    let get =
        |query: &str| target.app.get(&format!("/api/operator/tenants?{query}")).by(&target.operator).send();
    let cursor = get("limit=1").await.body["next_cursor"].as_str().unwrap().to_owned();
    get(&format!("limit=1&cursor={cursor}")).await.is(StatusCode::OK);
    get(&format!("limit=1&sort=name&cursor={cursor}")).await.names(&["cursor"]);
    get(&format!("filter[plan][eq]=pro&cursor={cursor}")).await.names(&["cursor"]);
    let apps = format!("/api/developer/applications?cursor={cursor}");
    target.app.get(&apps).by(&target.developer).send().await.names(&["cursor"]);
    let forged = format!("{}x", &cursor[..cursor.len() - 1]);
    get(&format!("limit=1&cursor={forged}")).await.names(&["cursor"]);
}

/// Headers: keys, preconditions, positions, organisations.
#[tokio::test]
async fn what_is_no_header_of_ours_is_refused() {
    let target = Target::new().await;
    let rename = |name: &str, value: &str| {
        let call = target.app.patch(&target.path(""), json!({"name": "New"})).by(&target.operator);
        call.header(name, value).send()
    };
    for key in ["\"\"", "\"a", &"k".repeat(256), "a\tb"] {
        rename("idempotency-key", key).await.names(&["idempotency-key"]);
    }
    for tag in ["7", "\"7", "\"7\", \"8\""] {
        rename("if-match", tag).await.names(&["if-match"]);
    }
    for tag in ["\"0\"", "\"999999\"", "W/\"1\"", "\"' OR 1=1\""] {
        rename("if-match", tag).await.refused(412, "ERR-VAL-409", "precondition_failed");
    }
    rename("x-org", "acme").await.refused(403, "ERR-AUTH-403", "wrong_org");
    let read = |value: &str| {
        target.app.get(&target.path("")).by(&target.operator).header("x-min-position", value).send()
    };
    for position in ["x", "0", "0:-1", "9:1", "0:1:1", "0:99999999999999999999"] {
        read(position).await.names(&["x-min-position"]);
    }
    read("0:1").await.is(StatusCode::OK);
    for token in ["", "x", "a.b.c", "tk_", "tk_0_0", &"x".repeat(9_000)] {
        let call = target.app.get(&target.path("")).header("authorization", &format!("Bearer {token}"));
        call.send().await.refused(401, "ERR-AUTH-401", "invalid_token");
    }
    let basic = target.app.get(&target.path("")).header("authorization", "Basic eDp4").send().await;
    basic.refused(401, "ERR-AUTH-401", "missing_token");
    target.nothing_was_written().await;
}

/// Bounds: a body that is too large, a route and a method that are not there.
#[tokio::test]
async fn what_is_too_large_or_not_there_is_refused() {
    let target = Target::new().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1_100_000));
    target.patch_raw(large).await.refused(413, "ERR-VAL-400", "too_large");
    let settings = json!({"settings": {"a": "x".repeat(17_000)}});
    let call = target.app.patch(&target.path(""), settings).by(&target.operator);
    call.send().await.names(&["/settings"]);
    let nowhere = target.app.get("/api/operator/nowhere").by(&target.operator).send().await;
    nowhere.refused(404, "ERR-RES-404", "no_such_route");
    let method = target.app.delete("/api/operator/tenants").by(&target.operator).send().await;
    method.refused(405, "ERR-VAL-400", "method_not_allowed");
    target.nothing_was_written().await;
}

/// Text where text is expected is stored and given back as it is: it is a value and nothing else.
#[tokio::test]
async fn text_that_looks_like_an_attack_is_only_text() {
    let target = Target::new().await;
    for payload in
        ["' OR 1=1 --", "\"; DROP TABLE events; --", "<script>alert(1)</script>", "${jndi:ldap://x}"]
    {
        let set =
            target.app.patch(&target.path(""), json!({"name": payload, "settings": {payload: payload}}));
        let set = set.by(&target.operator).send().await.is(StatusCode::OK);
        let shown = target.app.get(&target.path("")).by(&target.operator).after(&set).send().await;
        assert_eq!(shown.body["name"], payload);
        assert_eq!(shown.body["settings"][payload], payload);
        let query = format!("/api/operator/tenants?filter[name][eq]={}", encoded(payload));
        let found = target.app.get(&query).by(&target.operator).after(&set).send().await.is(StatusCode::OK);
        assert_eq!(found.body["items"].as_array().unwrap().len(), 1, "{payload}");
    }
}
