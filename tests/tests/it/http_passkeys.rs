//! Passkeys over HTTP, with somebody else's authenticator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp};
use crate::authenticator::Device;
use crate::http_sign_in::{Acme, PASSWORD, Session};

const URL: &str = "https://app.example";
const OPTIONS: &str = "/api/v1/users/me/passkeys/options";
const PASSKEYS: &str = "/api/v1/users/me/passkeys";

/// A deployment whose pages browsers have passkeys for.
async fn acme() -> Acme {
    let app = TestApp::with(&["--public-url", URL]).await;
    let tenant = Acme::tenant(&app, "acme").await;
    Acme { app, tenant }
}

async fn offered(acme: &Acme, by: &str) -> Value {
    acme.app.post(OPTIONS, json!({})).by(by).send().await.is(StatusCode::OK).body
}

/// Adds a passkey by a session that may.
async fn enrol(acme: &Acme, by: &str, device: &mut Device, name: &str) -> Uuid {
    let offered = offered(acme, by).await;
    let credential = device.create(URL, &offered["options"]).await;
    let body = json!({"ticket": offered["ticket"], "name": name, "credential": credential});
    acme.app.post(PASSKEYS, body).by(by).send().await.is(StatusCode::CREATED).id()
}

async fn asked(acme: &Acme) -> Value {
    acme.app.post("/auth/passkeys/options", json!({})).send().await.is(StatusCode::OK).body
}

async fn answer(acme: &Acme, ticket: &Value, credential: &Value) -> Answer {
    let body = json!({"ticket": ticket, "credential": credential});
    acme.app.post("/auth/passkeys/login", body).send().await
}

/// Signs in with nothing but the device.
async fn log_in(acme: &Acme, device: &mut Device) -> Answer {
    let asked = asked(acme).await;
    let credential = device.get(URL, &asked["options"]).await;
    answer(acme, &asked["ticket"], &credential).await
}

async fn session(acme: &Acme, device: &mut Device) -> Session {
    Session::of(&log_in(acme, device).await.is(StatusCode::OK))
}

fn wrong(answer: Answer) {
    answer.refused(401, "ERR-AUTH-401", "invalid_credentials");
}

/// How a token says that its holder showed who they are.
fn methods(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice::<Value>(&payload).expect("claims")["amr"].clone()
}

/// The same text with another character in its middle.
fn tampered(text: &Value) -> Value {
    let mut text = text.as_str().expect("text").to_owned();
    let at = text.len() / 2;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    text.replace_range(at..=at, other);
    text.into()
}

/// FR-AUTH-001, NFR-SEC-003, CON-SEC-005
#[tokio::test]
async fn a_passkey_signs_in_alone_where_a_second_factor_is_asked_for() {
    let acme = acme().await;
    let (before, other) = (acme.session().await, acme.session().await);
    let security = json!({"mfa_required": true});
    let put = acme.app.put("/api/v1/tenants/me/security", security).by(&before.access).send().await;
    put.is(StatusCode::OK);
    let own = |by: &str| acme.app.get("/api/v1/tenants/me").by(by).send();
    let lacks = own(&before.access).await.refused(401, "ERR-AUTH-461", "mfa_required");
    assert_eq!(lacks.body["methods"], json!(["enrol"]));

    let mut device = Device::default();
    let id = enrol(&acme, &before.access, &mut device, "Ann's phone").await;
    acme.refresh(&other.refresh).await.refused(401, "ERR-AUTH-440", "session_expired");
    let lacks = own(&before.access).await.refused(401, "ERR-AUTH-461", "mfa_required");
    assert_eq!(lacks.body["methods"], json!(["log_in"]));
    // A password alone is not enough for another.
    let more = acme.app.post(OPTIONS, json!({})).by(&before.access).send().await;
    more.refused(401, "ERR-AUTH-401", "fresh_authentication_required");

    let inside = session(&acme, &mut device).await;
    assert_eq!(methods(&inside.access), json!(["pop", "user", "mfa"]));
    own(&inside.access).await.is(StatusCode::OK);
    let next = Session::of(&acme.refresh(&inside.refresh).await.is(StatusCode::OK));
    assert_eq!(methods(&next.access), json!(["pop", "user", "mfa"]));
    own(&next.access).await.is(StatusCode::OK);
    let me = acme.app.get("/api/v1/users/me").by(&next.access).send().await.is(StatusCode::OK).body;
    assert_eq!((&me["mfa"], &me["recovery_codes_left"]), (&json!(true), &json!(10)));
    let list = acme.app.get(PASSKEYS).by(&next.access).send().await.is(StatusCode::OK).body;
    let items = list["items"].as_array().expect("a list");
    assert_eq!((items.len(), &items[0]["id"], &items[0]["name"]), (1, &json!(id), &json!("Ann's phone")));
    let mut second = Device::default();
    enrol(&acme, &next.access, &mut second, "Ann's key").await;
    session(&acme, &mut second).await;
    session(&acme, &mut device).await;
}

/// NFR-SEC-003, ERR-AUTH-461
#[tokio::test]
async fn a_passkey_is_the_second_factor_after_the_password_and_its_answer_counts_once() {
    let acme = acme().await;
    let mut device = Device::default();
    let id = enrol(&acme, &acme.session().await.access, &mut device, "Ann's phone").await;
    let password = async || {
        let asked = acme.log_in(acme.owner(), PASSWORD).await.refused(401, "ERR-AUTH-461", "mfa_required");
        assert_eq!(asked.body["passkey"]["allowCredentials"].as_array().map(Vec::len), Some(1));
        asked.body
    };
    let show = |challenge: &Value, shown: (&str, &Value)| {
        let mut body = json!({"challenge": challenge});
        body[shown.0] = shown.1.clone();
        acme.app.post("/auth/login/mfa", body).send()
    };
    let (asked, other) = (password().await, password().await);
    assert_eq!(asked["methods"], json!(["passkey", "recovery_code"]));
    let mut shown = device.get(URL, &asked["passkey"]).await;
    // As security keys do that keep no passkey, it leaves out whose it is: that is known by the password.
    shown["response"].as_object_mut().expect("an object").remove("userHandle");
    wrong(show(&other["challenge"], ("passkey", &shown)).await);
    let inside = Session::of(&show(&asked["challenge"], ("passkey", &shown)).await.is(StatusCode::OK));
    assert_eq!(methods(&inside.access), json!(["pwd", "pop", "user", "mfa"]));
    wrong(show(&asked["challenge"], ("passkey", &shown)).await);
    // What was signed after a password opens nothing without it.
    let alone = crate::http_passkeys::asked(&acme).await;
    wrong(answer(&acme, &alone["ticket"], &shown).await);

    // Whoever has no one-time codes gets recovery codes too.
    let codes = acme.app.post("/api/v1/users/me/recovery-codes", json!({})).by(&inside.access).send().await;
    let codes = codes.is(StatusCode::OK).body;
    let asked = password().await;
    assert_eq!(asked["methods"], json!(["passkey", "recovery_code"]));
    let code = ("recovery_code", &codes["recovery_codes"][0]);
    show(&asked["challenge"], code).await.is(StatusCode::OK);
    wrong(show(&asked["challenge"], code).await);

    let path = format!("{PASSKEYS}/{id}");
    acme.app.delete(&path).by(&inside.access).send().await.is(StatusCode::NO_CONTENT);
    wrong(log_in(&acme, &mut device).await);
    let by_password = acme.session().await;
    assert_eq!(methods(&by_password.access), json!(["pwd"]));
}

/// FR-AUTH-001
#[tokio::test]
async fn an_answer_given_before_or_to_something_else_opens_nothing() {
    let acme = acme().await;
    let mut device = Device::default();
    enrol(&acme, &acme.session().await.access, &mut device, "Ann's phone").await;

    let first = asked(&acme).await;
    let credential = device.get(URL, &first["options"]).await;
    answer(&acme, &first["ticket"], &credential).await.is(StatusCode::OK);
    wrong(answer(&acme, &first["ticket"], &credential).await);
    let second = asked(&acme).await;
    wrong(answer(&acme, &second["ticket"], &credential).await);
    // A challenge that was not answered with success is good still, and each success forgives what went before.
    let ticket = &second["ticket"];
    let succeeds = async |device: &mut Device| {
        session(&acme, device).await;
    };
    succeeds(&mut device).await;

    let elsewhere = device.get("https://pages.app.example", &second["options"]).await;
    wrong(answer(&acme, ticket, &elsewhere).await);
    let mut for_others = second["options"].clone();
    for_others["rpId"] = json!("other.example");
    let for_others = device.get("https://other.example", &for_others).await;
    wrong(answer(&acme, ticket, &for_others).await);
    let mut unverified = Device { unverified: true, ..device.clone() };
    let mut options = second["options"].clone();
    options["userVerification"] = json!("discouraged");
    let unverified = unverified.get(URL, &options).await;
    wrong(answer(&acme, ticket, &unverified).await);
    succeeds(&mut device).await;

    let right = device.get(URL, &second["options"]).await;
    for part in ["signature", "authenticatorData", "clientDataJSON"] {
        let mut forged = right.clone();
        forged["response"][part] = tampered(&right["response"][part]);
        let refused = answer(&acme, ticket, &forged).await;
        assert!(matches!(refused.status.as_u16(), 400 | 401), "{part}: {}", refused.text);
    }
    succeeds(&mut device).await;
    for handle in [json!(URL_SAFE_NO_PAD.encode([7; 16])), json!("AA"), Value::Null] {
        let mut others = right.clone();
        others["response"]["userHandle"] = handle;
        wrong(answer(&acme, ticket, &others).await);
    }
    for none in [json!(""), json!("AAAA"), tampered(ticket)] {
        let refused = answer(&acme, &none, &right).await;
        refused.refused(401, "ERR-AUTH-401", "invalid_token");
    }
    answer(&acme, ticket, &right).await.is(StatusCode::OK);
}

/// WebAuthn Level 3, §6.1.1
#[tokio::test]
async fn a_copy_of_an_authenticator_is_found_out_by_its_counter() {
    let acme = acme().await;
    let mut device = Device { counts: true, ..Device::default() };
    enrol(&acme, &acme.session().await.access, &mut device, "Ann's key").await;
    let mut copy = device.clone();
    session(&acme, &mut device).await;
    session(&acme, &mut device).await;
    wrong(log_in(&acme, &mut copy).await);
    session(&acme, &mut device).await;
}

/// NFR-SEC-003
#[tokio::test]
async fn a_passkey_is_added_with_ones_own_ticket_and_removed_by_whoever_showed_one() {
    let acme = acme().await;
    let owner = acme.session().await;
    acme.member(&owner.access, "ben@acme.example", Role::User).await;
    let ben = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK));
    let (mine, theirs) = (offered(&acme, &owner.access).await, offered(&acme, &ben.access).await);
    let mut device = Device::default();
    let credential = device.create(URL, &mine["options"]).await;
    let add = |by: &Session, ticket: &Value, credential: &Value| {
        let body = json!({"ticket": ticket, "name": "Ann's phone", "credential": credential});
        acme.app.post(PASSKEYS, body).by(&by.access).send()
    };
    let before = acme.app.events().await;
    let stolen = add(&ben, &mine["ticket"], &credential).await;
    stolen.refused(422, "ERR-VAL-422", "ticket_invalid");
    // Nor does another's authenticator answer one's own ticket.
    let others = add(&ben, &theirs["ticket"], &credential).await;
    others.refused(422, "ERR-VAL-422", "passkey_refused");
    let sign_in = asked(&acme).await;
    let misused = add(&owner, &sign_in["ticket"], &credential).await;
    misused.refused(422, "ERR-VAL-422", "ticket_invalid");
    let elsewhere = Device::default().create("https://pages.app.example", &mine["options"]).await;
    let elsewhere = add(&owner, &mine["ticket"], &elsewhere).await;
    elsewhere.refused(422, "ERR-VAL-422", "passkey_refused");
    assert_eq!(acme.app.events().await, before, "nothing was written");

    let added = add(&owner, &mine["ticket"], &credential).await.is(StatusCode::CREATED);
    let path = format!("{PASSKEYS}/{}", added.id());
    assert_eq!(added.header("location"), path);
    let gone = |by: &Session| acme.app.delete(&path).by(&by.access).send();
    gone(&owner).await.refused(401, "ERR-AUTH-401", "fresh_authentication_required");
    let inside = session(&acme, &mut device).await;
    let mut bens = Device::default();
    enrol(&acme, &ben.access, &mut bens, "Ben's phone").await;
    let ben = session(&acme, &mut bens).await;
    gone(&ben).await.refused(404, "ERR-RES-404", "not_found");
    gone(&inside).await.is(StatusCode::NO_CONTENT);
    gone(&inside).await.refused(404, "ERR-RES-404", "not_found");
    wrong(log_in(&acme, &mut device).await);
    session(&acme, &mut bens).await;
}

/// CC-LOG-002, CON-SEC-009
#[tokio::test]
async fn names_and_credentials_are_told_to_nobody_else_and_written_down_for_nobody() {
    let acme = acme().await;
    let owner = acme.session().await;
    let ben = acme.member(&owner.access, "ben@acme.example", Role::User).await;
    let bens = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK));
    let mut device = Device::default();
    enrol(&acme, &bens.access, &mut device, "Bens geheimes Telefon").await;
    session(&acme, &mut device).await;
    let credential = device.passkey.as_ref().expect("there is one").credential_id.to_vec();
    let credential = URL_SAFE_NO_PAD.encode(credential);
    acme.app.settled().await;

    let mine = acme.app.get(PASSKEYS).by(&owner.access).send().await.is(StatusCode::OK);
    assert_eq!(mine.body["items"], json!([]));
    let excluded = offered(&acme, &owner.access).await["options"]["excludeCredentials"].clone();
    assert_eq!(excluded, json!([]));
    for path in [
        format!("/api/v1/users/{ben}"),
        format!("/api/v1/users/{ben}/sessions"),
        "/api/v1/users".to_owned(),
        "/api/v1/tenants/me/audit-logs".to_owned(),
    ] {
        let shown = acme.app.get(&path).by(&owner.access).send().await.is(StatusCode::OK);
        assert!(!shown.text.contains("geheimes") && !shown.text.contains(&credential), "{path}");
    }
    // Nor is a stranger told whose passkeys there are.
    let asked = asked(&acme).await;
    assert_eq!(asked["options"]["allowCredentials"], json!([]));
    let dump = acme.app.everything_written().await;
    assert!(dump.contains("user.passkey_used"), "the search finds what is there");
    for hidden in ["geheimes", &credential, "EC_EC2", "SECP256R1"] {
        assert!(!dump.contains(hidden), "{hidden} was written down");
    }
}

/// CON-COMP-001, CON-SEC-009
#[tokio::test]
async fn whoever_was_disabled_or_forgotten_signs_in_with_no_passkey() {
    let acme = acme().await;
    let owner = acme.session().await;
    let mut devices = Vec::new();
    for name in ["ben", "cat"] {
        let email = format!("{name}@acme.example");
        let id = acme.member(&owner.access, &email, Role::User).await;
        let session = Session::of(&acme.log_in(&email, PASSWORD).await.is(StatusCode::OK));
        let mut device = Device::default();
        enrol(&acme, &session.access, &mut device, "a phone").await;
        devices.push((id, device));
    }
    let [(ben, bens), (cat, cats)] = &mut devices[..] else { unreachable!("there are two") };
    acme.app.disable(*ben).await;
    let operator = acme.app.token(Role::Operator, None);
    let forgotten = acme.app.delete(&format!("/api/operator/users/{cat}")).by(&operator).send().await;
    assert!(forgotten.status.is_success(), "{}", forgotten.text);
    let refused = [log_in(&acme, bens).await, log_in(&acme, cats).await];
    let bodies = refused.map(|answer| {
        let mut answer = answer.refused(401, "ERR-AUTH-401", "invalid_credentials");
        answer.body["trace_id"] = json!("");
        answer.body
    });
    assert_eq!(bodies[0], bodies[1], "nobody learns which it was");
    let state = &acme.app.server.state;
    let (person, _) = state.engine.look::<aggregates::user::User>(*cat).await.expect("it can be read");
    assert!(person.existing().expect("they were there").sign_in.passkeys.is_empty());
}

/// NFR-SEC-006: guessing is slowed here too.
#[tokio::test]
async fn what_fails_too_often_is_slowed() {
    let acme = acme().await;
    let mut device = Device::default();
    enrol(&acme, &acme.session().await.access, &mut device, "Ann's phone").await;
    let mut forged = device.get(URL, &asked(&acme).await["options"]).await;
    forged["response"]["signature"] = tampered(&forged["response"]["signature"]);
    let mut slowed = None;
    for _ in 0..10 {
        let answer = answer(&acme, &asked(&acme).await["ticket"], &forged).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            slowed = Some(answer);
            break;
        }
        wrong(answer);
    }
    slowed.expect("it is slowed").refused(429, "ERR-RATE-429", "slow_down");
}

/// Browsers have passkeys for hosts with a name alone, and an address is what a server has unless it is told otherwise.
#[tokio::test]
async fn a_deployment_without_a_host_says_that_there_are_no_passkeys() {
    let acme = Acme::new().await;
    let owner = acme.session().await;
    let offered = acme.app.post(OPTIONS, json!({})).by(&owner.access).send().await;
    offered.refused(422, "ERR-VAL-422", "passkeys_unavailable");
    let asked = acme.app.post("/auth/passkeys/options", json!({})).send().await;
    asked.refused(422, "ERR-VAL-422", "passkeys_unavailable");
}

/// NFR-SEC-003: somebody who had the password for a while made themself at home.
#[tokio::test]
async fn an_operator_rids_a_person_of_passkeys_that_are_not_theirs() {
    let acme = acme().await;
    let mut strangers = Device::default();
    let owner = acme.session().await;
    enrol(&acme, &owner.access, &mut strangers, "Not Ann's").await;
    let theirs = session(&acme, &mut strangers).await;
    acme.log_in(acme.owner(), PASSWORD).await.refused(401, "ERR-AUTH-461", "mfa_required");
    let path = format!("/api/operator/users/{}/mfa", acme.tenant.owner);
    let tenants_own = acme.app.delete(&path).by(&theirs.access).send().await;
    tenants_own.refused(403, "ERR-AUTH-403", "forbidden");
    let operator = acme.app.token(Role::Operator, None);
    acme.app.delete(&path).by(&operator).send().await.is(StatusCode::OK);
    acme.me(&theirs.access).await.refused(401, "ERR-AUTH-440", "session_expired");
    wrong(log_in(&acme, &mut strangers).await);
    acme.log_in(acme.owner(), PASSWORD).await.is(StatusCode::OK);
}

#[tokio::test]
async fn whoever_loses_a_first_passkey_gets_in_with_a_recovery_code_that_came_with_it() {
    let acme = acme().await;
    let by = acme.session().await.access;
    let offered = offered(&acme, &by).await;
    let credential = Device::default().create(URL, &offered["options"]).await;
    let body = json!({"ticket": offered["ticket"], "name": "Lost", "credential": credential});
    let key = "a-passkey";
    let add = || acme.app.post(PASSKEYS, body.clone()).by(&by).idempotency_key(key).send();
    let added = add().await.is(StatusCode::CREATED);
    assert_eq!(added.header("cache-control"), "no-store");
    let codes = added.body["recovery_codes"].as_array().expect("codes").clone();
    assert_eq!(codes.len(), 10);
    assert_eq!(
        add().await.is(StatusCode::CREATED).body["recovery_codes"],
        json!(codes),
        "the answer got lost"
    );
    let asked = acme.log_in(acme.owner(), PASSWORD).await.refused(401, "ERR-AUTH-461", "mfa_required").body;
    let shown = json!({"challenge": asked["challenge"], "recovery_code": codes[3]});
    acme.app.post("/auth/login/mfa", shown).send().await.is(StatusCode::OK);
    // A password alone adds no other factor beside it, one-time codes neither.
    let totp = acme.app.post("/api/v1/users/me/mfa/totp", json!({})).by(&by).send().await;
    totp.refused(401, "ERR-AUTH-401", "fresh_authentication_required");
}
