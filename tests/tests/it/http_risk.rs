//! Unusual logins over HTTP: who is asked for a code that is mailed, what it is worth, and what is written of it.

use aggregates::user::{ChallengeLogin, Checked, LogIn, User, UserCommand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use engine::jobs::JobId;
use gateway::sign_in::by_id;
use gateway::tickets::Challenge;
use kernel::{Origin, PersonId, SessionId};
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};
use uuid::Uuid;

use crate::app::{Answer, TestApp, TestTenant};
use crate::engine_postgres::context;
use crate::feeds::eventually;
use crate::http_sign_in::{OTHER_PASSWORD, PASSWORD, Session};
use crate::post_office::{PostOffice, Received};

const OWNER: &str = "owner@acme.example";
const HOME: &str = "192.0.2.7";
const AWAY: &str = "203.0.113.7";
const SUBJECT: &str = "Your code to sign in";

/// A tenant, whose owner signed in at home once. Addresses are those that a proxy names.
struct Town {
    app: TestApp,
    office: PostOffice,
    tenant: TestTenant,
    device: String,
}

impl Town {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(flags: &[&str]) -> Self {
        let office = PostOffice::open();
        let url = office.url();
        let mail = ["--smtp-url", &url, "--mail-from", "Tenantry <noreply@tenantry.example>"];
        let proxy = ["--trusted-proxies", "127.0.0.1"];
        let flags: Vec<&str> = mail.iter().chain(&proxy).chain(flags).copied().collect();
        let app = TestApp::with(&flags).await;
        let tenant = app.provision_only("acme", json!({})).await;
        assert_eq!(office.take(1).await[0].header("Subject"), "You are invited to acme");
        let token = app.invitation(tenant.id, tenant.owner).await;
        let accept = json!({"token": token, "password": PASSWORD});
        app.post("/auth/invitations/accept", accept).send().await.is(StatusCode::OK);
        let mut town = Self { app, office, tenant, device: String::new() };
        // The first login is compared with nothing.
        let first = town.log_in(HOME, json!({})).await.is(StatusCode::OK);
        town.device = first.body["device"].as_str().expect("a device").to_owned();
        town
    }

    /// The owner's login from an address.
    async fn log_in(&self, from: &str, more: Value) -> Answer {
        let mut body = json!({"email": OWNER, "password": PASSWORD});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let call = self.app.post("/auth/login", body).header("x-forwarded-for", from);
        call.header("user-agent", "Firefox of Ann").send().await
    }

    async fn show(&self, asked: &Answer, code: &str) -> Answer {
        let body = json!({"challenge": asked.body["challenge"], "email_code": code});
        self.app.post("/auth/login/mfa", body).header("x-forwarded-for", AWAY).send().await
    }

    /// A login that is asked for a code, and the letter that has it.
    async fn challenged(&self) -> (Answer, Received) {
        let asked = wants_a_code(self.log_in(AWAY, json!({})).await);
        (asked, self.office.take(1).await.remove(0))
    }

    async fn known(&self) -> gateway::sign_in::Known {
        let person = PersonId(self.tenant.owner);
        by_id(&self.app.server.state, person).await.expect("it can be read").expect("there is the owner")
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.server.state.clock.now()
    }

    async fn wish(&self, command: UserCommand) {
        let engine = &self.app.server.state.engine;
        engine.dispatch::<User>(self.tenant.owner, command, context(None)).await.expect("it is carried out");
    }

    /// What event the audit trail's one entry of a call names, and its detail, as auditors get them: listed, and as CSV.
    async fn audited(&self, call: &Answer) -> (Value, Value) {
        self.app.settled().await;
        let auditor = self.app.token(Role::Auditor, None);
        let of_call =
            |path: &str| format!("/api/auditor/audit-logs{path}?filter[correlation_id][eq]={}", call.trace);
        let list = self.app.get(&of_call("")).by(&auditor).send().await.is(StatusCode::OK).body;
        let entries = list["items"].as_array().expect("a list");
        assert_eq!(entries.len(), 1, "{list}");
        let (event, detail) = (entries[0]["event_type"].clone(), entries[0]["detail"].clone());
        let table = self.app.get(&of_call("/export")).by(&auditor).send().await.is(StatusCode::OK).text;
        let cell = detail.as_str().unwrap_or_default();
        assert!(
            cell.is_empty() || table.contains(&format!("\"{cell}\"")) || table.contains(&format!(",{cell},")),
            "{table}"
        );
        (event, detail)
    }

    /// The reasons of the events of a type, in order.
    async fn reasons(&self, event_type: &str, variant: &str) -> Vec<Value> {
        let client = self.app.db.server.get().await.expect("a connection");
        let sql = "SELECT payload -> $2::text FROM events WHERE event_type = $1 AND aggregate_id = $3 ORDER BY sequence";
        let person = self.tenant.owner.to_string();
        let rows = client.query(sql, &[&event_type, &variant, &person]).await.expect("it answers");
        rows.iter().map(|row| row.get::<_, Value>(0)["risk"].take()).collect()
    }
}

#[track_caller]
fn wants_a_code(answer: Answer) -> Answer {
    let asked = answer.refused(401, "ERR-AUTH-461", "mfa_required");
    assert_eq!(asked.body["methods"], json!(["email_code"]));
    asked
}

#[track_caller]
fn wrong(answer: Answer) {
    answer.refused(401, "ERR-AUTH-401", "invalid_credentials");
}

/// The code of a letter: the only line of eight digits.
fn code(letter: &Received) -> String {
    let text = letter.part("text/plain");
    let is_code = |line: &&str| line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit());
    let mut codes = text.lines().map(str::trim).filter(is_code);
    let code = codes.next().unwrap_or_else(|| panic!("no code: {text}"));
    assert_eq!(codes.next(), None);
    code.to_owned()
}

/// Another code than this.
fn other(code: &str) -> String {
    let number: u32 = code.parse().expect("digits");
    format!("{:08}", (number + 1) % 100_000_000)
}

fn methods(session: &Answer) -> Value {
    let token = session.body["access_token"].as_str().expect("a token");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base 64");
    serde_json::from_slice::<Value>(&claims).expect("JSON")["amr"].take()
}

/// NFR-SEC-006, CON-SEC-008, ERR-AUTH-461
#[tokio::test]
async fn a_login_from_a_new_device_in_a_new_network_goes_on_with_a_code_that_is_mailed_and_written_nowhere() {
    let town = Town::new().await;
    let (asked, letter) = town.challenged().await;
    let expires_in = asked.body["expires_in"].as_i64().expect("a number");
    assert!((590..=600).contains(&expires_in), "{expires_in}");
    assert_eq!((&letter.to[..], &*letter.header("Subject")), (&[OWNER.to_owned()][..], SUBJECT));
    let code = code(&letter);
    for kind in ["text/plain", "text/html"] {
        let part = letter.part(kind);
        assert!(part.contains(&code) && part.contains("Firefox of Ann") && part.contains(AWAY), "{part}");
    }
    wrong(town.show(&asked, &other(&code)).await);
    let session = town.show(&asked, &code).await.is(StatusCode::OK);
    assert_eq!(methods(&session), json!(["pwd", "otp"]));
    // What refreshing says of it stays the same.
    let body = json!({"refresh_token": session.body["refresh_token"]});
    let next = town.app.post("/auth/refresh", body).send().await.is(StatusCode::OK);
    assert_eq!(methods(&next), json!(["pwd", "otp"]));
    wrong(town.show(&asked, &code).await);

    // The device is known now, there and at home; so is the network.
    let known = json!({"device": session.body["device"]});
    for (from, more) in [(AWAY, known.clone()), (HOME, known), (AWAY, json!({"device": town.device}))] {
        town.log_in(from, more).await.is(StatusCode::OK);
    }
    // The other device was at home a moment ago.
    let unusual = json!(["new_device", "new_network", "impossible_pace"]);
    assert_eq!(
        town.reasons("user.login_challenged", "LoginChallenged").await,
        std::slice::from_ref(&unusual)
    );
    let begun = town.reasons("user.login_succeeded", "LoginSucceeded").await;
    assert_eq!(begun, [Value::Null, unusual, Value::Null, Value::Null, Value::Null]);
    // The audit trail tells of it by that event, as the person's.
    town.app.settled().await;
    let client = town.app.db.server.get().await.expect("a connection");
    let sql = "SELECT event_type, actor, address FROM read_model.audit_trail_v4 WHERE correlation_id = $1";
    let rows = client.query(sql, &[&asked.trace]).await.expect("it answers");
    let told: Vec<(String, String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let owner = town.tenant.owner.to_string();
    assert_eq!(told, [("user.login_challenged".to_owned(), owner, AWAY.to_owned())]);
    for (call, event) in [(&asked, "user.login_challenged"), (&session, "user.login_succeeded")] {
        assert_eq!(town.audited(call).await, (json!(event), json!("new_device,new_network,impossible_pace")));
    }

    let written = town.app.everything_written().await;
    assert!(!written.contains(&code), "the code is stored");
    let challenge = asked.body["challenge"].as_str().expect("a challenge");
    assert!(!written.contains(challenge), "the challenge is stored");
}

/// NFR-SEC-006: either of them alone is everybody's day.
#[tokio::test]
async fn a_known_device_goes_anywhere_and_a_known_network_takes_any_device() {
    let town = Town::new().await;
    town.log_in("192.0.2.99", json!({})).await.is(StatusCode::OK);
    let known = json!({"device": town.device});
    town.log_in(AWAY, known).await.is(StatusCode::OK);
    let begun = town.reasons("user.login_succeeded", "LoginSucceeded").await;
    assert_eq!(begun, [Value::Null, json!(["new_device"]), json!(["new_network"])]);
    assert_eq!(town.reasons("user.login_challenged", "LoginChallenged").await, [Value::Null; 0]);
}

/// NFR-SEC-006
#[tokio::test]
async fn a_code_is_good_until_it_expires_for_its_own_challenge_and_person() {
    let town = Town::new().await;
    let state = &town.app.server.state;
    let owner = PersonId(town.tenant.owner);
    let known = town.known().await;
    let checked = known.hash().expect("a password").clone();
    // A challenge of another time, as the gateway makes them.
    let challenge = async |number: u128, ago: TimeDelta| {
        let (now, id) = (town.now() - ago, Uuid::from_u128(number));
        let expires_at = now + TimeDelta::minutes(10);
        let code = state.sign_in.links.login_code(owner, id, expires_at);
        town.wish(UserCommand::ChallengeLogin(Box::new(ChallengeLogin {
            challenge: id,
            checked: checked.clone(),
            device: Uuid::from_u128(99),
            origin: None,
            code_hash: state.sign_in.links.login_code_hash(owner, id, code.reveal()),
            now,
            expires_at,
        })))
        .await;
        let ticket = Challenge::new(owner, None, (Uuid::from_u128(99), false), &checked, town.now());
        let ticket = ticket.by_mail(id, town.now() + TimeDelta::minutes(1));
        (state.sign_in.tickets.challenge_text(&ticket).to_string(), code.reveal().to_owned())
    };
    let show = async |ticket: &str, code: &str| {
        let body = json!({"challenge": ticket, "email_code": code});
        town.app.post("/auth/login/mfa", body).header("x-forwarded-for", AWAY).send().await
    };
    let (old, old_code) = challenge(1, TimeDelta::minutes(10)).await;
    let (first, first_code) = challenge(2, TimeDelta::minutes(4)).await;
    let (second, second_code) = challenge(3, TimeDelta::minutes(2)).await;
    wrong(show(&old, &old_code).await);
    wrong(show(&first, &second_code).await);
    wrong(show(&second, &first_code).await);
    // Another person's challenge is none of theirs, whatever code comes with it.
    let foreign = Challenge::new(
        PersonId(Uuid::from_u128(5)),
        None,
        (Uuid::from_u128(99), false),
        &checked,
        town.now(),
    );
    let foreign = foreign.by_mail(Uuid::from_u128(3), town.now() + TimeDelta::minutes(1));
    let foreign = state.sign_in.tickets.challenge_text(&foreign).to_string();
    show(&foreign, &second_code).await.refused(401, "ERR-AUTH-401", "invalid_token");
    show(&first, &first_code).await.is(StatusCode::OK);
    show(&second, &second_code).await.is(StatusCode::OK);
    // Another way to go on with it there is not.
    for body in [
        json!({"challenge": second, "email_code": second_code, "code": "123456"}),
        json!({"challenge": second}),
    ] {
        town.app.post("/auth/login/mfa", body).send().await.names(&["/code"]);
    }
}

/// NFR-SEC-006: by whoever has the password, too.
#[tokio::test]
async fn within_a_minute_one_letter_is_mailed_and_its_code_goes_with_each_login() {
    let town = Town::new().await;
    let (_, letter) = town.challenged().await;
    let again = wants_a_code(town.log_in("198.51.100.7", json!({})).await);
    assert_eq!(town.reasons("user.login_challenged", "LoginChallenged").await.len(), 1);
    // No event tells of the second one, and why it was asked stands in the audit trail all the same.
    let unusual = json!("new_device,new_network,impossible_pace");
    assert_eq!(town.audited(&again).await, (Value::Null, unusual));
    town.show(&again, &code(&letter)).await.is(StatusCode::OK);
    assert!(town.office.received().is_empty());
}

/// CON-SEC-008: eight digits are not to be guessed.
#[tokio::test]
async fn wrong_codes_are_slowed_whatever_challenge_they_come_with() {
    let town = Town::new().await;
    let (_, letter) = town.challenged().await;
    let mut guesses = 0;
    let slowed = loop {
        let again = wants_a_code(town.log_in(AWAY, json!({})).await);
        let guess = town.show(&again, &other(&code(&letter))).await;
        if guess.status == StatusCode::TOO_MANY_REQUESTS {
            break guess;
        }
        wrong(guess);
        guesses += 1;
        assert!(guesses < 20, "guessing is slowed");
    };
    slowed.refused(429, "ERR-RATE-429", "slow_down");
}

/// NFR-SEC-003: a mailbox is what a password is reset by.
#[tokio::test]
async fn a_mailed_code_is_no_second_factor() {
    let town = Town::new().await;
    let (asked, letter) = town.challenged().await;
    let session = Session::of(&town.show(&asked, &code(&letter)).await.is(StatusCode::OK)).access;
    let own = || town.app.get("/api/v1/tenants/me").by(&session).send();
    own().await.is(StatusCode::OK);
    let asks = town.app.put("/api/v1/tenants/me/security", json!({"mfa_required": true})).by(&session);
    asks.send().await.is(StatusCode::OK);
    own().await.refused(401, "ERR-AUTH-461", "mfa_required");
    let codes = town.app.post("/api/v1/users/me/recovery-codes", json!({})).by(&session).send().await;
    codes.refused(401, "ERR-AUTH-401", "fresh_authentication_required");
}

/// NFR-SEC-006: what a person chose to show is asked for, and nothing less.
#[tokio::test]
async fn whoever_has_a_second_factor_is_asked_for_that_and_gets_no_letter() {
    let town = Town::new().await;
    let known = json!({"device": town.device});
    let session = Session::of(&town.log_in(HOME, known).await.is(StatusCode::OK)).access;
    let offered = town.app.post("/api/v1/users/me/mfa/totp", json!({})).by(&session).send().await;
    let secret =
        Secret::try_from_base32(offered.body["secret"].as_str().expect("a secret")).expect("base 32");
    let totp = Builder::new().with_secret(secret).build().expect("a secret of 160 bits");
    let now = u64::try_from(town.now().timestamp()).expect("after 1970");
    let body = json!({"enrolment": offered.body["enrolment"], "code": totp.generate(now).to_string()});
    let confirm = town.app.post("/api/v1/users/me/mfa/totp/confirm", body).by(&session);
    confirm.send().await.is(StatusCode::OK);
    assert_eq!(town.office.take(1).await[0].header("Subject"), "Two-step sign-in is on");

    let asked = town.log_in(AWAY, json!({})).await.refused(401, "ERR-AUTH-461", "mfa_required");
    assert_eq!(asked.body["methods"], json!(["totp", "recovery_code"]));
    town.show(&asked, "12345678").await.refused(401, "ERR-AUTH-401", "invalid_token");
    let body = json!({"challenge": asked.body["challenge"], "code": totp.generate(now + 30).to_string()});
    let shown = town.app.post("/auth/login/mfa", body).header("x-forwarded-for", AWAY).send().await;
    let shown = shown.is(StatusCode::OK);
    assert_eq!(methods(&shown), json!(["pwd", "otp", "mfa"]));
    let begun = town.reasons("user.login_succeeded", "LoginSucceeded").await;
    assert_eq!(begun.last(), Some(&json!(["new_device", "new_network", "impossible_pace"])));
    // Where it was asked, and where the factor was used up first.
    for (call, event) in [(&asked, Value::Null), (&shown, json!("user.mfa_verified"))] {
        assert_eq!(town.audited(call).await, (event, json!("new_device,new_network,impossible_pace")));
    }
    assert_eq!(town.reasons("user.login_challenged", "LoginChallenged").await, [Value::Null; 0]);
    assert!(town.office.received().is_empty());
}

/// CON-SEC-009: before the code nobody hears where the person belongs, nor whether there is anybody.
#[tokio::test]
async fn whoever_is_asked_learns_nothing_but_that_the_password_was_right() {
    let town = Town::new().await;
    let elsewhere = json!({"tenant": Uuid::from_u128(5)});
    let asked = wants_a_code(town.log_in(AWAY, elsewhere).await);
    let letter = town.office.take(1).await.remove(0);
    town.show(&asked, &code(&letter)).await.refused(403, "ERR-AUTH-403", "wrong_org");
    for body in [
        json!({"email": OWNER, "password": OTHER_PASSWORD}),
        json!({"email": "nobody@acme.example", "password": PASSWORD}),
    ] {
        wrong(town.app.post("/auth/login", body).header("x-forwarded-for", AWAY).send().await);
    }
}

/// NFR-SEC-006
#[tokio::test]
async fn where_risk_is_recorded_only_nobody_is_asked() {
    let town = Town::with(&["--sign-in-risk", "record"]).await;
    let session = town.log_in(AWAY, json!({})).await.is(StatusCode::OK);
    let unusual = json!("new_device,new_network,impossible_pace");
    assert_eq!(town.audited(&session).await, (json!("user.login_succeeded"), unusual));
    let usual = town.log_in(HOME, json!({"device": town.device})).await.is(StatusCode::OK);
    assert_eq!(town.audited(&usual).await, (json!("user.login_succeeded"), Value::Null));
    let begun = town.reasons("user.login_succeeded", "LoginSucceeded").await;
    assert_eq!(begun, [Value::Null, json!(["new_device", "new_network", "impossible_pace"]), Value::Null]);
    assert_eq!(town.reasons("user.login_challenged", "LoginChallenged").await, [Value::Null; 0]);
}

/// NFR-SEC-006: at an hour when they never signed in.
#[tokio::test]
async fn a_new_device_at_an_odd_hour_is_asked_also_where_its_person_always_is() {
    let town = Town::new().await;
    let checked = town.known().await.hash().expect("a password").clone();
    // Twenty logins push the one of now out of what is remembered.
    for day in 1..=20_i64 {
        let then = town.now() - TimeDelta::days(day) - TimeDelta::hours(12);
        town.wish(UserCommand::LogIn(Box::new(LogIn {
            session: SessionId(Uuid::from_u128(day.unsigned_abs().into())),
            tenant: None,
            checked: Checked::Password(checked.clone()),
            second_factor: None,
            asks_if_unusual: false,
            device: Uuid::from_u128(7),
            origin: Some(Origin { address: Some(HOME.to_owned()), user_agent: None }),
            token_hash: "1".repeat(64).parse().expect("a hash"),
            now: then,
            expires_at: then + TimeDelta::days(7),
        })))
        .await;
    }
    let known = json!({"device": town.device});
    wants_a_code(town.log_in(HOME, json!({})).await);
    let challenged = town.reasons("user.login_challenged", "LoginChallenged").await;
    assert_eq!(challenged, [json!(["new_device", "odd_hour"])]);
    town.log_in(HOME, known).await.is(StatusCode::OK);
}

/// A code that came to nothing is not mailed any more.
#[tokio::test]
async fn a_letter_is_not_sent_once_the_password_is_another_one() {
    let town = Town::new().await;
    town.office.refuse([451]);
    wants_a_code(town.log_in(AWAY, json!({})).await);
    let job = async |state: &str| {
        let client = town.app.db.server.get().await.expect("a connection");
        let sql = "SELECT id FROM jobs WHERE payload ->> 'template' = 'login_challenged' AND state = $1 AND attempts > 0";
        client.query_opt(sql, &[&state]).await.expect("it answers").map(|row| JobId(row.get(0)))
    };
    eventually("the letter is not taken for now", async || job("waiting").await.is_some()).await;
    let waiting = job("waiting").await.expect("it was there");
    let checked = town.known().await.hash().expect("a password").clone();
    let hash = checked.as_str().replace("$argon2id$v=19$", "$argon2id$v=19$x").parse().expect("a hash");
    town.wish(UserCommand::ChangePassword { former: checked, hash }).await;
    assert_eq!(town.office.take(1).await[0].header("Subject"), "Your password was changed");
    assert!(town.app.server.jobs.retry(waiting).await.expect("it can be asked for"));
    eventually("it is done", async || job("done").await.is_some()).await;
    assert!(town.office.received().is_empty(), "the code is void");
}
