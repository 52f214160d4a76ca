//! Self-registration over HTTP: a stranger registers a tenant, and whoever has the address verifies it (REQUIREMENTS §3).

use std::collections::BTreeSet;
use std::sync::Arc;

use aggregates::membership::{Membership, MembershipCommand};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use kernel::{Clock, CorrelationId, TenantId};
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use uuid::Uuid;
use workflows::Lapse;

use crate::app::{Answer, TestApp};
use crate::engine_postgres::context;
use crate::feeds::eventually;
use crate::http_sign_in::{OTHER_PASSWORD, PASSWORD};
use crate::post_office::{PostOffice, Received};

const ANN: &str = "ann@acme.example";

/// A server where tenants can be registered, and its mail.
struct Town {
    app: TestApp,
    office: PostOffice,
}

impl Town {
    async fn new() -> Self {
        let office = PostOffice::open();
        let url = office.url();
        let mail = ["--smtp-url", &url, "--mail-from", "noreply@t.example"];
        let flags = [&mail[..], &["--public-url", "https://t.example", "--registration", "on"]].concat();
        Self { app: TestApp::with(&flags).await, office }
    }

    async fn register(&self, domain: &str, email: &str) -> Answer {
        let body = json!({"name": "Buy at evil.example", "domain": domain, "email": email});
        self.app.post("/auth/register", body).send().await.is(StatusCode::ACCEPTED)
    }

    async fn verify(&self, body: Value) -> Answer {
        self.app.post("/auth/email/verify", body).send().await
    }

    /// The next letter to an address that asks to confirm it; others that came meanwhile are thrown away.
    async fn letter_to(&self, address: &str) -> Received {
        loop {
            let mut letters = self.office.take(1).await.into_iter();
            if let Some(letter) = letters.find(|letter| letter.to == [address] && is_ours(letter)) {
                return letter;
            }
        }
    }

    /// Registers a tenant; the token of the link that is mailed.
    async fn registered(&self, domain: &str, email: &str) -> String {
        self.register(domain, email).await;
        token_in(&self.letter_to(email).await)
    }

    /// The tenant of a domain as operators see it, once its provisioning has ended.
    async fn tenant(&self, domain: &str) -> Value {
        self.app.settled().await;
        let operator = self.app.token(Role::Operator, None);
        let path = format!("/api/operator/tenants?filter[domain][eq]={domain}");
        let list = self.app.get(&path).by(&operator).send().await.is(StatusCode::OK).body;
        let id = list["items"][0]["id"].as_str().unwrap_or_else(|| panic!("no tenant: {list}"));
        self.app.provisioned(id.parse().expect("an id")).await
    }

    async fn log_in(&self, email: &str, password: &str, tenant: Option<Uuid>) -> Answer {
        let body = json!({"email": email, "password": password, "tenant": tenant});
        self.app.post("/auth/login", body).send().await
    }

    /// How many events of a type there are.
    async fn count(&self, event_type: &str) -> i64 {
        let client = self.app.db.server.get().await.expect("a connection");
        let sql = "SELECT count(*) FROM events WHERE event_type = $1";
        client.query_one(sql, &[&event_type]).await.expect("it answers").get(0)
    }

    /// What looks whether a registration lapses, by a clock that is `ahead`.
    fn lapse(&self, ahead: TimeDelta) -> Lapse {
        let server = &self.app.server;
        Lapse::new(server.state.engine.clone(), server.jobs.clone(), Arc::new(Ahead(ahead)))
    }
}

/// A clock that is ahead of the server's.
#[derive(Debug)]
struct Ahead(TimeDelta);

impl Clock for Ahead {
    fn now(&self) -> DateTime<Utc> {
        engine::clock::SystemClock.now() + self.0
    }
}

fn is_ours(letter: &Received) -> bool {
    letter.header("Subject") == "Confirm your e-mail address"
}

fn token_in(letter: &Received) -> String {
    let text = letter.part("text/plain");
    let (_, link) = text.split_once("https://t.example/login#verification=").expect("there is a link");
    link.split_whitespace().next().expect("it goes on").to_owned()
}

fn id_of(of: &Value) -> Uuid {
    of.as_str().expect("text").parse().expect("an id")
}

#[tokio::test]
async fn nothing_is_registered_where_it_is_not_offered() {
    let app = TestApp::new().await;
    let before = app.events().await;
    let body = json!({"name": "Acme", "domain": "acme.example", "email": ANN});
    app.post("/auth/register", body).send().await.refused(403, "ERR-AUTH-403", "registration_off");
    assert_eq!((before, app.events().await), (0, 0));
    app.provision("bee").await;
    let known = json!({"name": "Bee", "domain": "bee.example", "email": "owner@bee.example"});
    app.post("/auth/register", known).send().await.refused(403, "ERR-AUTH-403", "registration_off");
    let operator = app.token(Role::Operator, None);
    let list = app.get("/api/operator/tenants").by(&operator).send().await.is(StatusCode::OK);
    assert_eq!(list.body["items"].as_array().map(Vec::len), Some(1), "the one that was provisioned");
}

/// The whole way, by nothing but HTTP and mail.
#[tokio::test]
async fn a_tenant_is_registered_verified_by_its_letter_and_its_owner_signs_in() {
    let town = Town::new().await;
    assert_eq!(town.register("acme.example", ANN).await.text, "");
    let letter = town.letter_to(ANN).await;
    assert!(!letter.part("text/plain").contains("evil.example"), "a stranger's words are not mailed");
    let token = token_in(&letter);

    let tenant = town.tenant("acme.example").await;
    let (id, owner) = (id_of(&tenant["id"]), id_of(&tenant["owners"][0]));
    assert_eq!(
        [&tenant["unverified"], &tenant["status"], &tenant["plan"], &tenant["provisioning_status"]],
        [&json!(true), &json!("trial"), &json!("free"), &json!("completed")]
    );

    // Before that, nobody gets in, and nothing but the link does it.
    let nobodys = town.app.token(Role::Owner, Some(id));
    let own = async |token: &str| town.app.get("/api/v1/tenants/me").by(token).send().await;
    own(&nobodys).await.refused(403, "ERR-AUTH-403", "blocked");
    town.log_in(ANN, PASSWORD, None).await.refused(401, "ERR-AUTH-401", "invalid_credentials");
    let before = town.app.events().await;
    let body = json!({"token": token, "password": PASSWORD});
    let invitation = town.app.post("/auth/invitations/accept", body.clone()).send().await;
    invitation.refused(422, "ERR-VAL-422", "invitation_invalid");
    town.verify(json!({"token": token})).await.names(&["/password"]);
    let weak = town.verify(json!({"token": token, "password": "password1234"})).await;
    weak.refused(422, "ERR-VAL-422", "weak_password");
    assert_eq!(town.app.events().await, before, "nothing was written");

    let verified = town.verify(json!({"token": token, "password": PASSWORD, "first_name": "Ann"})).await;
    let verified = verified.is(StatusCode::OK).body;
    assert_eq!(
        (&verified["id"], &verified["tenant"], &verified["email"]),
        (&json!(owner), &json!(id), &json!(ANN))
    );
    assert!(verified.get("access_token").is_none(), "nobody is signed in by it");
    let session = town.log_in(ANN, PASSWORD, None).await.is(StatusCode::OK).body;
    let access = session["access_token"].as_str().expect("a token");
    assert_eq!(own(access).await.is(StatusCode::OK).body["domain"], "acme.example");
    let me = town.app.get("/auth/me").by(access).send().await.is(StatusCode::OK).body;
    assert_eq!((&me["role"], &me["tenant"]), (&json!("owner"), &json!(id)));
    assert_eq!(town.tenant("acme.example").await["unverified"], false);

    // An answer that got lost is asked for again; a guess is none.
    let before = town.app.events().await;
    town.verify(body).await.is(StatusCode::OK);
    let guess = town.verify(json!({"token": token, "password": OTHER_PASSWORD})).await;
    guess.refused(409, "ERR-VAL-409", "password_already_set");
    assert_eq!(town.app.events().await, before);
}

/// CON-SEC-009
#[tokio::test]
async fn neither_a_known_address_nor_a_taken_domain_is_told() {
    let town = Town::new().await;
    let acme = town.app.provision("acme").await;
    let before = town.tenant("acme.example").await;
    // The last two reach somebody, so that the others had their time.
    let answers = [
        town.register("acme.example", "eve@evil.example").await,
        town.register("acme.example", "owner@acme.example").await,
        town.register("new.example", "owner@acme.example").await,
        town.register("other.example", "eve@evil.example").await,
    ];
    let told = |answer: &Answer| {
        let headers: BTreeSet<String> = answer.headers.keys().map(ToString::to_string).collect();
        (answer.status, answer.text.clone(), headers)
    };
    assert!(answers.iter().all(|answer| told(answer) == told(&answers[0])), "{answers:?}");

    let mut letters = Vec::new();
    while letters.len() < 2 {
        letters.extend(town.office.take(1).await.into_iter().filter(is_ours));
    }
    let to: BTreeSet<&str> = letters.iter().map(|letter| letter.to[0].as_str()).collect();
    assert_eq!(to, ["owner@acme.example", "eve@evil.example"].into());
    assert_eq!(town.tenant("acme.example").await, before, "the tenant that holds the domain is as it was");
    assert_eq!(town.count("tenant.registered").await, 2);
    assert_eq!(town.count("user.registered").await, 2, "the known person is the same one");
    assert_eq!(town.tenant("new.example").await["owners"], json!([acme.owner]));
}

/// CON-SEC-009, ERR-VAL-409
#[tokio::test]
async fn a_registration_touches_neither_a_persons_account_nor_their_tenant() {
    let town = Town::new().await;
    let acme = crate::http_sign_in::Acme::tenant(&town.app, "acme").await;
    let owner = town.app.token_of(acme.owner, Role::Owner, Some(acme.id));
    let body = json!({"email": ANN, "first_name": "Ann"});
    let ann = town.app.post("/api/v1/users", body).by(&owner).send().await.is(StatusCode::CREATED).id();
    let invitation = town.app.invitation(acme.id, ann).await;
    let body = json!({"token": invitation, "password": PASSWORD});
    town.app.post("/auth/invitations/accept", body).send().await.is(StatusCode::OK);

    let token = town.registered("evil.example", ANN).await;
    let evil = id_of(&town.tenant("evil.example").await["id"]);
    // She signs in as before, to her own tenant alone, whose owner still looks after her profile.
    let session = town.log_in(ANN, PASSWORD, None).await.is(StatusCode::OK).body;
    assert_eq!(session["tenant"], json!(acme.id));
    town.log_in(ANN, PASSWORD, Some(evil)).await.refused(403, "ERR-AUTH-403", "wrong_org");
    let profile = format!("/api/v1/users/{ann}");
    let renamed = town.app.patch(&profile, json!({"last_name": "Archer"})).by(&owner).send().await;
    renamed.is(StatusCode::OK);

    // Her password stays, whatever is sent with the link.
    let other = town.verify(json!({"token": token, "password": OTHER_PASSWORD})).await;
    other.refused(409, "ERR-VAL-409", "password_already_set");
    town.verify(json!({"token": token, "first_name": "Eve"})).await.is(StatusCode::OK);
    town.log_in(ANN, OTHER_PASSWORD, None).await.refused(401, "ERR-AUTH-401", "invalid_credentials");
    let session = town.log_in(ANN, PASSWORD, Some(evil)).await.is(StatusCode::OK).body;
    let me = town.app.get("/auth/me").by(session["access_token"].as_str().expect("a token")).send().await;
    assert_eq!(me.body["role"], "owner");
    town.app.settled().await;
    assert_eq!(town.app.get(&profile).by(&owner).send().await.body["first_name"], "Ann");
}

/// ERR-VAL-422
#[tokio::test]
async fn a_link_of_another_kind_a_former_one_and_an_old_one_verify_nothing() {
    let town = Town::new().await;
    let bee = town.app.provision_only("bee", json!({})).await;
    let invitation = town.app.invitation(bee.id, bee.owner).await;
    let links = town.app.server.state.keys.links();
    let now = town.app.server.state.clock.now();
    let reset = links.password_reset(bee.owner.into(), now + TimeDelta::hours(1)).reveal().to_owned();
    // Well made, of a membership that was invited otherwise.
    let membership = aggregates::membership::id_of(bee.id.into(), bee.owner.into());
    let made_up = links.verification(membership, now + TimeDelta::hours(1)).reveal().to_owned();
    let former = town.registered("acme.example", ANN).await;
    let tenant = town.tenant("acme.example").await;
    let mut changed = former.clone();
    changed.replace_range(30..31, if &former[30..31] == "A" { "B" } else { "A" });
    for token in ["", "AAAA", &invitation, &reset, &made_up, &changed] {
        let refused = town.verify(json!({"token": token, "password": PASSWORD})).await;
        refused.refused(422, "ERR-VAL-422", "verification_invalid");
    }
    let body = json!({"token": former, "password": PASSWORD});
    let reset = town.app.post("/auth/password/reset", body).send().await;
    reset.refused(422, "ERR-VAL-422", "link_invalid");

    // Registered again by another address nothing comes of it; by the same, the same link comes once more.
    town.register("acme.example", "eve@evil.example").await;
    assert_eq!(town.registered("acme.example", ANN).await, former);
    assert_eq!(town.count("tenant.registered").await, 1);
    assert_eq!(town.count("membership.resent").await, 0, "it is good no longer than before");

    // One that is soon too old, in place of the last.
    let owner = id_of(&tenant["owners"][0]);
    let membership = aggregates::membership::id_of(id_of(&tenant["id"]).into(), owner.into());
    let now = town.app.server.state.clock.now();
    let expires_at = (now + TimeDelta::milliseconds(500)).trunc_subsecs(6);
    let old = links.verification(membership, expires_at);
    let (token_hash, expires) = (Some(old.hash()), Some(expires_at));
    let command = MembershipCommand::Resend { expires_at: expires, token_hash, now };
    let engine = &town.app.server.state.engine;
    engine.dispatch::<Membership>(membership.0, command, context(None)).await.expect("it is sent anew");
    eventually("it expires", async || town.app.server.state.clock.now() > expires_at).await;
    let refused = town.verify(json!({"token": old.reveal(), "password": PASSWORD})).await;
    refused.refused(422, "ERR-VAL-422", "verification_expired");
    assert_eq!(town.tenant("acme.example").await["unverified"], true);
}

/// CC-DAT-001
#[tokio::test]
async fn a_verification_that_got_no_further_than_the_membership_goes_on() {
    let town = Town::new().await;
    let token = town.registered("acme.example", ANN).await;
    let tenant = town.tenant("acme.example").await;
    // As if the server had died right after it.
    town.app.accept(id_of(&tenant["id"]), id_of(&tenant["owners"][0])).await;
    let verified = async || town.tenant("acme.example").await["unverified"] == false;
    eventually("the tenant is verified", verified).await;
    town.verify(json!({"token": token, "password": PASSWORD})).await.is(StatusCode::OK);
    town.log_in(ANN, PASSWORD, None).await.is(StatusCode::OK);
}

#[tokio::test]
async fn a_registration_that_nobody_verifies_lapses_and_its_domain_is_free_again() {
    let town = Town::new().await;
    let token = town.registered("acme.example", ANN).await;
    let tenant = id_of(&town.tenant("acme.example").await["id"]);
    let client = town.app.db.server.get().await.expect("a connection");
    let asked = async || {
        let sql = "SELECT payload ->> 'tenant' FROM jobs \
                   WHERE kind = 'registration' AND run_at > now() + interval '24 hours'";
        let row = client.query_opt(sql, &[]).await.expect("it answers");
        row.is_some_and(|row| row.get::<_, String>(0) == tenant.to_string())
    };
    eventually("it is asked for", asked).await;

    let (of, correlation) = (TenantId(tenant), CorrelationId(Uuid::from_u128(1)));
    let open = town.lapse(TimeDelta::hours(23)).lapse(of, correlation).await.expect("it is looked at");
    assert!(open.is_some(), "the link can still be used");
    assert_eq!(town.tenant("acme.example").await["unverified"], true);
    let late = town.lapse(TimeDelta::hours(25));
    assert_eq!(late.lapse(of, correlation).await, Ok(None));
    town.app.settled().await;
    let before = town.app.events().await;
    assert_eq!(late.lapse(of, correlation).await, Ok(None));
    assert_eq!(town.app.events().await, before, "once");
    let gone = town.app.provisioned(tenant).await;
    assert_eq!(
        (&gone["name"], &gone["domain"], &gone["unverified"]),
        (&json!(null), &json!(null), &json!(false))
    );
    let refused = town.verify(json!({"token": token, "password": PASSWORD})).await;
    refused.refused(422, "ERR-VAL-422", "verification_invalid");

    let token = town.registered("acme.example", "ben@acme.example").await;
    town.verify(json!({"token": token, "password": PASSWORD})).await.is(StatusCode::OK);
    let next = id_of(&town.tenant("acme.example").await["id"]);
    assert_ne!(next, tenant);
    // Who is verified stays.
    assert_eq!(town.lapse(TimeDelta::days(30)).lapse(TenantId(next), correlation).await, Ok(None));
    town.log_in("ben@acme.example", PASSWORD, Some(next)).await.is(StatusCode::OK);
}

#[tokio::test]
async fn a_slug_that_is_taken_gets_an_ending() {
    let town = Town::new().await;
    town.app.provision("acme").await;
    let body = json!({"name": "A", "domain": "a.example", "slug": "acme-example", "email": ANN});
    town.app.post("/auth/register", body).send().await.is(StatusCode::ACCEPTED);
    token_in(&town.letter_to(ANN).await);
    let tenant = town.tenant("a.example").await;
    let slug = tenant["slug"].as_str().expect("a slug");
    assert!(slug.starts_with("acme-example-") && slug.len() == "acme-example-".len() + 8, "{slug}");
}

#[tokio::test]
async fn whoever_registers_again_and_again_is_heard_a_few_times_and_not_told() {
    let town = Town::new().await;
    for n in 0..20 {
        town.register(&format!("a{n}.example"), ANN).await;
    }
    token_in(&town.letter_to(ANN).await);
    // Somebody else is heard all the same.
    town.registered("bee.example", "ben@bee.example").await;
    let count = town.count("tenant.registered").await;
    assert!((2..=12).contains(&count), "{count} were registered");
}
