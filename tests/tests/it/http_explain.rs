//! Why somebody was let in or refused: the policies and the events that made it so, now and at any time before.

use aggregates::{Tenant, TenantCommand};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, PATIENCE, TestApp, TestTenant};
use crate::engine_postgres::context;
use crate::http_sign_in::PASSWORD;
use crate::layout::{read, root};

const MANAGERS: &str = "managers-run-their-tenant";
const GIVEN: &str = "members-do-what-they-were-given";
const BLOCKED: &str = "a-blocked-tenant-stands-still";
const POLICY: &str = "/api/operator/policies/018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b16";

pub struct Acme {
    pub app: TestApp,
    pub tenant: TestTenant,
    pub operator: String,
    pub owner: String,
}

impl Acme {
    pub async fn new() -> Self {
        let app = TestApp::new().await;
        let application = json!({"application": {"name": "Portal", "environment": "production"}});
        let tenant = app.provision_with("acme", application).await;
        let operator = app.token(Role::Operator, None);
        let owner = app.token_of(tenant.owner, Role::Owner, Some(tenant.id));
        Self { app, tenant, operator, owner }
    }

    pub async fn member(&self, name: &str, role: Role) -> Uuid {
        let body = json!({"email": format!("{name}@acme.example"), "role": role.as_str()});
        let invited = self.app.post("/api/v1/users", body).by(&self.owner).send().await;
        let person = invited.is(StatusCode::CREATED).id();
        self.app.accept(self.tenant.id, person).await;
        person
    }

    pub fn membership(&self, person: Uuid) -> Uuid {
        aggregates::membership::id_of(self.tenant.id.into(), person.into()).0
    }

    /// Asks by somebody's credentials; `more` is put into the body.
    pub async fn ask(&self, by: &str, (kind, id): (&str, Uuid), action: &str, more: Value) -> Answer {
        let mut body = json!({"subject": {"type": kind, "id": id}, "action": action});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        self.app.post(&format!("/api/v1/explain?tenant={}", self.tenant.id), body).by(by).send().await
    }

    /// Why a person may, or may not; asked by an operator.
    async fn why(&self, person: Uuid, action: &str, more: Value) -> Value {
        self.ask(&self.operator, ("user", person), action, more).await.is(StatusCode::OK).body
    }

    pub async fn put(&self, by: &str, path: &str, body: Value) {
        self.app.put(path, body).by(by).send().await.is(StatusCode::OK);
    }

    pub async fn set_mode(&self, mode: &str) {
        let path = format!("/api/operator/tenants/{}/access-mode", self.tenant.id);
        self.put(&self.operator, &path, json!({"mode": mode})).await;
    }

    pub async fn suspend(&self) {
        let path = format!("/api/operator/tenants/{}/suspend", self.tenant.id);
        let body = json!({"reason": "unpaid by Ann"});
        self.app.post(&path, body).by(&self.operator).send().await.is(StatusCode::OK);
    }
}

fn reasons(explanation: &Value) -> Vec<&str> {
    let policies = explanation["policies"].as_array().expect("policies");
    policies.iter().map(|policy| policy["id"].as_str().expect("an id")).collect()
}

#[track_caller]
fn fact<'a>(explanation: &'a Value, name: &str) -> &'a Value {
    let facts = explanation["facts"].as_array().expect("facts");
    let found = facts.iter().find(|fact| fact["fact"] == name);
    found.unwrap_or_else(|| panic!("{name} is not told: {explanation:#}"))
}

#[track_caller]
fn is_so(explanation: &Value, name: &str, value: Value, event: &str) {
    let found = fact(explanation, name);
    assert_eq!((&found["value"], &found["event"]["type"]), (&value, &json!(event)), "{explanation:#}");
}

#[track_caller]
fn allowed(explanation: &Value, by: &[&str]) {
    assert_eq!(explanation["decision"], "allow", "{explanation:#}");
    assert_eq!((&explanation["detail"], &explanation["heard"]), (&Value::Null, &Value::Null));
    assert_eq!(reasons(explanation), by, "{explanation:#}");
}

#[track_caller]
fn denied(explanation: &Value, detail: &str, by: &[&str]) {
    assert_eq!((&explanation["decision"], &explanation["detail"]), (&json!("deny"), &json!(detail)));
    assert_eq!(reasons(explanation), by, "{explanation:#}");
}

/// One position before that of an event.
fn just_before(event: &Value) -> String {
    let (shard, position) = event["position"].as_str().expect("a position").split_once(':').expect("a token");
    format!("{shard}:{}", position.parse::<u64>().expect("a number") - 1)
}

fn time(of: &Value) -> DateTime<Utc> {
    of.as_str().expect("a time").parse().expect("a time")
}

#[tokio::test]
async fn an_owner_is_let_in_by_a_policy_and_by_the_events_that_made_them_one() {
    let acme = Acme::new().await;
    let owner = acme.tenant.owner;
    let answer =
        acme.ask(&acme.operator, ("user", owner), "users:invite", json!({})).await.is(StatusCode::OK);
    let why = &answer.body;
    allowed(why, &[MANAGERS]);
    let policy = &why["policies"][0];
    assert_eq!((&policy["effect"], &policy["source"]), (&json!("permit"), &json!("built_in")));
    assert!(policy["text"].as_str().unwrap().contains("contains(principal.role)"), "{policy}");
    assert_eq!(policy["published_by"], Value::Null);
    is_so(why, "membership.role", json!("owner"), "membership.invited");
    is_so(why, "membership.kind", json!("staff"), "membership.invited");
    is_so(why, "membership.status", json!("active"), "membership.accepted");
    is_so(why, "tenant.access_mode", json!("active"), "tenant.provisioned");
    is_so(why, "tenant.plan", json!("pro"), "tenant.provisioned");
    is_so(why, "person.second_factor", json!(false), "user.registered");
    assert_eq!(why["question"]["principal"]["role"], "owner");
    assert_eq!(why["question"]["resource"]["mode"], "active");
    assert_eq!((&why["would_be_asked"], &why["question"]["context"]["mutates"]), (&json!([]), &json!(true)));

    // The event is the one that the journal has.
    let event = &fact(why, "membership.role")["event"];
    let client = acme.app.db.server.get().await.unwrap();
    let sql = "SELECT event_id, sequence, position, recorded_at, actor FROM events \
               WHERE aggregate_type = 'membership' AND aggregate_id = $1 AND event_type = 'membership.invited'";
    let row = client.query_one(sql, &[&acme.membership(owner).to_string()]).await.unwrap();
    assert_eq!(event["id"], json!(row.get::<_, Uuid>(0)));
    assert_eq!(event["sequence"], row.get::<_, i64>(1));
    assert_eq!(event["position"], format!("0:{}", row.get::<_, i64>(2)));
    assert_eq!(time(&event["recorded_at"]), row.get::<_, DateTime<Utc>>(3));
    assert_eq!(event["stream"], format!("membership/{}", acme.membership(owner)));
    assert!(event["actor"]["id"].is_string() && event["actor"]["kind"].is_string(), "{event}");

    // Of people it holds ids only; and the asking is on record.
    for personal in ["owner@acme", "acme.example", "\"acme\""] {
        assert!(!answer.text.contains(personal), "{personal}: {}", answer.text);
    }
    let entries = acme.app.entries(&[answer.trace]).await;
    let [entry] = &entries[..] else { panic!("not one entry: {entries:?}") };
    assert_eq!((entry.action.as_str(), entry.outcome.as_str()), ("access:explain", "success"));
    assert_eq!(entry.tenant, Some(acme.tenant.id));
}

#[tokio::test]
async fn whoever_was_demoted_is_refused_now_and_was_let_in_before() {
    let acme = Acme::new().await;
    let ben = acme.member("ben", Role::Administrator).await;
    allowed(&acme.why(ben, "users:invite", json!({})).await, &[MANAGERS]);
    acme.put(&acme.owner, &format!("/api/v1/users/{ben}/role"), json!({"role": "user"})).await;

    let now = acme.why(ben, "users:invite", json!({})).await;
    denied(&now, "forbidden", &[]);
    assert_eq!(now["heard"], json!({"status": 403, "code": "ERR-AUTH-403", "detail": "forbidden"}));
    is_so(&now, "membership.role", json!("user"), "membership.role_changed");
    let change = fact(&now, "membership.role")["event"].clone();
    assert_eq!(change["actor"], json!({"kind": "user", "id": acme.tenant.owner}));

    let by_position = json!({"as_of": just_before(&change)});
    let by_time = json!({"as_of": time(&change["recorded_at"]) - TimeDelta::microseconds(1)});
    for as_of in [by_position.clone(), by_time] {
        let then = acme.why(ben, "users:invite", as_of.clone()).await;
        allowed(&then, &[MANAGERS]);
        is_so(&then, "membership.role", json!("administrator"), "membership.invited");
    }
    let told = acme.why(ben, "users:invite", by_position.clone()).await;
    assert_eq!(told["as_of"]["position"], by_position["as_of"]);
    // At its very place, and its very time, it has happened.
    for as_of in [&change["position"], &change["recorded_at"]] {
        let then = acme.why(ben, "users:invite", json!({"as_of": as_of})).await;
        denied(&then, "forbidden", &[]);
        assert_eq!(fact(&then, "membership.role")["event"], change);
    }
}

#[tokio::test]
async fn what_a_tenant_may_is_told_with_the_event_that_took_it_away() {
    let acme = Acme::new().await;
    let owner = acme.tenant.owner;
    acme.set_mode("read_only").await;
    let why = acme.why(owner, "users:invite", json!({})).await;
    denied(&why, "read_only", &["a-read-only-tenant-is-not-changed"]);
    is_so(&why, "tenant.access_mode", json!("read_only"), "tenant.access_mode_set");
    allowed(&acme.why(owner, "users:list", json!({})).await, &[MANAGERS]);

    acme.set_mode("blocked").await;
    denied(&acme.why(owner, "users:list", json!({})).await, "blocked", &[BLOCKED]);
    acme.set_mode("active").await;
    acme.suspend().await;
    let answer = acme.ask(&acme.operator, ("user", owner), "users:list", json!({})).await.is(StatusCode::OK);
    denied(&answer.body, "blocked", &[BLOCKED]);
    is_so(&answer.body, "tenant.status", json!("suspended"), "tenant.suspended");
    is_so(&answer.body, "tenant.access_mode", json!("active"), "tenant.access_mode_set");
    assert!(!answer.text.contains("unpaid"), "why it was suspended is not the question");
}

#[tokio::test]
async fn a_trial_that_was_over_left_staff_to_read() {
    let acme = Acme::new().await;
    let state = &acme.app.server.state;
    let ended = state.clock.now() - TimeDelta::seconds(1);
    let command = TenantCommand::SetTrial { ends_at: Some(ended) };
    let receipt = state.engine.dispatch::<Tenant>(acme.tenant.id, command, context(None)).await.unwrap();
    let position = receipt.position.unwrap();
    state.access.handle.wait_for(position, PATIENCE).await.unwrap();
    let why = acme.why(acme.tenant.owner, "users:invite", json!({})).await;
    denied(&why, "read_only", &["a-read-only-tenant-is-not-changed"]);
    is_so(&why, "tenant.trial_ends_at", json!(ended), "tenant.trial_set");
    let before = json!({"as_of": format!("0:{}", position.position.0 - 1)});
    allowed(&acme.why(acme.tenant.owner, "users:invite", before).await, &[MANAGERS]);
}

#[tokio::test]
async fn what_was_given_is_named_with_the_role_or_grant_that_gave_it() {
    let acme = Acme::new().await;
    let ben = acme.member("ben", Role::User).await;
    let membership = format!("/api/v1/memberships/{}", acme.membership(ben));
    denied(&acme.why(ben, "users:list", json!({})).await, "forbidden", &[]);

    let made = acme.app.post("/api/v1/roles", json!({"name": "Readers", "permissions": ["users:*"]}));
    let readers = made.by(&acme.owner).send().await.is(StatusCode::CREATED).id();
    let given = acme.app.patch(&membership, json!({"custom_role": readers})).by(&acme.owner);
    given.send().await.is(StatusCode::OK);
    let why = acme.why(ben, "users:list", json!({})).await;
    allowed(&why, &[GIVEN]);
    is_so(&why, "membership.custom_role", json!(readers), "membership.custom_role_set");
    is_so(&why, "role.permission", json!(true), "role.created");
    assert_eq!(fact(&why, "role.permission")["of"], "users:*");
    assert_eq!(why["question"]["principal"]["holds"], true);
    let since = fact(&why, "membership.custom_role")["event"].clone();

    // The role is gone; a grant of their own stands in.
    acme.app.delete(&format!("/api/v1/roles/{readers}")).by(&acme.owner).send().await.is(StatusCode::OK);
    let why = acme.why(ben, "users:list", json!({})).await;
    denied(&why, "forbidden", &[]);
    is_so(&why, "role.permission", Value::Null, "role.deleted");
    acme.put(&acme.owner, &format!("{membership}/permissions/users:list"), json!({})).await;
    let why = acme.why(ben, "users:list", json!({})).await;
    allowed(&why, &[GIVEN]);
    is_so(&why, "membership.permission", json!(true), "membership.permission_granted");
    let path = format!("{membership}/permissions/users:list");
    acme.app.delete(&path).by(&acme.owner).send().await.is(StatusCode::OK);
    let why = acme.why(ben, "users:list", json!({})).await;
    is_so(&why, "membership.permission", Value::Null, "membership.permission_revoked");
    allowed(&acme.why(ben, "users:list", json!({"as_of": since["position"]})).await, &[GIVEN]);
    denied(&acme.why(ben, "users:list", json!({"as_of": just_before(&since)})).await, "forbidden", &[]);
}

#[tokio::test]
async fn a_published_policy_that_forbids_is_named_with_its_publication_from_then_on() {
    let acme = Acme::new().await;
    let owner = acme.tenant.owner;
    let text = "forbid (principal is Person, action in Action::\"tenant:people\", resource);";
    acme.put(&acme.operator, POLICY, json!({"text": text})).await;
    let id = POLICY.rsplit('/').next().unwrap();
    let why = acme.why(owner, "users:list", json!({})).await;
    denied(&why, "forbidden", &[id]);
    let policy = &why["policies"][0];
    assert_eq!(
        (&policy["effect"], &policy["source"], &policy["text"]),
        (&json!("forbid"), &json!("published"), &json!(text))
    );
    let published = policy["published_by"].clone();
    assert_eq!(published["type"], "policy.published");
    assert_eq!(published["actor"]["kind"], "operator");
    allowed(&acme.why(owner, "own_tenant:read", json!({})).await, &[MANAGERS]);
    let before = json!({"as_of": just_before(&published)});
    allowed(&acme.why(owner, "users:list", before).await, &[MANAGERS]);

    // Another text takes its place, and is withdrawn: what was, stays so.
    acme.put(&acme.operator, POLICY, json!({"text": text.replace("people", "settings")})).await;
    allowed(&acme.why(owner, "users:list", json!({})).await, &[MANAGERS]);
    acme.app.delete(POLICY).by(&acme.operator).send().await.is(StatusCode::OK);
    allowed(&acme.why(owner, "own_tenant:read", json!({})).await, &[MANAGERS]);
    let then = json!({"as_of": published["position"]});
    denied(&acme.why(owner, "users:list", then.clone()).await, "forbidden", &[id]);
    allowed(&acme.why(owner, "own_tenant:read", then).await, &[MANAGERS]);
}

/// RFC 9470, ERR-AUTH-461
#[tokio::test]
async fn what_would_be_asked_in_addition_is_told() {
    let acme = Acme::new().await;
    let owner = acme.tenant.owner;
    let fresh = acme.why(owner, "own_tenant:set_security", json!({})).await;
    allowed(&fresh, &["owners-say-how-people-sign-in"]);
    assert_eq!(fresh["would_be_asked"], json!(["fresh_authentication"]));
    acme.put(&acme.owner, "/api/v1/tenants/me/security", json!({"mfa_required": true})).await;
    for assumed in [json!({}), json!({"second_factor": false})] {
        let why = acme.why(owner, "users:list", assumed).await;
        denied(&why, "mfa_required", &["where-a-second-factor-is-asked-for-nobody-acts-without-one"]);
        assert_eq!(why["would_be_asked"], json!(["second_factor"]));
        assert_eq!(why["heard"]["code"], "ERR-AUTH-461");
        is_so(&why, "tenant.mfa_required", json!(true), "tenant.security_changed");
    }
    allowed(&acme.why(owner, "users:list", json!({"second_factor": true})).await, &[MANAGERS]);
}

#[tokio::test]
async fn where_the_reason_is_an_absence_it_is_told_without_an_event() {
    let acme = Acme::new().await;
    let other = acme.app.provision("other").await;
    let never = acme.why(other.owner, "users:list", json!({})).await;
    denied(&never, "wrong_org", &[]);
    let status = fact(&never, "membership.status");
    assert_eq!((&status["value"], &status["event"]), (&Value::Null, &Value::Null));
    assert_eq!(never["question"], Value::Null, "no policy was asked");

    let unknown = acme.why(Uuid::from_u128(7), "users:list", json!({})).await;
    denied(&unknown, "session_expired", &[]);
    assert_eq!(fact(&unknown, "person.status")["event"], Value::Null);
    // Before anything was there, and in a tenant that never was.
    let before = acme.why(acme.tenant.owner, "users:list", json!({"as_of": "2001-01-01T00:00:00Z"})).await;
    denied(&before, "session_expired", &[]);
    assert_eq!(before["as_of"]["position"], "0:0");
    assert!(before["facts"].as_array().unwrap().iter().all(|it| it["event"].is_null()), "{before:#}");
    let body = json!({"subject": {"type": "user", "id": acme.tenant.owner}, "action": "users:list"});
    let path = format!("/api/v1/explain?tenant={}", Uuid::from_u128(8));
    let nowhere = acme.app.post(&path, body).by(&acme.operator).send().await.is(StatusCode::OK).body;
    denied(&nowhere, "wrong_org", &[]);
    assert_eq!(fact(&nowhere, "tenant.status")["value"], Value::Null);
}

#[tokio::test]
async fn an_application_is_told_of_its_tenants_people_and_of_itself() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let other = json!({"application": {"name": "Other", "environment": "production"}});
    let other = app.provision_with("other", other).await;
    let application = acme.tenant.application.unwrap();
    let (key, _) = app.issue_key(application, &["access:read", "flag:read"]).await;
    let (polls, polling) = app.issue_key(application, &["flag:read"]).await;
    let (theirs, _) = app.issue_key(other.application.unwrap(), &["access:read"]).await;
    let owner = ("user", acme.tenant.owner);

    let own = acme.ask(&key, owner, "users:invite", json!({})).await.is(StatusCode::OK);
    allowed(&own.body, &[MANAGERS]);
    acme.ask(&polls, owner, "users:invite", json!({})).await.refused(403, "ERR-AUTH-403", "forbidden");
    acme.ask(&theirs, owner, "users:invite", json!({})).await.refused(404, "ERR-RES-404", "not_found");
    // Another tenant's people are as unknown as nobody's.
    for stranger in [other.owner, Uuid::from_u128(7)] {
        let hidden = acme.ask(&key, ("user", stranger), "users:list", json!({})).await;
        hidden.refused(404, "ERR-RES-404", "not_found");
    }
    let neighbour =
        acme.ask(&key, ("application", other.application.unwrap()), "flags:poll", json!({})).await;
    neighbour.refused(404, "ERR-RES-404", "not_found");

    let itself = ("application", application);
    let polled = acme.ask(&key, itself, "flags:poll", json!({})).await.is(StatusCode::OK).body;
    allowed(&polled, &["applications-read-flags"]);
    is_so(&polled, "application.connected", json!(true), "tenant.application_connected");
    is_so(&polled, "application.status", json!("active"), "application.registered");
    is_so(&polled, "key.scopes", fact(&polled, "key.scopes")["value"].clone(), "application.key_issued");
    let by_key = acme.ask(&key, itself, "access:explain", json!({"key": polling})).await.is(StatusCode::OK);
    denied(&by_key.body, "forbidden", &[]);
    let developer = app.token(Role::Developer, None);
    let path = format!("/api/developer/applications/{application}/keys/{polling}");
    app.delete(&path).by(&developer).send().await.is(StatusCode::OK);
    let revoked = acme.ask(&key, itself, "flags:poll", json!({"key": polling})).await.is(StatusCode::OK).body;
    denied(&revoked, "invalid_token", &[]);
    is_so(&revoked, "key.scopes", Value::Null, "application.key_revoked");
    let unconnected = ("application", other.application.unwrap());
    let why =
        acme.ask(&acme.operator, unconnected, "access:explain", json!({})).await.is(StatusCode::OK).body;
    denied(&why, "hidden", &["strangers-do-not-see-a-tenant"]);
    assert_eq!(why["heard"]["status"], 404);
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_with_what_is_wrong_with_it() {
    let acme = Acme::new().await;
    let owner = ("user", acme.tenant.owner);
    let ask = async |action: &str, more: Value| acme.ask(&acme.operator, owner, action, more).await;
    ask("users:fly", json!({})).await.names(&["/action"]);
    ask("users:list", json!({"because": "I say so"})).await.names(&["/because"]);
    ask("users:list", json!({"key": Uuid::from_u128(1)})).await.names(&["/key"]);
    for as_of in ["last Tuesday", "2999-01-01T00:00:00Z", "0:99999999", "0:0", "7:1", ""] {
        ask("users:list", json!({"as_of": as_of})).await.names(&["/as_of"]);
    }
    let application = ("application", acme.tenant.application.unwrap());
    let session = json!({"session": Uuid::from_u128(1)});
    acme.ask(&acme.operator, application, "flags:poll", session).await.names(&["/session"]);
    let body = json!({"subject": {"type": "user", "id": acme.tenant.owner}, "action": "users:list"});
    acme.app.post("/api/v1/explain", body).by(&acme.operator).send().await.names(&["tenant"]);
}

#[tokio::test]
async fn of_a_session_it_is_told_whether_it_had_begun_and_what_ended_it() {
    let acme = crate::http_sign_in::Acme::new().await;
    let (app, operator) = (&acme.app, acme.app.token(Role::Operator, None));
    let session = acme.session().await;
    let path = format!("/api/v1/explain?tenant={}", acme.tenant.id);
    let why = async |more: Value| {
        let mut body = json!({
            "subject": {"type": "user", "id": acme.tenant.owner}, "action": "users:list", "session": session.id,
        });
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        app.post(&path, body).by(&operator).send().await.is(StatusCode::OK).body
    };
    let open = why(json!({})).await;
    allowed(&open, &[MANAGERS]);
    is_so(&open, "session.status", json!("open"), "user.login_succeeded");
    let begun = fact(&open, "session.status")["event"].clone();
    let before = why(json!({"as_of": just_before(&begun)})).await;
    denied(&before, "session_expired", &[]);
    assert_eq!(fact(&before, "session.status")["value"], Value::Null);

    app.post("/auth/logout", json!({})).by(&session.access).send().await.is(StatusCode::NO_CONTENT);
    let ended = why(json!({})).await;
    denied(&ended, "session_expired", &[]);
    is_so(&ended, "session.status", json!("ended"), "user.session_revoked");
    let heard = app.get("/api/v1/users").by(&session.access).send().await;
    assert_eq!(ended["heard"]["code"], heard.body["code"]);
    allowed(&why(json!({"as_of": begun["position"]})).await, &[MANAGERS]);
    let other = why(json!({"session": Uuid::from_u128(5)})).await;
    denied(&other, "session_expired", &[]);
}

/// What differs from run to run: ids, times and positions.
fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let of_stream = text.split_once('/').filter(|(_, id)| id.parse::<Uuid>().is_ok());
            let is_id = text.parse::<Uuid>().is_ok();
            let is_position = text.parse::<kernel::PositionToken>().is_ok();
            match of_stream {
                Some((kind, _)) => json!(kind),
                None if is_id || is_position || text.parse::<DateTime<Utc>>().is_ok() => json!("…"),
                None => value.clone(),
            }
        }
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), redacted(field))).collect(),
        _ => value.clone(),
    }
}

/// The page shows what the server answers, with some of the facts.
#[tokio::test]
async fn the_page_about_explanations_shows_a_true_answer() {
    let page = read(&root().join("docs/explain.md"));
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let shown = redacted(&serde_json::from_str(shown).expect("the example is JSON"));
    let acme = Acme::new().await;
    let body = json!({"email": "ben@acme.example", "role": "administrator"});
    let ben = acme.app.post("/api/v1/users", body).by(&acme.owner).send().await.is(StatusCode::CREATED).id();
    let accepts = json!({"token": acme.app.invitation(acme.tenant.id, ben).await, "password": PASSWORD});
    acme.app.post("/auth/invitations/accept", accepts).send().await.is(StatusCode::OK);
    acme.put(&acme.owner, &format!("/api/v1/users/{ben}/role"), json!({"role": "user"})).await;
    let change = fact(&acme.why(ben, "users:invite", json!({})).await, "membership.role")["event"].clone();
    let told = redacted(&acme.why(ben, "users:invite", json!({"as_of": just_before(&change)})).await);
    for (name, shown) in shown.as_object().expect("an object") {
        if name == "facts" {
            for one in shown.as_array().expect("facts") {
                assert!(told["facts"].as_array().expect("facts").contains(one), "{one:#}\n{told:#}");
            }
        } else {
            assert_eq!(shown, &told[name], "{name}");
        }
    }
    let names = |of: &Value| of.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&shown), names(&told));
}
