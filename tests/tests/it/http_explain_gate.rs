//! Explanations against the gate: what one says the other does.

use std::collections::BTreeSet;

use gateway::token::{Grant, TTL_MAX};
use reqwest::StatusCode;
use schemas::values::Role;
use serde_json::json;
use uuid::Uuid;

use crate::app::TestApp;
use crate::http_explain::Acme;

/// Whoever stands at the gate.
struct Caller {
    what: &'static str,
    subject: (&'static str, Uuid),
    credentials: String,
}

/// A person's token that is good for all tenants of theirs: `x-org` picks one.
fn token_of(app: &TestApp, person: Uuid, second_factor: bool) -> String {
    let state = &app.server.state;
    let now = state.clock.now();
    let grant = Grant {
        subject: person.to_string(),
        session: state.ids.fresh(),
        token_id: state.ids.fresh(),
        tenant: None,
        role: None,
        scopes: Vec::new(),
        began_at: state.access.position(),
        authenticated_at: now,
        methods: second_factor.then(|| "mfa".to_owned()).into_iter().collect(),
        ttl: TTL_MAX,
    };
    state.keys.tokens.sign(grant, now).expect("there is a signing key").0
}

/// What the gate says when the call is made is what the explanation says, for callers and endpoints of every kind, in tenants
/// in every mode.
#[tokio::test]
async fn an_explanation_says_exactly_what_the_gate_says() {
    let acme = Acme::new().await;
    let app = &acme.app;
    let other = app.provision("other").await;
    let (admin, user) =
        (acme.member("adam", Role::Administrator).await, acme.member("uma", Role::User).await);
    let (given, gone) = (acme.member("gil", Role::User).await, acme.member("gus", Role::Administrator).await);
    let disabled = acme.member("dan", Role::Administrator).await;
    let membership = |person: Uuid| format!("/api/v1/memberships/{}", acme.membership(person));
    acme.put(&acme.owner, &format!("{}/permissions/users:*", membership(given)), json!({})).await;
    app.delete(&membership(gone)).by(&acme.owner).send().await.is(StatusCode::OK);
    app.disable(disabled).await;
    let application = acme.tenant.application.unwrap();
    let (key, _) = app.issue_key(application, &["flag:read"]).await;

    // One endpoint of each kind.
    let map = gateway::url_map::url_map();
    let mut kinds = BTreeSet::new();
    let endpoints: Vec<_> = map
        .endpoints()
        .filter(|one| !one.anyone)
        .filter(|one| {
            let rule = format!("{:?}", one.tenant);
            kinds.insert((one.roles, one.scope, rule, one.mutates, one.fresh, one.can_be_given()))
        })
        .collect();
    assert!(endpoints.len() > 15, "only {} kinds", endpoints.len());
    let mut heard = BTreeSet::new();
    for (mode, second_factor) in
        [("active", true), ("read_only", true), ("active", false), ("suspended", true)]
    {
        match mode {
            "suspended" => acme.suspend().await,
            mode => acme.set_mode(mode).await,
        }
        if !second_factor {
            acme.put(&acme.owner, "/api/v1/tenants/me/security", json!({"mfa_required": true})).await;
        }
        let person = |what, person| {
            let credentials = token_of(app, person, second_factor);
            Caller { what, subject: ("user", person), credentials }
        };
        let callers = [
            person("the owner", acme.tenant.owner),
            person("an administrator", admin),
            person("a user", user),
            person("a user who was given something", given),
            person("whoever was removed", gone),
            person("whoever is disabled", disabled),
            person("another tenant's owner", other.owner),
            person("nobody", Uuid::from_u128(3)),
            Caller {
                what: "an application",
                subject: ("application", application),
                credentials: key.clone(),
            },
        ];
        for caller in &callers {
            for endpoint in &endpoints {
                let mut path = endpoint.path.replace("{id}", &acme.tenant.id.to_string());
                for parameter in ["{kid}", "{key}", "{permission}", "{module}"] {
                    path = path.replace(parameter, "a:b");
                }
                // A body that nobody takes, so that nothing is changed by whoever is let in.
                let call = app.call(endpoint.method.clone(), &path).json(json!({"nonsense": true}));
                let call = call.by(&caller.credentials).header("x-org", &acme.tenant.id.to_string());
                let answer = call.send().await;
                let assumed = match caller.subject.0 {
                    "user" => json!({"second_factor": second_factor}),
                    _ => json!({}),
                };
                let why = acme.ask(&acme.operator, caller.subject, endpoint.action, assumed).await;
                let why = why.is(StatusCode::OK).body;
                let what = format!(
                    "{} asks for {} ({mode}): {}\n{why:#}",
                    caller.what, endpoint.action, answer.text
                );
                if why["decision"] == "allow" {
                    assert!(![401, 403].contains(&answer.status.as_u16()), "{what}");
                } else {
                    let told = &answer.body;
                    let told =
                        json!({"status": told["status"], "code": told["code"], "detail": told["detail"]});
                    assert_eq!(why["heard"], told, "{what}");
                }
                heard.insert(why["detail"].as_str().unwrap_or("allow").to_owned());
            }
        }
    }
    let all = ["allow", "blocked", "forbidden", "mfa_required", "read_only", "session_expired", "wrong_org"];
    assert_eq!(heard.iter().map(String::as_str).collect::<Vec<_>>(), all);
}
