//! Signing in over HTTP: invitations, passwords, sessions, the second factor, and what throws people out.

use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};
use uuid::Uuid;

use crate::app::{Answer, PATIENCE, TestApp, TestTenant};

pub const PASSWORD: &str = "correct horse battery staple";
pub const OTHER_PASSWORD: &str = "quiet otters juggle lanterns";

/// A tenant whose owner has accepted and chosen a password.
pub struct Acme {
    pub app: TestApp,
    pub tenant: TestTenant,
}

impl Acme {
    pub async fn new() -> Self {
        let app = TestApp::new().await;
        let tenant = Self::tenant(&app, "acme").await;
        Self { app, tenant }
    }

    /// Provisions a tenant, and lets its owner accept over HTTP.
    pub async fn tenant(app: &TestApp, name: &str) -> TestTenant {
        let tenant = app.provision_only(name, json!({})).await;
        accept(app, tenant.id, tenant.owner).await;
        tenant
    }

    pub fn owner(&self) -> &'static str {
        "owner@acme.example"
    }

    pub async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.app.post("/auth/login", json!({"email": email, "password": password})).send().await
    }

    /// The owner's session.
    pub async fn session(&self) -> Session {
        Session::of(&self.log_in(self.owner(), PASSWORD).await.is(StatusCode::OK))
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.app.post("/auth/refresh", json!({"refresh_token": token})).send().await
    }

    pub async fn me(&self, token: &str) -> Answer {
        self.app.get("/auth/me").by(token).send().await
    }

    /// Invites somebody, who accepts.
    pub async fn member(&self, by: &str, email: &str, role: Role) -> Uuid {
        let body = json!({"email": email, "role": role.as_str()});
        let invited = self.app.post("/api/v1/users", body).by(by).send().await.is(StatusCode::CREATED);
        accept(&self.app, self.tenant.id, invited.id()).await;
        invited.id()
    }
}

#[derive(Clone, Debug)]
pub struct Session {
    pub access: String,
    pub refresh: String,
    pub id: Uuid,
    device: Option<String>,
}

impl Session {
    pub fn of(answer: &Answer) -> Self {
        let text = |name: &str| answer.body[name].as_str().map(str::to_owned);
        assert_eq!(answer.header("cache-control"), "no-store");
        Self {
            access: text("access_token").expect("a token"),
            refresh: text("refresh_token").expect("a token"),
            id: text("session").expect("a session").parse().expect("an id"),
            device: text("device"),
        }
    }
}

pub async fn accept(app: &TestApp, tenant: Uuid, person: Uuid) -> Answer {
    let token = app.invitation(tenant, person).await;
    let body = json!({"token": token, "password": PASSWORD, "first_name": "Ann"});
    app.post("/auth/invitations/accept", body).send().await.is(StatusCode::OK)
}

fn ended(answer: Answer) {
    answer.refused(401, "ERR-AUTH-440", "session_expired");
}

fn wrong(answer: Answer) {
    answer.refused(401, "ERR-AUTH-401", "invalid_credentials");
}

/// UC-TENANT-INVITE, UC-LISTEN, FR-AUTH-001, UC-LOGOUT: the whole way of a person, by nothing but HTTP.
#[tokio::test]
async fn whoever_was_invited_accepts_signs_in_is_known_and_signs_out() {
    let acme = Acme::new().await;
    let session = acme.session().await;
    let me = acme.me(&session.access).await.is(StatusCode::OK).body;
    assert_eq!(
        (&me["id"], &me["role"], &me["tenant"], &me["session"]),
        (&json!(acme.tenant.owner), &json!("owner"), &json!(acme.tenant.id), &json!(session.id))
    );
    assert_eq!(me["memberships"], json!([{"tenant": acme.tenant.id, "role": "owner", "kind": "staff"}]));
    acme.app.settled().await;
    let user = acme.app.get(&format!("/api/v1/users/{}", acme.tenant.owner)).by(&session.access).send().await;
    assert_eq!(user.body["first_name"], "Ann");
    let out = acme.app.post("/auth/logout", json!({})).by(&session.access).send().await;
    out.is(StatusCode::NO_CONTENT);
    ended(acme.me(&session.access).await);
    ended(acme.refresh(&session.refresh).await);
}

/// FR-TENANT-001, FR-TENANT-007, ERR-VAL-422
#[tokio::test]
async fn an_invitation_that_is_not_the_last_one_or_not_ours_is_refused_and_nothing_happens() {
    let app = TestApp::new().await;
    let tenant = app.provision_only("acme", json!({})).await;
    let token = app.invitation(tenant.id, tenant.owner).await;
    let before = app.events().await;
    let accept = |body: Value| app.post("/auth/invitations/accept", body).send();
    let mut other = token.clone();
    other.replace_range(30..31, if &token[30..31] == "A" { "B" } else { "A" });
    for forged in ["", "AAAA", &other] {
        let refused = accept(json!({"token": forged, "password": PASSWORD})).await;
        refused.refused(422, "ERR-VAL-422", "invitation_invalid");
    }
    accept(json!({"token": token})).await.names(&["/password"]);
    let weak = accept(json!({"token": token, "password": "password1234"})).await;
    weak.clone().refused(422, "ERR-VAL-422", "weak_password");
    assert_eq!(weak.body["errors"][0]["pointer"], "/password");
    assert_eq!(app.events().await, before, "nothing was written");
    let body = json!({"token": token, "password": PASSWORD});
    accept(body.clone()).await.is(StatusCode::OK);
    // An answer that got lost is asked for again; a guess is none.
    accept(body).await.is(StatusCode::OK);
    let guess = accept(json!({"token": token, "password": OTHER_PASSWORD})).await;
    guess.refused(409, "ERR-VAL-409", "password_already_set");
}

/// CON-SEC-009: nobody learns by signing in who exists.
#[tokio::test]
async fn an_unknown_address_a_wrong_password_and_a_disabled_person_have_one_answer() {
    let acme = Acme::new().await;
    let owner = acme.session().await;
    let ben = acme.member(&owner.access, "ben@acme.example", Role::User).await;
    let invited = json!({"email": "cat@acme.example"});
    acme.app.post("/api/v1/users", invited).by(&owner.access).send().await.is(StatusCode::CREATED);
    acme.app.disable(ben).await;
    let answers = [
        acme.log_in("nobody@acme.example", PASSWORD).await,
        acme.log_in(acme.owner(), OTHER_PASSWORD).await,
        acme.log_in("ben@acme.example", PASSWORD).await,
        acme.log_in("cat@acme.example", PASSWORD).await,
    ];
    for answer in answers {
        let mut body = answer.body.clone();
        body["trace_id"] = json!("");
        assert_eq!(
            (answer.status, &body),
            (
                StatusCode::UNAUTHORIZED,
                &json!({
                    "type": "urn:tenantry:problem:ERR-AUTH-401",
                    "title": "The credentials are missing, wrong or expired", "status": 401,
                    "code": "ERR-AUTH-401", "detail": "invalid_credentials", "trace_id": "",
                })
            )
        );
    }
}

/// FR-AUTH-005: one-time refresh tokens in families.
#[tokio::test]
async fn a_refresh_token_is_used_once_and_its_reuse_ends_the_family() {
    let acme = Acme::new().await;
    let (first, other) = (acme.session().await, acme.session().await);
    let second = Session::of(&acme.refresh(&first.refresh).await.is(StatusCode::OK));
    assert_ne!(first.refresh, second.refresh);
    // Within the grace the same successor, as an answer may have been lost.
    let again = Session::of(&acme.refresh(&first.refresh).await.is(StatusCode::OK));
    assert_eq!(again.refresh, second.refresh);
    acme.me(&second.access).await.is(StatusCode::OK);
    let third = Session::of(&acme.refresh(&second.refresh).await.is(StatusCode::OK));
    // Two before the last is a copy in somebody's hands, grace or not.
    ended(acme.refresh(&first.refresh).await);
    ended(acme.me(&third.access).await);
    ended(acme.refresh(&third.refresh).await);
    acme.me(&other.access).await.is(StatusCode::OK);
    for none in ["", "tr_AAAA", &first.access, &format!("{}A", first.refresh)] {
        acme.refresh(none).await.refused(401, "ERR-AUTH-401", "invalid_token");
    }
}

/// FR-AUTH-004, UC-AUTH-RESET
#[tokio::test]
async fn a_forgotten_password_is_reset_by_a_link_once_and_all_sessions_end() {
    let acme = Acme::new().await;
    let session = acme.session().await;
    for email in [acme.owner(), "nobody@acme.example"] {
        let asked = acme.app.post("/auth/password/forgot", json!({"email": email})).send().await;
        let asked = asked.is(StatusCode::ACCEPTED);
        assert_eq!(asked.text, "", "the same for everybody");
    }
    let token = acme.app.reset_link(acme.tenant.owner).await;
    let reset = |token: &str, password: &str| {
        acme.app.post("/auth/password/reset", json!({"token": token, "password": password})).send()
    };
    reset(&token, "password1234").await.refused(422, "ERR-VAL-422", "weak_password");
    reset("AAAA", OTHER_PASSWORD).await.refused(422, "ERR-VAL-422", "link_invalid");
    let invitation = acme.app.invitation(acme.tenant.id, acme.tenant.owner).await;
    reset(&invitation, OTHER_PASSWORD).await.refused(422, "ERR-VAL-422", "link_invalid");
    reset(&token, OTHER_PASSWORD).await.is(StatusCode::NO_CONTENT);
    reset(&token, PASSWORD).await.refused(422, "ERR-VAL-422", "link_invalid");
    ended(acme.me(&session.access).await);
    ended(acme.refresh(&session.refresh).await);
    wrong(acme.log_in(acme.owner(), PASSWORD).await);
    acme.log_in(acme.owner(), OTHER_PASSWORD).await.is(StatusCode::OK);
}

/// FR-AUTH-004
#[tokio::test]
async fn a_change_of_password_wants_the_current_one_and_ends_all_sessions() {
    let acme = Acme::new().await;
    let (one, two) = (acme.session().await, acme.session().await);
    let change = |current: &str, next: &str| {
        let body = json!({"current_password": current, "password": next});
        acme.app.put("/api/v1/users/me/password", body).by(&one.access).send()
    };
    change(OTHER_PASSWORD, OTHER_PASSWORD).await.refused(422, "ERR-VAL-422", "current_password_wrong");
    change(PASSWORD, "short").await.refused(422, "ERR-VAL-422", "weak_password");
    acme.me(&two.access).await.is(StatusCode::OK);
    change(PASSWORD, OTHER_PASSWORD).await.is(StatusCode::NO_CONTENT);
    for session in [&one, &two] {
        ended(acme.me(&session.access).await);
        ended(acme.refresh(&session.refresh).await);
    }
    acme.log_in(acme.owner(), OTHER_PASSWORD).await.is(StatusCode::OK);
}

/// FR-AUTH-005, UC-TENANT-SESSION-REVOKE
#[tokio::test]
async fn sessions_are_listed_with_device_and_place_and_ended_one_by_one_or_all() {
    let acme = Acme::new().await;
    let (one, two) = (acme.session().await, acme.session().await);
    let list = |by: &Session, path: &str| acme.app.get(path).by(&by.access).send();
    let mine = list(&one, "/api/v1/users/me/sessions").await.is(StatusCode::OK).body;
    let items = mine["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2);
    let current: Vec<_> =
        items.iter().filter(|item| item["current"] == true).map(|item| &item["id"]).collect();
    assert_eq!(current, [&json!(one.id)]);
    assert_eq!(items[0]["address"], "127.0.0.1");
    let end = |by: &Session, path: &str| acme.app.delete(path).by(&by.access).send();
    let second = format!("/api/v1/users/me/sessions/{}", two.id);
    end(&one, &second).await.is(StatusCode::NO_CONTENT);
    ended(acme.me(&two.access).await);
    end(&one, &second).await.refused(404, "ERR-RES-404", "not_found");
    // An administrator ends a member's, but no owner's; nobody ends another person's as their own.
    acme.member(&one.access, "ben@acme.example", Role::Administrator).await;
    let ben = acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK);
    let ben = Session::of(&ben);
    let theirs = format!("/api/v1/users/me/sessions/{}", one.id);
    end(&ben, &theirs).await.refused(404, "ERR-RES-404", "not_found");
    let of_owner = format!("/api/v1/users/{}/sessions", acme.tenant.owner);
    end(&ben, &of_owner).await.refused(403, "ERR-AUTH-403", "forbidden");
    let shown = list(&ben, &of_owner).await.is(StatusCode::OK).body;
    assert_eq!(shown["items"].as_array().map(Vec::len), Some(1));
    let me = acme.me(&ben.access).await.body["id"].as_str().expect("an id").to_owned();
    end(&one, &format!("/api/v1/users/{me}/sessions")).await.is(StatusCode::NO_CONTENT);
    ended(acme.me(&ben.access).await);
    ended(acme.refresh(&ben.refresh).await);
    acme.app.post("/auth/logout-all", json!({})).by(&one.access).send().await.is(StatusCode::NO_CONTENT);
    ended(acme.me(&one.access).await);
}

/// FR-OPS-001, FR-TENANT-002, FR-TENANT-004, FR-TENANT-006: whatever ends a standing ends what was signed in on it.
#[tokio::test]
async fn a_suspension_a_new_role_and_a_disabled_or_removed_member_throw_people_out_for_good() {
    let acme = Acme::new().await;
    let operator = acme.app.token(Role::Operator, None);
    let before = acme.session().await;
    let by_operator = |what: &str| {
        let path = format!("/api/operator/tenants/{}/{what}", acme.tenant.id);
        acme.app.post(&path, json!({"reason": "a test"})).by(&operator).send()
    };
    by_operator("suspend").await.is(StatusCode::OK);
    let own = |token: &str| acme.app.get("/api/v1/tenants/me").by(token).send();
    ended(own(&before.access).await);
    ended(acme.refresh(&before.refresh).await);
    // Whoever signs in now is let in, to where one may be while it lasts.
    let meanwhile = acme.session().await;
    own(&meanwhile.access).await.refused(403, "ERR-AUTH-403", "blocked");
    by_operator("reactivate").await.is(StatusCode::OK);
    ended(own(&before.access).await);
    own(&meanwhile.access).await.is(StatusCode::OK);

    let owner = meanwhile;
    let ben = acme.member(&owner.access, "ben@acme.example", Role::User).await;
    let put = |what: &str, body: Value| {
        acme.app.put(&format!("/api/v1/users/{ben}/{what}"), body).by(&owner.access).send()
    };
    let log_in = async || Session::of(&acme.log_in("ben@acme.example", PASSWORD).await.is(StatusCode::OK));
    let session = log_in().await;
    put("role", json!({"role": "administrator"})).await.is(StatusCode::OK);
    ended(acme.me(&session.access).await);
    // And the same role again does not bring it back.
    put("role", json!({"role": "user"})).await.is(StatusCode::OK);
    ended(acme.me(&session.access).await);
    ended(acme.refresh(&session.refresh).await);
    let session = log_in().await;
    put("status", json!({"status": "disabled"})).await.is(StatusCode::OK);
    ended(acme.me(&session.access).await);
    acme.log_in("ben@acme.example", PASSWORD).await.refused(403, "ERR-AUTH-403", "wrong_org");
    put("status", json!({"status": "active"})).await.is(StatusCode::OK);
    ended(acme.refresh(&session.refresh).await);
    let session = log_in().await;
    acme.app.delete(&format!("/api/v1/users/{ben}")).by(&owner.access).send().await.is(StatusCode::OK);
    ended(acme.me(&session.access).await);
    ended(acme.refresh(&session.refresh).await);
}

/// REQUIREMENTS §2: `x-org` picks the tenant where the token allows several.
#[tokio::test]
async fn a_person_of_two_tenants_picks_one_by_x_org_or_signs_in_to_one_alone() {
    let acme = Acme::new().await;
    let other = Acme::tenant(&acme.app, "other").await;
    let their_owner = acme.log_in("owner@other.example", PASSWORD).await.is(StatusCode::OK);
    let invite = json!({"email": acme.owner(), "role": "user"});
    let invited = acme.app.post("/api/v1/users", invite).by(&Session::of(&their_owner).access).send().await;
    assert_eq!(invited.is(StatusCode::CREATED).id(), acme.tenant.owner);
    let token = acme.app.invitation(other.id, acme.tenant.owner).await;
    acme.app.post("/auth/invitations/accept", json!({"token": token})).send().await.is(StatusCode::OK);

    let answer = acme.log_in(acme.owner(), PASSWORD).await.is(StatusCode::OK);
    assert_eq!(answer.body["tenant"], Value::Null);
    let both = Session::of(&answer);
    let me = acme.me(&both.access).await.is(StatusCode::OK).body;
    assert_eq!((&me["role"], &me["tenant"]), (&Value::Null, &Value::Null));
    assert_eq!(me["memberships"].as_array().map(Vec::len), Some(2));
    let own = |token: &str, org: Option<Uuid>| {
        let call = acme.app.get("/api/v1/tenants/me").by(token);
        match org {
            Some(org) => call.header("x-org", &org.to_string()).send(),
            None => call.send(),
        }
    };
    own(&both.access, None).await.refused(403, "ERR-AUTH-403", "forbidden");
    let shown = own(&both.access, Some(acme.tenant.id)).await.is(StatusCode::OK);
    assert_eq!(shown.body["id"], json!(acme.tenant.id));
    // A user there: the role is the membership's.
    own(&both.access, Some(other.id)).await.refused(403, "ERR-AUTH-403", "forbidden");
    own(&both.access, Some(Uuid::nil())).await.refused(403, "ERR-AUTH-403", "wrong_org");

    let body = json!({"email": acme.owner(), "password": PASSWORD, "tenant": acme.tenant.id});
    let one = Session::of(&acme.app.post("/auth/login", body).send().await.is(StatusCode::OK));
    own(&one.access, None).await.is(StatusCode::OK);
    own(&one.access, Some(other.id)).await.refused(403, "ERR-AUTH-403", "wrong_org");
    let me = acme.me(&one.access).await.is(StatusCode::OK).body;
    assert_eq!(me["memberships"].as_array().map(Vec::len), Some(1), "it tells of no other");
    let nowhere = json!({"email": acme.owner(), "password": PASSWORD, "tenant": Uuid::nil()});
    acme.app.post("/auth/login", nowhere).send().await.refused(403, "ERR-AUTH-403", "wrong_org");
}

/// NFR-SEC-003, CON-SEC-005, ERR-AUTH-461
#[tokio::test]
async fn a_second_factor_is_enrolled_asked_for_and_used_up() {
    let acme = Acme::new().await;
    let session = acme.session().await;
    let by_owner = |path: &str, body: Value| acme.app.post(path, body).by(&session.access).send();
    let offered = by_owner("/api/v1/users/me/mfa/totp", json!({})).await.is(StatusCode::OK).body;
    assert!(offered["qr_svg"].as_str().expect("a code").contains("<svg"));
    let url = offered["url"].as_str().expect("a URL");
    assert!(url.starts_with("otpauth://totp/Tenantry:owner%40acme.example"), "{url}");
    let secret = Secret::try_from_base32(offered["secret"].as_str().expect("a secret")).expect("base 32");
    let totp = Builder::new().with_secret(secret).build().expect("a secret of 160 bits");
    let now = u64::try_from(acme.app.server.state.clock.now().timestamp()).expect("after 1970");
    // The clock goes on while the test runs, so that a code of the step before is good too.
    let code = |steps: u64| totp.generate(now + steps * 30).to_string();
    let confirm = |code: &str| {
        let body = json!({"enrolment": offered["enrolment"], "code": code});
        by_owner("/api/v1/users/me/mfa/totp/confirm", body)
    };
    confirm("000000").await.refused(422, "ERR-VAL-422", "mfa_wrong");
    let codes = confirm(&code(0)).await.is(StatusCode::OK).body;
    let profile = || acme.app.get("/api/v1/users/me").by(&session.access);
    let enrolled = profile().send().await.header("etag").to_owned();
    let codes = codes["recovery_codes"].as_array().expect("codes").clone();
    assert_eq!(codes.len(), 10);
    confirm(&code(1)).await.refused(409, "ERR-VAL-409", "mfa_already_set");

    let asked = acme.log_in(acme.owner(), PASSWORD).await;
    let asked = asked.refused(401, "ERR-AUTH-461", "mfa_required");
    assert_eq!(asked.body["methods"], json!(["totp", "recovery_code"]));
    let show = |shown: Value| {
        let mut body = json!({"challenge": asked.body["challenge"]});
        for (key, value) in shown.as_object().expect("an object") {
            body[key] = value.clone();
        }
        acme.app.post("/auth/login/mfa", body).send()
    };
    wrong(show(json!({"code": "000000"})).await);
    wrong(show(json!({"code": code(0)})).await);
    show(json!({})).await.names(&["/code"]);
    let inside = Session::of(&show(json!({"code": code(1)})).await.is(StatusCode::OK));
    acme.me(&inside.access).await.is(StatusCode::OK);
    wrong(show(json!({"code": code(1)})).await);
    let recovered = show(json!({"recovery_code": codes[0]})).await.is(StatusCode::OK);
    wrong(show(json!({"recovery_code": codes[0]})).await);
    let left = profile().header("if-none-match", &enrolled).send().await.is(StatusCode::OK);
    assert_eq!(left.body["recovery_codes_left"], 9);
    let forged = json!({"challenge": "AAAA", "code": code(2)});
    let forged = acme.app.post("/auth/login/mfa", forged).send().await;
    forged.refused(401, "ERR-AUTH-401", "invalid_token");
    let gone = acme.app.delete("/api/v1/users/me/mfa/totp").by(&Session::of(&recovered).access).send().await;
    gone.is(StatusCode::NO_CONTENT);
    acme.session().await;
}

/// NFR-SEC-006, CON-SEC-008: guessing is slowed, and whoever signed in on a device before is not locked out by it.
#[tokio::test]
async fn guessing_is_slowed_and_a_known_device_still_gets_in() {
    let acme = Acme::new().await;
    let device = acme.session().await.device.expect("a login says how to know the device again");
    let mut slowed = None;
    for _ in 0..10 {
        let answer = acme.log_in(acme.owner(), OTHER_PASSWORD).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            slowed = Some(answer);
            break;
        }
        wrong(answer);
    }
    let slowed = slowed.expect("guessing is slowed").refused(429, "ERR-RATE-429", "slow_down");
    assert!(slowed.header("retry-after").parse::<u64>().expect("whole seconds") >= 1);
    // The right password from a stranger's place waits like any other.
    acme.log_in(acme.owner(), PASSWORD).await.refused(429, "ERR-RATE-429", "slow_down");
    let body = json!({"email": acme.owner(), "password": PASSWORD, "device": device});
    acme.app.post("/auth/login", body).send().await.is(StatusCode::OK);
    // The audit trail tells of the attack, of the failures at somebody known, and of nobody who is not.
    let told = async {
        loop {
            acme.app.settled().await;
            let client = acme.app.db.server.get().await.expect("a connection");
            let sql = "SELECT count(*) FROM read_model.audit_trail_v4 WHERE action = 'sign_in:attacked'";
            if client.query_one(sql, &[]).await.expect("it answers").get::<_, i64>(0) > 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the audit trail tells of it");
}

/// Rule 8: nothing that opens an account is in the journal, the audit trail or a read model.
#[tokio::test]
async fn no_password_and_no_token_is_written_down() {
    let acme = Acme::new().await;
    let session = acme.session().await;
    let next = Session::of(&acme.refresh(&session.refresh).await.is(StatusCode::OK));
    acme.app.settled().await;
    let dump = acme.app.everything_written().await;
    assert!(dump.contains(&session.id.to_string()), "the search finds what is there");
    for secret in [PASSWORD, &session.access, &session.refresh, &next.refresh, "tr_", "$argon2id$"] {
        assert!(!dump.contains(secret), "{secret} was written down");
    }
}

/// NFR-SEC-004
#[tokio::test]
async fn an_operator_lets_another_key_sign_and_nobody_is_thrown_out() {
    let app = TestApp::with(&["--token-algorithm", "ES256"]).await;
    let tenant = Acme::tenant(&app, "acme").await;
    let acme = Acme { app, tenant };
    let session = acme.session().await;
    let operator = acme.app.token(Role::Operator, None);
    let keys = async || {
        let jwks = acme.app.get("/.well-known/jwks.json").send().await.is(StatusCode::OK).body;
        jwks["keys"].as_array().expect("a list").iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    let before = keys().await;
    let rotated = acme.app.post("/api/operator/keys/rotate", json!({})).by(&operator).send().await;
    let rotated = rotated.is(StatusCode::OK).body;
    assert_eq!(rotated["algorithm"], "ES256");
    assert!(!before.contains(&rotated["kid"]));
    let after = keys().await;
    assert!(after.contains(&rotated["kid"]) && before.iter().all(|kid| after.contains(kid)));
    acme.me(&session.access).await.is(StatusCode::OK);
    let next = Session::of(&acme.refresh(&session.refresh).await.is(StatusCode::OK));
    acme.me(&next.access).await.is(StatusCode::OK);
    acme.app.post("/api/operator/keys/rotate", json!({})).by(&session.access).send().await.refused(
        403,
        "ERR-AUTH-403",
        "forbidden",
    );
}
