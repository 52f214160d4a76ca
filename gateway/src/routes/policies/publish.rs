//! `PUT /api/operator/policies/{id}`

use aggregates::{Policy, PolicyCommand};
use axum::response::Response;
use schemas::values::PolicyText;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::policy::{Fault, PolicyFaults};
use crate::problem::{FieldError, Problem};

/// A policy to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PublishPolicy, example = json!({
    "text": "forbid (principal is Person, action in Action::\"tenant:people\", resource)\nwhen { principal.kind == Kind::\"client\" };"
}))]
pub struct PublishPolicy {
    /// One policy in Cedar, of at most 16 KiB, in the terms of the schema. It names no tenant and no person.
    #[schema(value_type = String)]
    text: PolicyText,
}

/// Publish a policy
///
/// It is in force when this answers, in place of what was published under this id before. One that forbids wins over
/// all that permit; one that permits can't undo what the guards of the binary forbid.
#[utoipa::path(
    put,
    path = "/api/operator/policies/{id}",
    tag = "policies",
    params(("id" = Uuid, Path, description = "The policy; a new id makes a new one")),
    request_body = PublishPolicy,
    responses((status = OK, description = "It is in force.", body = Done)),
)]
pub async fn publish(Path(id): Path<Uuid>, write: Write<PublishPolicy>) -> Result<Response, Problem> {
    let text = write.body.text.clone();
    write.app.authorizer.read_offered(id, text.as_str()).map_err(unfit)?;
    if write.app.policies.memory.is_full(id) {
        return Err(Problem::rule("capacity"));
    }
    let receipt = write.dispatch::<Policy>(id, PolicyCommand::Publish { text }).await?;
    Ok(write.done(id, &receipt))
}

/// What is wrong with it, each fault with its line and column.
fn unfit(PolicyFaults(faults): PolicyFaults) -> Problem {
    let told = |fault: Fault| match fault.place {
        Some((line, column)) => {
            FieldError::body("/text", format!("line {line}, column {column}: {}", fault.what))
        }
        None => FieldError::body("/text", fault.what),
    };
    Problem::invalid("invalid_fields", faults.into_iter().map(told).collect())
}
