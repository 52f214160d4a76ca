//! The OpenFeature Remote Evaluation Protocol (OFREP 0.3): its requests, answers and errors.
//!
//! A problem of ours carries OFREP's `key`, `errorCode` and `errorDetails` beside the members of RFC 9457.

pub mod bulk;
pub mod single;

use schemas::values::FlagValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::extract::Json;
use crate::problem::Problem;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// What to evaluate for. Flags are per tenant, so the context has no say yet; `targetingKey` is not needed.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OfrepRequest, example = json!({"context": {"targetingKey": "user-7"}}))]
pub struct Request {
    #[schema(value_type = Option<Object>)]
    context: Option<Value>,
}

/// A flag that was evaluated.
#[derive(Debug, ToSchema)]
#[schema(as = OfrepEvaluation, example = json!({"key": "checkout.v2", "value": true, "reason": "STATIC"}))]
pub struct Evaluation {
    pub key: String,
    pub value: Value,
    #[schema(value_type = String)]
    pub reason: &'static str,
}

fields! { Evaluation {
    key: EVERYONE,
    value: EVERYONE,
    reason: EVERYONE,
} }

impl Evaluation {
    fn of(key: &str, value: &FlagValue) -> Self {
        Self { key: key.to_owned(), value: value.to_json(), reason: "STATIC" }
    }
}

/// OFREP's error codes that we tell.
#[derive(Clone, Copy, Debug)]
enum ErrorCode {
    ParseError,
    InvalidContext,
    FlagNotFound,
}

impl ErrorCode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ParseError => "PARSE_ERROR",
            Self::InvalidContext => "INVALID_CONTEXT",
            Self::FlagNotFound => "FLAG_NOT_FOUND",
        }
    }
}

/// A problem that OFREP's clients understand too.
fn told(problem: Problem, key: Option<&str>, code: ErrorCode) -> Problem {
    let mut members = Map::new();
    if let Some(key) = key {
        members.insert("key".to_owned(), json!(key));
    }
    members.insert("errorCode".to_owned(), json!(code.as_str()));
    let details =
        problem.errors.first().map_or_else(|| problem.detail.to_string(), |error| error.detail.clone());
    members.insert("errorDetails".to_owned(), json!(details));
    problem.with_members(members)
}

/// Reads a request; what it says about its context must be an object.
fn checked(request: Result<Json<Request>, Problem>, key: Option<&str>) -> Result<(), Problem> {
    let Json(request) = request.map_err(|problem| told(problem, key, ErrorCode::ParseError))?;
    match request.context {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => {
            let problem = Problem::field("/context", "must be an object");
            Err(told(problem, key, ErrorCode::InvalidContext))
        }
    }
}
