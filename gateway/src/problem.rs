//! What goes wrong, as it is told: RFC 9457 problems with the codes of REQUIREMENTS §11.
//!
//! A problem never holds a stack trace, a query, an internal name or proof of a person's existence (CON-SEC-009).

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::audit::AuditOutcome;
use engine::command::{DispatchError, Intake};
use engine::jobs::{JobsError, ResultsError};
use kernel::{Rejection, RejectionKind};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The stable codes. Part of the API: add, never rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Unauthenticated,
    Forbidden,
    SessionEnded,
    SecondFactor,
    Invalid,
    Conflict,
    Rule,
    NotFound,
    TooMany,
    Unexpected,
    Unavailable,
}

impl Code {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "ERR-AUTH-401",
            Self::Forbidden => "ERR-AUTH-403",
            Self::SessionEnded => "ERR-AUTH-440",
            Self::SecondFactor => "ERR-AUTH-461",
            Self::Invalid => "ERR-VAL-400",
            Self::Conflict => "ERR-VAL-409",
            Self::Rule => "ERR-VAL-422",
            Self::NotFound => "ERR-RES-404",
            Self::TooMany => "ERR-RATE-429",
            Self::Unexpected => "ERR-SYS-500",
            Self::Unavailable => "ERR-SYS-503",
        }
    }

    /// The status that goes with the code, unless a problem says otherwise.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::SessionEnded | Self::SecondFactor => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Rule => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unexpected => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Unauthenticated => "The credentials are missing, wrong or expired",
            Self::Forbidden => "This is not allowed",
            Self::SessionEnded => "The session has expired or was revoked",
            Self::SecondFactor => "A second factor is needed",
            Self::Invalid => "The request is malformed",
            Self::Conflict => "The request conflicts with the current state",
            Self::Rule => "A rule refuses the request",
            Self::NotFound => "There is no such thing",
            Self::TooMany => "Too many requests",
            Self::Unexpected => "Something unexpected happened; nothing was half-done",
            Self::Unavailable => "Not available now; try again later",
        }
    }
}

/// What is wrong with one field of the body, or with one parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"pointer": "/reason", "detail": "missing field"}))]
pub struct FieldError {
    /// Where in the body (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Which parameter of the path, the query or the headers, such as `filter[name][eq]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong with it, in words.
    pub detail: String,
}

impl FieldError {
    pub fn body(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), detail: detail.into() }
    }
}

/// A problem. As a response it is empty until the outermost layer, which knows the trace id, writes it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub code: Code,
    pub status: StatusCode,
    /// The stable machine string.
    pub detail: Cow<'static, str>,
    pub errors: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    /// How the audit trail sees it, if the status doesn't say: a hidden refusal answers 404.
    pub outcome: Option<AuditOutcome>,
    /// Members that another protocol asks for beside our own (RFC 9457 §3.2). Boxed: they are rare, and a problem travels far.
    pub members: Box<Map<String, Value>>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = matches!(code, Code::Unavailable | Code::TooMany).then_some(Duration::from_secs(1));
        Self {
            code,
            status: code.status(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after,
            outcome: None,
            members: Box::default(),
        }
    }

    /// ERR-AUTH-401
    pub fn unauthenticated(detail: &'static str) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// ERR-AUTH-440: it was valid once.
    pub fn session_ended() -> Self {
        Self::new(Code::SessionEnded, "session_expired")
    }

    /// ERR-AUTH-403
    pub fn forbidden(detail: &'static str) -> Self {
        Self::new(Code::Forbidden, detail)
    }

    /// ERR-AUTH-461, with what can be used and what goes on with it.
    pub fn second_factor(members: Map<String, Value>) -> Self {
        Self::new(Code::SecondFactor, "mfa_required").with_members(members)
    }

    /// ERR-RES-404
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "not_found")
    }

    /// ERR-RES-404 for what is there but not for this caller: told like absence, audited as a refusal.
    pub fn hidden() -> Self {
        Self { outcome: Some(AuditOutcome::Denied), ..Self::not_found() }
    }

    /// ERR-VAL-400
    pub fn invalid(detail: &'static str, errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Code::Invalid, detail) }
    }

    /// ERR-VAL-400 for one parameter.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid("invalid_parameter", vec![FieldError::parameter(name, detail)])
    }

    /// ERR-VAL-400 for one field of the body.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid("invalid_fields", vec![FieldError::body(pointer, detail)])
    }

    /// ERR-VAL-409
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Conflict, detail)
    }

    /// ERR-VAL-422
    pub fn rule(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Rule, detail)
    }

    /// ERR-SYS-503
    pub fn unavailable(detail: &'static str) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// ERR-SYS-500
    pub fn unexpected() -> Self {
        Self::new(Code::Unexpected, "unexpected")
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// With members of another protocol beside our own.
    pub fn with_members(self, members: Map<String, Value>) -> Self {
        Self { members: Box::new(members), ..self }
    }

    /// True if nothing was decided about the call: there was no room for it, or no database. Such refusals don't wait
    /// for their audit entry, and floods of them are audited together, with their number (ADR-AUD-002).
    pub fn is_no_decision(&self) -> bool {
        let no_room = matches!(&*self.detail, "busy" | "overloaded");
        self.code == Code::TooMany
            || (self.code == Code::Unavailable
                && (no_room || matches!(&*self.detail, "not_carried_out" | "database")))
    }

    /// How the audit trail calls it.
    pub fn audit_outcome(&self) -> AuditOutcome {
        self.outcome.unwrap_or(match self.code {
            Code::Unauthenticated | Code::Forbidden | Code::SessionEnded | Code::SecondFactor => {
                AuditOutcome::Denied
            }
            _ => AuditOutcome::Failure,
        })
    }

    /// The response, written out.
    pub fn render(&self, trace_id: &str) -> Response {
        let body = ProblemBody {
            kind: format!("urn:tenantry:problem:{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.status.as_u16(),
            code: self.code.as_str().to_owned(),
            detail: self.detail.to_string(),
            trace_id: trace_id.to_owned(),
            errors: self.errors.clone(),
            members: Map::clone(&self.members),
        };
        let text = serde_json::to_string(&body).expect("a problem is text and numbers only");
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tenantry\""));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, at least one.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem on the wire (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:tenantry:problem:ERR-VAL-400", "title": "The request is malformed", "status": 400,
    "code": "ERR-VAL-400", "detail": "invalid_fields", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "errors": [{"pointer": "/reason", "detail": "missing field"}]
}))]
pub struct ProblemBody {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// Stable: clients may depend on it.
    pub code: String,
    /// Stable where clients depend on it: a machine's word.
    pub detail: String,
    /// Ties the answer to logs, events and audit (W3C trace id).
    pub trace_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Members that another protocol asks for, such as OFREP's `errorCode`.
    #[serde(flatten)]
    #[schema(ignore)]
    pub members: Map<String, Value>,
}

impl From<JobsError> for Problem {
    fn from(error: JobsError) -> Self {
        tracing::warn!(%error, "the jobs can't be asked");
        Self::unavailable("database")
    }
}

impl From<ResultsError> for Problem {
    fn from(error: ResultsError) -> Self {
        tracing::warn!(%error, "what a job made can't be read");
        match error {
            ResultsError::Codec(_) => Self::unexpected(),
            ResultsError::Database(_) | ResultsError::Pool(_) | ResultsError::Keys(_) => {
                Self::unavailable("database")
            }
        }
    }
}

/// The one mapping from what dispatch refuses to what callers hear.
impl<R: Rejection> From<DispatchError<R>> for Problem {
    fn from(error: DispatchError<R>) -> Self {
        match error {
            DispatchError::Rejected { rejection, .. } => {
                let code = match rejection.kind() {
                    RejectionKind::NotFound => Code::NotFound,
                    RejectionKind::Conflict => Code::Conflict,
                    RejectionKind::Rule => Code::Rule,
                    RejectionKind::Forbidden => Code::Forbidden,
                };
                Self::new(code, rejection.detail())
            }
            // `tenant.domain` → `domain_taken`, and the field it most likely came from.
            DispatchError::ClaimTaken { kind } => {
                let name = kind.rsplit('.').next().unwrap_or(&kind);
                let errors = vec![FieldError::body(format!("/{name}"), "is taken")];
                Self { errors, ..Self::conflict(format!("{name}_taken")) }
            }
            DispatchError::PreconditionFailed { .. } => {
                Self::conflict("precondition_failed").with_status(StatusCode::PRECONDITION_FAILED)
            }
            DispatchError::KeyReused => Self::rule("idempotency_key_reused"),
            DispatchError::InFlight => Self::conflict("in_flight").with_retry_after(Duration::from_secs(1)),
            DispatchError::Unstorable => Self::invalid("unstorable_text", Vec::new()),
            DispatchError::Busy { intake: Intake::Node, retry_after } => {
                Self::unavailable("busy").with_retry_after(retry_after)
            }
            DispatchError::Busy { intake: Intake::Tenant | Intake::Actor, retry_after } => {
                Self::new(Code::TooMany, "busy").with_retry_after(retry_after)
            }
            DispatchError::Unavailable { retry_after, .. } => {
                Self::unavailable("not_carried_out").with_retry_after(retry_after)
            }
            DispatchError::OutcomeUnknown => Self::unavailable("outcome_unknown"),
            DispatchError::Quarantined => {
                Self::unavailable("quarantined").with_retry_after(Duration::from_secs(60))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
    #[error("no")]
    struct No(u8);

    impl Rejection for No {
        fn kind(&self) -> RejectionKind {
            [RejectionKind::NotFound, RejectionKind::Conflict, RejectionKind::Rule, RejectionKind::Forbidden]
                [self.0 as usize]
        }
        fn detail(&self) -> &'static str {
            "no"
        }
    }

    fn told(error: DispatchError<No>) -> (u16, &'static str, String) {
        let problem = Problem::from(error);
        (problem.status.as_u16(), problem.code.as_str(), problem.detail.into_owned())
    }

    /// CC-ERR-001
    #[test]
    fn each_refusal_has_its_status_and_code() {
        let wait = Duration::from_millis(10);
        let rejected = |n| told(DispatchError::Rejected { rejection: No(n), replayed: false });
        assert_eq!(rejected(0), (404, "ERR-RES-404", "no".into()));
        assert_eq!(rejected(1), (409, "ERR-VAL-409", "no".into()));
        assert_eq!(rejected(2), (422, "ERR-VAL-422", "no".into()));
        assert_eq!(rejected(3), (403, "ERR-AUTH-403", "no".into()));
        let taken = DispatchError::ClaimTaken { kind: "tenant.domain".into() };
        assert_eq!(told(taken), (409, "ERR-VAL-409", "domain_taken".into()));
        let stale = DispatchError::PreconditionFailed { expected: 1, found: 2 };
        assert_eq!(told(stale), (412, "ERR-VAL-409", "precondition_failed".into()));
        assert_eq!(told(DispatchError::KeyReused), (422, "ERR-VAL-422", "idempotency_key_reused".into()));
        assert_eq!(told(DispatchError::InFlight), (409, "ERR-VAL-409", "in_flight".into()));
        let busy = |intake| told(DispatchError::Busy { intake, retry_after: wait });
        assert_eq!(busy(Intake::Node), (503, "ERR-SYS-503", "busy".into()));
        assert_eq!(busy(Intake::Tenant), (429, "ERR-RATE-429", "busy".into()));
        assert_eq!(busy(Intake::Actor), (429, "ERR-RATE-429", "busy".into()));
        assert_eq!(told(DispatchError::OutcomeUnknown), (503, "ERR-SYS-503", "outcome_unknown".into()));
    }

    /// CC-ERR-003: why the engine is not available is nobody's business outside.
    #[test]
    fn an_internal_reason_is_not_told() {
        let wait = Duration::from_millis(10);
        let error = DispatchError::<No>::Unavailable { reason: "not_owner", retry_after: wait };
        let problem = Problem::from(error);
        assert!(!format!("{problem:?}").contains("not_owner"));
        // API.md: whole seconds, at least one.
        assert_eq!(problem.render("t").headers()[header::RETRY_AFTER], "1");
    }

    /// CC-ERR-004
    #[tokio::test]
    async fn a_problem_is_written_out_as_rfc_9457_says() {
        let response = Problem::field("/name", "is empty").render("abc");
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status"], 400);
        assert_eq!(body["code"], "ERR-VAL-400");
        assert_eq!(body["trace_id"], "abc");
        assert_eq!(body["errors"][0]["pointer"], "/name");
        assert_eq!(body["type"], "urn:tenantry:problem:ERR-VAL-400");
    }

    #[test]
    fn a_hidden_thing_looks_absent_and_is_audited_as_a_refusal() {
        let (hidden, absent) = (Problem::hidden(), Problem::not_found());
        assert_eq!((hidden.status, &hidden.detail), (absent.status, &absent.detail));
        assert_eq!(hidden.audit_outcome(), AuditOutcome::Denied);
        assert_eq!(absent.audit_outcome(), AuditOutcome::Failure);
    }
}
