//! The export of what is known of a person, over HTTP (CON-COMP-001): what is in it, for whom, and until when.

use engine::jobs::JobId;
use kernel::PersonId;
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};
use uuid::Uuid;

use crate::app::{Answer, TestApp};
use crate::authenticator::Device;
use crate::feeds::eventually;
use crate::http_sign_in::{Acme, PASSWORD, Session};
use crate::post_office::PostOffice;

const EXPORT: &str = "/api/v1/users/me/export";
const PAGES: &str = "https://app.example";
const SUBJECT: &str = "Your data are ready";

async fn ask(acme: &Acme, by: &str) -> Answer {
    acme.app.post(EXPORT, json!({})).by(by).send().await
}

async fn status(acme: &Acme, by: &str, job: Uuid) -> Answer {
    acme.app.get(&format!("/api/v1/jobs/{job}/status")).by(by).send().await
}

async fn result(acme: &Acme, by: &str, job: Uuid) -> Answer {
    acme.app.get(&format!("/api/v1/jobs/{job}/result")).by(by).send().await
}

/// Waits until a job is done, as whoever asked for it sees it.
async fn done(acme: &Acme, by: &str, job: Uuid) -> Value {
    let is_done = async || status(acme, by, job).await.is(StatusCode::OK).body["status"] == "succeeded";
    eventually("the export is made", is_done).await;
    status(acme, by, job).await.body
}

/// Asks, and waits until it is made.
async fn exported(acme: &Acme, by: &str) -> Uuid {
    let job = ask(acme, by).await.is(StatusCode::ACCEPTED).id();
    done(acme, by, job).await;
    job
}

fn not_there(answer: Answer) {
    answer.refused(404, "ERR-RES-404", "not_found");
}

/// What the database's owner does to the jobs, where a test needs what nobody else can do.
async fn as_owner(acme: &Acme, sql: &str, job: Uuid) {
    let client = acme.app.db.owner.get().await.expect("a connection");
    assert!(client.execute(sql, &[&job]).await.expect("it is done") > 0, "{sql}");
}

const AGAIN: &str = "UPDATE jobs SET state = 'waiting', run_at = now(), finished_at = NULL WHERE id = $1";

async fn count(acme: &Acme, sql: &str, job: Uuid) -> i64 {
    let client = acme.app.db.owner.get().await.expect("a connection");
    client.query_one(sql, &[&job]).await.expect("it answers").get(0)
}

async fn again(acme: &Acme, job: Uuid, attempts: i64) {
    as_owner(acme, AGAIN, job).await;
    let sql = "SELECT attempts::bigint FROM jobs WHERE id = $1 AND state = 'done'
                UNION ALL SELECT 0 ORDER BY 1 DESC LIMIT 1";
    eventually("it is done again", async || count(acme, sql, job).await == attempts).await;
}

/// True if a text holds what may be a hash of ours.
fn holds_a_hash(text: &str) -> bool {
    let hexadecimal = |character: char| matches!(character, '0'..='9' | 'a'..='f');
    text.split(|character| !hexadecimal(character)).any(|run| run.len() >= 64)
}

/// A deployment with mail, and with everything that a person can have to sign in.
struct Furnished {
    acme: Acme,
    office: PostOffice,
    session: Session,
    secrets: Vec<String>,
}

async fn furnished() -> Furnished {
    let office = PostOffice::open();
    let url = office.url();
    let flags =
        ["--smtp-url", &url, "--mail-from", "Tenantry <noreply@tenantry.example>", "--public-url", PAGES];
    let app = TestApp::with(&flags).await;
    let tenant = Acme::tenant(&app, "acme").await;
    let acme = Acme { app, tenant };
    let first = acme.session().await;
    let text = |value: &Value| value.as_str().expect("text").to_owned();

    acme.app.post("/auth/password/forgot", json!({"email": acme.owner()})).send().await;
    let link = acme.app.reset_link(acme.tenant.owner).await;
    let offered = acme.app.post("/api/v1/users/me/mfa/totp", json!({})).by(&first.access).send().await.body;
    let secret = text(&offered["secret"]);
    let totp = Builder::new().with_secret(Secret::try_from_base32(&secret).expect("base 32"));
    let totp = totp.build().expect("a secret of 160 bits");
    let now = u64::try_from(acme.app.server.state.clock.now().timestamp()).expect("after 1970");
    let body = json!({"enrolment": offered["enrolment"], "code": totp.generate(now).to_string()});
    let confirm = acme.app.post("/api/v1/users/me/mfa/totp/confirm", body).by(&first.access).send().await;
    let codes: Vec<String> =
        serde_json::from_value(confirm.is(StatusCode::OK).body["recovery_codes"].clone()).expect("codes");
    let asked = acme.log_in(acme.owner(), PASSWORD).await.refused(401, "ERR-AUTH-461", "mfa_required");
    let body = json!({"challenge": asked.body["challenge"], "recovery_code": codes[0]});
    let session = acme.app.post("/auth/login/mfa", body).send().await.is(StatusCode::OK);
    let session = Session::of(&session);
    let options = acme.app.post("/api/v1/users/me/passkeys/options", json!({})).by(&session.access);
    let offered = options.send().await.is(StatusCode::OK).body;
    let credential = Device::default().create(PAGES, &offered["options"]).await;
    let body = json!({"ticket": offered["ticket"], "name": "Ann's phone", "credential": credential});
    let added = acme.app.post("/api/v1/users/me/passkeys", body).by(&session.access).send().await;
    added.is(StatusCode::CREATED);
    // A second factor ended those from before.
    let body = json!({"name": "Nightly", "permissions": ["users:read"]});
    let token = acme.app.post("/api/v1/users/me/tokens", body).by(&session.access).send().await;
    let token = text(&token.is(StatusCode::CREATED).body["token"]);

    let mut secrets = vec![PASSWORD.to_owned(), "$argon2".to_owned(), token[36..].to_owned(), link, secret];
    secrets.extend([text(&credential["id"]), text(&asked.body["challenge"])]);
    secrets.extend([session.access.clone(), session.refresh.clone(), first.refresh]);
    secrets.extend(codes);
    Furnished { acme, office, session, secrets }
}

/// CON-COMP-001, CON-SEC-002
#[tokio::test]
async fn whoever_asks_for_their_data_gets_all_of_it_but_no_secret_and_a_letter_that_it_is_there() {
    let Furnished { acme, office, session, secrets } = furnished().await;
    acme.app.settled().await;
    let asked = ask(&acme, &session.access).await.is(StatusCode::ACCEPTED);
    let job = asked.id();
    assert_eq!(asked.header("location"), format!("/api/v1/jobs/{job}/status"));
    assert_eq!((&asked.body["kind"], &asked.body["result"]), (&json!("export"), &Value::Null));
    let entries = acme.app.entries(&[asked.trace]).await;
    let told: Vec<_> = entries.iter().map(|it| (&*it.action, &*it.outcome, it.status)).collect();
    assert_eq!(told, [("profile:export", "success", Some(202))]);

    let made = done(&acme, &session.access, job).await;
    assert_eq!(
        (&made["attempts"], &made["result"]),
        (&json!(1), &json!(format!("/api/v1/jobs/{job}/result")))
    );
    let until: chrono::DateTime<chrono::Utc> = made["result_until"].as_str().unwrap().parse().unwrap();
    let days = (until - acme.app.server.state.clock.now()).num_hours();
    assert!((167..=168).contains(&days), "{days} hours are seven days");

    let fetched = result(&acme, &session.access, job).await.is(StatusCode::OK);
    assert_eq!(fetched.header("content-type"), "application/json");
    assert_eq!(fetched.header("cache-control"), "no-store");
    assert!(fetched.header("content-disposition").starts_with("attachment"));
    let data = &fetched.body;
    assert_eq!((&data["format"], &data["version"]), (&json!("tenantry.personal_data"), &json!(1)));
    assert_eq!(
        (&data["profile"]["email"], &data["profile"]["first_name"]),
        (&json!(acme.owner()), &json!("Ann"))
    );
    assert_eq!(data["second_factors"]["recovery_codes_left"], 9);
    assert!(data["second_factors"]["one_time_codes_since"].is_string());
    assert_eq!(data["passkeys"][0]["name"], "Ann's phone");
    assert_eq!(data["tokens"][0]["name"], "Nightly");
    let memberships = data["memberships"].as_array().expect("a list");
    assert_eq!(memberships.len(), 1);
    let membership = &memberships[0];
    let found = (&membership["tenant"], &membership["role"], &membership["status"]);
    assert_eq!(found, (&json!(acme.tenant.id), &json!("owner"), &json!("active")));
    let sessions = data["sessions"].as_array().expect("a list");
    assert!(sessions.iter().any(|it| it["id"] == json!(session.id)), "{sessions:?}");
    assert_eq!(data["devices"].as_array().map(Vec::len), Some(2));
    let events = data["events"].as_array().expect("a list");
    let types: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    for expected in ["user.registered", "user.token_issued", "user.mfa_enrolled", "user.passkey_added"] {
        assert!(types.contains(&expected), "{expected} is not in {types:?}");
    }
    let registered = &events[0];
    // Whoever provisions a tenant, or what follows from it, whichever was first.
    assert!(["other", "system"].map(Value::from).contains(&registered["by"]), "{registered}");
    assert_eq!(registered["about"]["email"], acme.owner());
    assert_eq!(data["events_left_out"], 0);
    let actions = data["actions"].as_array().expect("a list");
    let issued = actions.iter().find(|it| it["action"] == "my_tokens:issue").expect("what they did");
    assert_eq!((&issued["outcome"], &issued["address"]), (&json!("success"), &json!("127.0.0.1")));
    assert_eq!(data["actions_cut"], false);

    for secret in &secrets {
        assert!(!fetched.text.contains(secret), "{secret} is in it");
    }
    assert!(!holds_a_hash(&fetched.text), "a hash is in it");
    // It is kept sealed.
    let sql = "SELECT count(*) FROM job_result_parts WHERE job = $1";
    assert_eq!(count(&acme, sql, job).await, 1);
    let plain = format!(
        "{sql} AND (position('{}' IN content) > 0 OR position('tenantry.' IN content) > 0)",
        acme.owner()
    );
    assert_eq!(count(&acme, &plain, job).await, 0);

    let ready =
        || office.received().into_iter().filter(|it| it.header("Subject") == SUBJECT).collect::<Vec<_>>();
    eventually("a letter says so", async || !ready().is_empty()).await;
    let letters = ready();
    assert_eq!((letters.len(), &letters[0].to[..]), (1, &[acme.owner().to_owned()][..]));
    let letter = letters[0].part("text/plain");
    assert!(!letter.contains(&job.to_string()) && !letter.contains("login#"), "{letter}");
}

/// CC-DAT-001
#[tokio::test]
async fn a_retry_is_the_same_export_one_is_under_way_at_a_time_and_there_are_three_a_day() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let keyed = || acme.app.post(EXPORT, json!({})).by(&owner).idempotency_key("one").send();
    let first = keyed().await.is(StatusCode::ACCEPTED);
    let retry = keyed().await.is(StatusCode::ACCEPTED);
    assert_eq!((retry.id(), retry.header("idempotent-replayed")), (first.id(), "true"));
    done(&acme, &owner, first.id()).await;

    let second = exported(&acme, &owner).await;
    assert_ne!(second, first.id());
    let paused = "UPDATE jobs SET state = 'waiting', run_at = now() + interval '1 day', finished_at = NULL WHERE id = $1";
    as_owner(&acme, paused, second).await;
    assert_eq!(ask(&acme, &owner).await.is(StatusCode::ACCEPTED).id(), second, "it is under way");
    as_owner(&acme, AGAIN, second).await;
    // Its workers were not told.
    assert!(acme.app.server.jobs.retry(JobId(second)).await.is_ok());
    done(&acme, &owner, second).await;

    exported(&acme, &owner).await;
    let refused = ask(&acme, &owner).await.refused(429, "ERR-RATE-429", "too_many_exports");
    let wait: i64 = refused.header("retry-after").parse().expect("seconds");
    assert!((86_000..=86_400).contains(&wait), "{wait}");
    assert_eq!(keyed().await.is(StatusCode::ACCEPTED).id(), first.id(), "a retry asks for nothing more");
    as_owner(&acme, "UPDATE jobs SET created_at = created_at - interval '1 day' WHERE id = $1", first.id())
        .await;
    exported(&acme, &owner).await;
}

/// CON-SEC-007, CON-SEC-009, ERR-RES-404
#[tokio::test]
async fn nobody_else_gets_it_and_nobody_but_operators_learns_that_it_is_there() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    acme.member(&owner, "ben@acme.example", Role::User).await;
    acme.member(&owner, "otto@acme.example", Role::Owner).await;
    let ben = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await).access;
    let other_owner = Session::of(&acme.log_in("otto@acme.example", PASSWORD).await).access;
    let job = exported(&acme, &ben).await;
    for by in [&owner, &other_owner] {
        let (there, absent) = (status(&acme, by, job).await, status(&acme, by, Uuid::from_u128(7)).await);
        let told = |answer: &Answer| {
            let mut body = answer.body.clone();
            body["trace_id"].take();
            (answer.status, body)
        };
        assert_eq!(told(&there), told(&absent));
        not_there(there);
        not_there(result(&acme, by, job).await);
        not_there(result(&acme, by, Uuid::from_u128(7)).await);
    }
    let operator = acme.app.token(Role::Operator, None);
    let seen = status(&acme, &operator, job).await.is(StatusCode::OK);
    assert_eq!((&seen.body["status"], seen.body.get("result")), (&json!("succeeded"), None));
    result(&acme, &operator, job).await.refused(403, "ERR-AUTH-403", "forbidden");
    not_there(status(&acme, &operator, Uuid::from_u128(7)).await);
    let auditor = acme.app.token(Role::Auditor, None);
    status(&acme, &auditor, job).await.refused(403, "ERR-AUTH-403", "forbidden");
    // Nor does a token of their own that is no session.
    let body = json!({"name": "Everything", "permissions": ["*"]});
    let token =
        acme.app.post("/api/v1/users/me/tokens", body).by(&owner).send().await.is(StatusCode::CREATED);
    let token = token.body["token"].as_str().expect("a token").to_owned();
    ask(&acme, &token).await.refused(403, "ERR-AUTH-403", "forbidden");
    result(&acme, &ben, job).await.is(StatusCode::OK);
}

/// REQUIREMENTS §5: whatever becomes of the tenant, what is known of its people is theirs to have.
#[tokio::test]
async fn an_export_works_in_every_access_mode_of_the_tenant() {
    let acme = Acme::new().await;
    let operator = acme.app.token(Role::Operator, None);
    for mode in ["read_only", "blocked"] {
        let path = format!("/api/operator/tenants/{}/access-mode", acme.tenant.id);
        acme.app.put(&path, json!({"mode": mode})).by(&operator).send().await.is(StatusCode::OK);
        let owner = acme.session().await.access;
        let invited = acme.app.post("/api/v1/users", json!({"email": "ben@acme.example"})).by(&owner);
        invited.send().await.refused(403, "ERR-AUTH-403", mode);
        let job = exported(&acme, &owner).await;
        let data = result(&acme, &owner, job).await.is(StatusCode::OK).body;
        assert_eq!(data["memberships"][0]["tenant"], json!(acme.tenant.id), "{mode}");
    }
}

/// CON-COMP-001: what was made of somebody goes with them, and nothing is made any more.
#[tokio::test]
async fn a_document_of_somebody_who_was_forgotten_opens_no_more() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let ben = acme.member(&owner, "ben@acme.example", Role::User).await;
    let session = Session::of(&acme.log_in("ben@acme.example", PASSWORD).await).access;
    let job = exported(&acme, &session).await;
    let results = &acme.app.server.state.results;
    let kept = results.find(JobId(job)).await.expect("it answers").expect("it was made");
    assert_eq!(kept.person, PersonId(ben));
    let text = results.part(kept, 0).await.expect("it answers").expect("it opens");
    assert!(text.contains("ben@acme.example"));

    acme.app.delete("/api/v1/users/me").by(&session).send().await.is(StatusCode::NO_CONTENT);
    result(&acme, &session, job).await.refused(401, "ERR-AUTH-440", "session_expired");
    let gone = async || matches!(results.part(kept, 0).await, Ok(None));
    eventually("the key is gone", gone).await;
    // Whoever reads the table itself finds what only that key opens, and what only one job made.
    let sql = "SELECT count(*) FROM job_result_parts WHERE job = $1 AND position('ben@' IN content) > 0";
    assert_eq!(count(&acme, sql, job).await, 0);

    as_owner(&acme, "DELETE FROM job_results WHERE job = $1", job).await;
    again(&acme, job, 2).await;
    assert_eq!(count(&acme, "SELECT count(*) FROM job_results WHERE job = $1", job).await, 0);
    acme.app.settled().await;
    let written = acme.app.everything_written().await;
    assert!(!written.contains("ben@acme.example"), "nothing of them is written anywhere");
}

/// CC-DAT-001: a worker that died before it said that it was done has it done again.
#[tokio::test]
async fn an_export_that_is_made_twice_is_one_document_and_one_letter() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let job = exported(&acme, &owner).await;
    let first = result(&acme, &owner, job).await.is(StatusCode::OK).text;
    again(&acme, job, 2).await;
    assert_eq!(result(&acme, &owner, job).await.is(StatusCode::OK).text, first);
    // The same, but it died before it was done: parts lie about that are no result.
    as_owner(&acme, "DELETE FROM job_results WHERE job = $1", job).await;
    not_there(result(&acme, &owner, job).await);
    again(&acme, job, 3).await;
    let second = result(&acme, &owner, job).await.is(StatusCode::OK).body;
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!((&second["as_of"], &second["events"]), (&first["as_of"], &first["events"]));
    let parts = "SELECT count(DISTINCT attempt) FROM job_result_parts WHERE job = $1";
    assert_eq!(count(&acme, parts, job).await, 1, "what the first left is gone");
    let letters = "SELECT count(*) FROM jobs WHERE payload ->> 'template' = 'export_ready' AND id <> $1";
    assert_eq!(count(&acme, letters, job).await, 1);
}

#[tokio::test]
async fn a_document_that_has_expired_is_not_there_before_anybody_removed_it() {
    let acme = Acme::new().await;
    let owner = acme.session().await.access;
    let job = exported(&acme, &owner).await;
    result(&acme, &owner, job).await.is(StatusCode::OK);
    let over = "UPDATE job_results SET expires_at = now() - interval '1 second' WHERE job = $1";
    as_owner(&acme, over, job).await;
    not_there(result(&acme, &owner, job).await);
    let seen = status(&acme, &owner, job).await.is(StatusCode::OK).body;
    assert_eq!(
        (&seen["status"], &seen["result"], &seen["result_until"]),
        (&json!("succeeded"), &Value::Null, &Value::Null)
    );
}
