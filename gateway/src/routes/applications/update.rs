//! `PATCH /api/developer/applications/{id}` (FR-SYS-003, UC-DEV-UPDATE)

use std::collections::BTreeSet;

use aggregates::{Application, ApplicationCommand};
use axum::response::Response;
use schemas::values::{ApplicationName, OwnerId, RedirectUri};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// What is to change; what is left out stays. The environment never changes: keys were given out for it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateApplication, example = json!({"name": "Billing 2"}))]
pub struct Update {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    name: Option<ApplicationName>,
    #[schema(value_type = Option<String>, max_length = 128)]
    owner: Option<OwnerId>,
    /// Replaced as a whole.
    #[schema(value_type = Option<Vec<String>>)]
    redirect_uris: Option<BTreeSet<RedirectUri>>,
}

/// Change an application
#[utoipa::path(
    patch,
    path = "/api/developer/applications/{id}",
    tag = "applications",
    params(("id" = Uuid, Path, description = "The application")),
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(Path(id): Path<Uuid>, write: Write<Update>) -> Result<Response, Problem> {
    let Update { name, owner, redirect_uris } = &write.body;
    let command = ApplicationCommand::Update {
        name: name.clone(),
        owner: owner.clone(),
        redirect_uris: redirect_uris.clone(),
    };
    let receipt = write.dispatch::<Application>(id, command).await?;
    Ok(write.done(id, &receipt))
}
