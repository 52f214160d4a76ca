//! Mail: what happens to people becomes letters, each once, however often the server has to be asked.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use aggregates::membership::{Membership, MembershipCommand};
use aggregates::user::{User, UserCommand};
use chrono::{DateTime, TimeDelta, Utc};
use engine::jobs::{JobId, NewJob};
use kernel::{PersonId, TenantId};
use reqwest::StatusCode;
use schemas::values::{MembershipKind, Role};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{TestApp, TestTenant};
use crate::engine_postgres::context;
use crate::feeds::eventually;
use crate::post_office::{PostOffice, part};

const FROM: &str = "Tenantry <noreply@tenantry.example>";

/// A server that sends its mail through an office, with one tenant and its owner, `owner@acme.example`.
struct Acme {
    app: TestApp,
    tenant: TestTenant,
}

impl Acme {
    async fn with(flags: &[&str]) -> Self {
        let app = TestApp::with(flags).await;
        let tenant = app.provision("acme").await;
        Self { app, tenant }
    }

    /// The owner's own invitation is read already.
    async fn mailing(office: &PostOffice) -> Self {
        let flags = ["--smtp-url", &office.url(), "--mail-from", FROM, "--public-url", "https://t.example"];
        let acme = Self::with(&flags).await;
        assert_eq!(office.take(1).await[0].header("Subject"), "You are invited to acme");
        acme
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.server.state.clock.now()
    }

    async fn person(&self, command: UserCommand) {
        let engine = &self.app.server.state.engine;
        engine.dispatch::<User>(self.tenant.owner, command, context(None)).await.expect("it is carried out");
    }

    async fn membership(&self, person: Uuid, command: MembershipCommand) {
        let id = aggregates::membership::id_of(TenantId(self.tenant.id), PersonId(person));
        let engine = &self.app.server.state.engine;
        engine.dispatch::<Membership>(id.0, command, context(None)).await.expect("it is carried out");
    }

    /// A new person, whose membership is not there yet.
    async fn ben(&self) -> Uuid {
        let ben = Uuid::from_u128(0xbe);
        let command = UserCommand::Register {
            person: PersonId(ben),
            email: "ben@acme.example".parse().unwrap(),
            first_name: Some("Ben".parse().unwrap()),
            last_name: None,
            verified: false,
        };
        let engine = &self.app.server.state.engine;
        engine.dispatch::<User>(ben, command, context(None)).await.expect("it is carried out");
        ben
    }

    /// Invites somebody with a link; until when it is good.
    async fn invite(&self, person: Uuid, days: i64) -> DateTime<Utc> {
        let expires_at = self.now() + TimeDelta::days(days);
        let token_hash = Some(self.invitation(person, expires_at).hash());
        let command = MembershipCommand::Invite {
            tenant: TenantId(self.tenant.id),
            person: PersonId(person),
            role: Role::User,
            kind: MembershipKind::Staff,
            expires_at: Some(expires_at),
            token_hash,
            now: self.now(),
        };
        self.membership(person, command).await;
        expires_at
    }

    fn invitation(&self, person: Uuid, expires_at: DateTime<Utc>) -> workflows::LinkToken {
        let id = aggregates::membership::id_of(TenantId(self.tenant.id), PersonId(person));
        self.app.server.state.keys.links().invitation(id, expires_at)
    }

    async fn ask_for_reset(&self) -> DateTime<Utc> {
        let expires_at = self.now() + TimeDelta::hours(1);
        let token =
            self.app.server.state.keys.links().password_reset(PersonId(self.tenant.owner), expires_at);
        self.person(UserCommand::RequestPasswordReset { token_hash: token.hash(), expires_at }).await;
        expires_at
    }

    /// Every job but that of the owner's invitation: id, state, attempts, word, and what it is about.
    async fn jobs(&self) -> Vec<Row> {
        let owners =
            aggregates::membership::id_of(TenantId(self.tenant.id), PersonId(self.tenant.owner)).to_string();
        let client = self.app.db.server.get().await.unwrap();
        let sql =
            "SELECT id, state, attempts, coalesce(last_error, ''), payload FROM jobs ORDER BY created_at, id";
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| Row {
                id: JobId(row.get(0)),
                state: row.get(1),
                attempts: row.get(2),
                word: row.get(3),
                payload: row.get(4),
            })
            .filter(|row| row.payload["membership"].as_str() != Some(&owners))
            .collect()
    }

    /// The first job, once it is so.
    async fn job(&self, state: &str, word: &str) -> Row {
        let is = |row: &Row| row.state == state && row.word == word;
        eventually(&format!("a job is {state}"), async || self.jobs().await.first().is_some_and(is)).await;
        self.jobs().await.remove(0)
    }
}

#[derive(Debug)]
struct Row {
    id: JobId,
    state: String,
    attempts: i32,
    word: String,
    payload: Value,
}

/// UC-TENANT-INVITE
#[tokio::test]
async fn an_invitation_arrives_with_a_link_that_opens_it_and_stands_nowhere_else() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    let ben = acme.ben().await;
    let expires_at = acme.invite(ben, 7).await;
    let letter = office.take(1).await.remove(0);

    assert_eq!(letter.to, ["ben@acme.example"]);
    assert_eq!(letter.header("To"), "ben@acme.example");
    assert_eq!(letter.header("From"), "Tenantry <noreply@tenantry.example>");
    assert_eq!(letter.header("Subject"), "You are invited to acme");
    let job = acme.job("done", "").await;
    assert_eq!(letter.header("Message-ID"), format!("<{}@tenantry.example>", job.id.0));

    let token = acme.invitation(ben, expires_at);
    let link = format!("https://t.example/login#invitation={}", token.reveal());
    let (text, html) = (letter.part("text/plain"), letter.part("text/html"));
    assert!(text.contains("Hello Ben,") && text.contains(&link), "{text}");
    assert!(html.contains("Hello Ben,") && html.contains(&format!("<a href=\"{link}\">")), "{html}");
    let opened = acme.app.server.state.keys.links().open_invitation(token.reveal());
    assert_eq!(opened.expect("it is ours").0.expires_at, expires_at);

    let kept = job.payload.to_string();
    assert!(!kept.contains('@') && !kept.contains(token.reveal()) && !kept.contains("Ben"), "{kept}");
}

/// FR-TENANT-007, UC-TENANT-INVITE-RESEND
#[tokio::test]
async fn an_invitation_that_is_sent_anew_arrives_with_a_link_that_works_and_the_former_does_not() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    let owner = acme.app.token_of(acme.tenant.owner, Role::Owner, Some(acme.tenant.id));
    let body = json!({"email": "ben@acme.example"});
    let invited = acme.app.post("/api/v1/invitations", body).by(&owner).send().await.is(StatusCode::CREATED);
    let former = link_to_ben(&office).await;
    let resend = format!("/api/v1/invitations/{}/resend", invited.id());
    acme.app.post(&resend, json!({})).by(&owner).send().await.is(StatusCode::OK);
    let last = link_to_ben(&office).await;
    let accept = |token: &str| {
        let body = json!({"token": token, "password": "correct horse battery staple"});
        acme.app.post("/auth/invitations/accept", body).send()
    };
    accept(&former).await.refused(422, "ERR-VAL-422", "invitation_invalid");
    accept(&last).await.is(StatusCode::OK);
}

/// The token of the link in the next letter to Ben; others get theirs too.
async fn link_to_ben(office: &PostOffice) -> String {
    loop {
        let letters = office.take(1).await;
        if let Some(letter) = letters.iter().find(|letter| letter.to == ["ben@acme.example"]) {
            let text = letter.part("text/plain");
            let (_, link) = text.split_once("https://t.example/login#invitation=").expect("there is a link");
            return link.split_whitespace().next().expect("it goes on").to_owned();
        }
    }
}

/// FR-AUTH-004
#[tokio::test]
async fn what_happens_to_a_person_becomes_one_letter_each_and_asking_again_becomes_none() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    let expires_at = acme.ask_for_reset().await;
    let reset = office.take(1).await.remove(0);
    let token = acme.app.server.state.keys.links().password_reset(PersonId(acme.tenant.owner), expires_at);
    assert_eq!(reset.to, ["owner@acme.example"]);
    assert!(
        reset
            .part("text/plain")
            .contains(&format!("https://t.example/login#password_reset={}", token.reveal()))
    );

    // As if the process manager had died before its checkpoint: it sees every event again.
    let client = acme.app.db.server.get().await.unwrap();
    let position = |process: &'static str| {
        let client = &client;
        async move {
            let sql = "SELECT position FROM process_checkpoint WHERE process = $1";
            client.query_one(sql, &[&process]).await.unwrap().get::<_, i64>(0)
        }
    };
    eventually("it has moved on", async || position("mail").await > 0).await;
    let before = position("mail").await;
    client.execute("UPDATE process_checkpoint SET position = 0 WHERE process = 'mail'", &[]).await.unwrap();
    acme.ask_for_reset().await;
    assert_eq!(office.take(1).await.len(), 1);
    eventually("it has seen them all", async || position("mail").await > before).await;
    assert_eq!(acme.jobs().await.len(), 2);
    acme.app.server.stop().await;
    assert!(office.received().is_empty(), "no letter was sent twice");
}

#[tokio::test]
async fn a_server_that_says_later_gets_the_same_letter_later() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    office.refuse([451]);
    acme.ask_for_reset().await;
    let job = acme.job("waiting", "smtp_451").await;
    assert!(office.has_refused() && office.received().is_empty());
    assert_eq!(job.attempts, 1);
    assert!(acme.app.server.jobs.retry(job.id).await.unwrap());
    let letter = office.take(1).await.remove(0);
    assert_eq!(letter.header("Message-ID"), format!("<{}@tenantry.example>", job.id.0));
    acme.job("done", "").await;
}

/// FR-SYS-005
#[tokio::test]
async fn a_letter_that_nobody_will_ever_take_is_dead_and_operators_are_told() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    office.refuse([550]);
    acme.ask_for_reset().await;
    let job = acme.job("dead", "smtp_550").await;
    assert_eq!(job.attempts, 1);
    let operator = acme.app.token(Role::Operator, None);
    let component = async || {
        let health = acme.app.get("/api/operator/health").by(&operator).send().await.is(StatusCode::OK);
        let all = health.body["components"].as_array().expect("components").clone();
        all.into_iter().find(|component| component["name"] == "jobs").expect("it is told of")
    };
    eventually("it is told", async || component().await["detail"] == "dead").await;
    let told = component().await;
    assert_eq!((&told["status"], &told["ready"]), (&json!("degraded"), &json!(true)));
    let hint = told["hint"].as_str().unwrap();
    assert!(hint.contains("mail smtp_550") && !hint.contains("acme.example"), "{hint}");
}

#[tokio::test]
async fn a_server_that_is_away_gets_the_letter_when_it_is_back() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let acme = Acme::with(&["--smtp-url", &format!("smtp://{address}"), "--mail-from", FROM]).await;
    acme.ask_for_reset().await;
    let job = acme.job("waiting", "smtp_connection").await;
    let office = PostOffice::at(TcpListener::bind(address).unwrap());
    assert!(acme.app.server.jobs.retry(job.id).await.unwrap());
    assert_eq!(office.take(1).await[0].to, ["owner@acme.example"]);
}

/// NFR-SEC-001
#[tokio::test]
async fn a_server_that_must_encrypt_and_does_not_is_told_nothing() {
    let office = PostOffice::open();
    let url = format!("{}?tls=required", office.url());
    let acme = Acme::with(&["--smtp-url", &url, "--mail-from", FROM]).await;
    acme.ask_for_reset().await;
    acme.job("waiting", "smtp_unsuited").await;
    assert!(office.received().is_empty());
}

#[tokio::test]
async fn without_a_server_letters_are_files_that_only_the_servers_user_reads() {
    let acme = Acme::with(&[]).await;
    acme.ask_for_reset().await;
    let job = acme.job("done", "").await;
    let directory = acme.app.data_dir().join("mail");
    assert!(acme.app.server.mail_place().ends_with("/data/mail"), "{}", acme.app.server.mail_place());
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    let named =
        |file: &&std::path::PathBuf| file.to_str().unwrap().contains(&format!("-{}-", job.id.0.simple()));
    let files: Vec<_> = files.iter().filter(named).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let mail = std::fs::read_to_string(files[0]).unwrap();
    assert!(mail.contains("\r\nTo: owner@acme.example\r\n"), "{mail}");
    assert!(part(&mail, "text/plain").contains("/login#password_reset="));
}

#[tokio::test]
async fn an_invitation_that_another_one_replaced_and_one_without_a_link_are_not_sent() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    office.refuse([451]);
    // The owner was invited and has accepted without a link.
    assert!(acme.jobs().await.is_empty());
    let ben = acme.ben().await;
    acme.invite(ben, 7).await;
    let first = acme.job("waiting", "smtp_451").await;
    let expires_at = acme.now() + TimeDelta::days(3);
    let token_hash = Some(acme.invitation(ben, expires_at).hash());
    let now = acme.now();
    acme.membership(ben, MembershipCommand::Resend { expires_at: Some(expires_at), token_hash, now }).await;
    let letter = office.take(1).await.remove(0);
    assert!(letter.part("text/plain").contains(acme.invitation(ben, expires_at).reveal()));
    assert!(acme.app.server.jobs.retry(first.id).await.unwrap());
    eventually("the former is done", async || acme.jobs().await.iter().all(|job| job.state == "done")).await;
    assert!(office.received().is_empty(), "the former link is void");
}

/// FR-AUTH-004
#[tokio::test]
async fn a_link_to_reset_a_password_is_not_mailed_once_the_password_is_another_one() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    office.refuse([451]);
    acme.ask_for_reset().await;
    let job = acme.job("waiting", "smtp_451").await;
    let hash = Some("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA".parse().unwrap());
    acme.person(UserCommand::AcceptInvitation { hash, first_name: None, last_name: None }).await;
    assert!(acme.app.server.jobs.retry(job.id).await.unwrap());
    acme.job("done", "").await;
    assert!(office.received().is_empty(), "the link is void");
}

/// CON-COMP-001
#[tokio::test]
async fn somebody_who_was_forgotten_is_not_written_to() {
    let office = PostOffice::open();
    let acme = Acme::mailing(&office).await;
    office.refuse([451]);
    acme.ask_for_reset().await;
    let job = acme.job("waiting", "smtp_451").await;
    acme.person(UserCommand::Forget).await;
    acme.app.settled().await;
    assert!(acme.app.server.jobs.retry(job.id).await.unwrap());
    acme.job("done", "").await;
    assert!(office.received().is_empty());
}

#[tokio::test]
async fn a_job_that_says_nothing_understandable_is_dead() {
    let acme = Acme::with(&[]).await;
    let id = JobId(Uuid::from_u128(1));
    let payload = json!({"template": "of_a_newer_binary", "position": "0:1"});
    acme.app.server.jobs.enqueue(NewJob::new(id, "mail", payload)).await.unwrap();
    acme.job("dead", "unreadable").await;
}
