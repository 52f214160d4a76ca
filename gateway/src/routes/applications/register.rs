//! `POST /api/developer/applications` (FR-SYS-001, UC-DEV-REGISTER)

use std::collections::BTreeSet;

use aggregates::{Application, ApplicationCommand};
use axum::response::Response;
use kernel::ApplicationId;
use schemas::values::{ApplicationName, Environment, OwnerId, RedirectUri};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::{Done, Write};
use crate::problem::Problem;
use crate::view::words;

/// An application as it is registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterApplication, example = json!({
    "name": "Billing", "environment": "production", "owner": "team:billing",
    "redirect_uris": ["https://billing.example/back"]
}))]
pub struct Register {
    /// Unique in the deployment, without regard to case.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    name: ApplicationName,
    #[schema(schema_with = words::environment)]
    environment: Environment,
    /// Who answers for it: the opaque id of a person or a team. Left out: the caller.
    #[schema(value_type = Option<String>, max_length = 128)]
    owner: Option<OwnerId>,
    /// At most 20: `https`, or `http` to this machine.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false)]
    redirect_uris: BTreeSet<RedirectUri>,
}

/// Register an application
#[utoipa::path(
    post,
    path = "/api/developer/applications",
    tag = "applications",
    request_body = Register,
    responses((status = CREATED, description = "It is registered.", body = Done)),
)]
pub async fn register(write: Write<Register>) -> Result<Response, Problem> {
    let id = write.new_id("application");
    let Register { name, environment, owner, redirect_uris } = &write.body;
    let owner = match owner {
        Some(owner) => owner.clone(),
        None => write.caller.actor.id.parse().map_err(|_| Problem::field("/owner", "is missing"))?,
    };
    let command = ApplicationCommand::Register {
        application: ApplicationId(id),
        name: name.clone(),
        owner,
        environment: *environment,
        redirect_uris: redirect_uris.clone(),
    };
    let receipt = write.dispatch::<Application>(id, command).await?;
    let location = format!("/api/developer/applications/{id}");
    Ok(write.created(&location, &receipt, &Done { id, sequence: receipt.sequence }))
}
