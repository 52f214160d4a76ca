//! Careful clients: they ask again, with the same key, until there is an answer, and remember what they were told.

use std::time::Duration;

use kernel::{Position, PositionToken};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

/// At most so often does one caller ask again.
const PAUSE: Duration = Duration::from_millis(5);

/// An answer that somebody got: a tenant was provisioned, or one of its flags was set.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub position: Position,
    pub tenant: Uuid,
    /// The flag's key and value.
    pub flag: Option<(String, i64)>,
}

/// A client of one deployment, whose nodes it asks in turn.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    token: String,
    nodes: Vec<String>,
}

impl Caller {
    /// `patience`: how long one request may take before the next node is asked.
    pub fn new(token: &str, nodes: &[String], patience: Duration) -> Self {
        let client = reqwest::Client::builder().timeout(patience).build().expect("a client needs nothing");
        Self { client, token: token.to_owned(), nodes: nodes.to_vec() }
    }

    /// So many tenants, to work on.
    pub async fn tenants(&self, count: usize) -> Vec<Uuid> {
        let mut tenants = Vec::new();
        for n in 0..count {
            let made = self.provision(&format!("tenant-{n}"), &format!("tenant-{n}")).await;
            tenants.push(made.expect("nobody else wants that name").tenant);
        }
        tenants
    }

    /// Sets a flag. `asked` names the request: asked twice, it happens once.
    pub async fn set_flag(&self, tenant: Uuid, key: &str, value: i64, asked: &str) -> Acknowledged {
        let path = format!("/api/operator/tenants/{tenant}/flags/{key}");
        let (status, position, body) = self.ask(Method::PUT, &path, &json!({ "value": value }), asked).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let position = position.expect("it says where it stands");
        Acknowledged { position, tenant, flag: Some((key.to_owned(), value)) }
    }

    /// Asks for a tenant. `None`: somebody else has the name.
    pub async fn provision(&self, name: &str, asked: &str) -> Option<Acknowledged> {
        let body = json!({
            "name": name, "domain": format!("{name}.example"), "plan": "enterprise",
            "owner_email": format!("o@{name}.example"),
        });
        let (status, position, body) = self.ask(Method::POST, "/api/operator/tenants", &body, asked).await;
        if status == StatusCode::CONFLICT {
            return None;
        }
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let tenant = body["id"].as_str().and_then(|id| id.parse().ok()).expect("it has an id");
        Some(Acknowledged { position: position.expect("it says where it stands"), tenant, flag: None })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        asked: &str,
    ) -> (StatusCode, Option<Position>, Value) {
        let mut tick = tokio::time::interval(PAUSE);
        for node in self.nodes.iter().cycle() {
            let request = self.client.request(method.clone(), format!("{node}{path}"));
            if let Some(answer) = self.answer(request.header("idempotency-key", asked).json(body)).await {
                return answer;
            }
            tick.tick().await;
        }
        panic!("a caller has a node");
    }

    /// `None`: no answer, or one that says to come back.
    async fn answer(&self, request: RequestBuilder) -> Option<(StatusCode, Option<Position>, Value)> {
        let answer = request.bearer_auth(&self.token).send().await.ok()?;
        let (status, position) = (answer.status(), position(&answer));
        let body: Value = answer.json().await.ok()?;
        let later = status == StatusCode::SERVICE_UNAVAILABLE
            || status == StatusCode::TOO_MANY_REQUESTS
            || body["detail"] == "in_flight";
        (!later).then_some((status, position, body))
    }
}

fn position(answer: &Response) -> Option<Position> {
    let token: PositionToken = answer.headers().get("x-position")?.to_str().ok()?.parse().ok()?;
    Some(token.position)
}
