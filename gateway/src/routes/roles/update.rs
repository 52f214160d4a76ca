//! `PATCH /api/v1/roles/{id}`

use aggregates::role::{Role, RoleCommand};
use axum::response::Response;
use schemas::values::{RoleDescription, RoleName};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::grants::role;
use crate::problem::Problem;

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateRole, example = json!({"name": "Accountants"}))]
pub struct Update {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    name: Option<RoleName>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500)]
    description: Option<RoleDescription>,
}

/// Rename or describe a role
#[utoipa::path(
    patch,
    path = "/api/v1/roles/{id}",
    tag = "roles",
    params(("id" = Uuid, Path, description = "The role")),
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(Path(id): Path<Uuid>, write: Write<Update>) -> Result<Response, Problem> {
    role(&write.app, write.tenant()?, id)?;
    let Update { name, description } = &write.body;
    let command = RoleCommand::Update { name: name.clone(), description: description.clone() };
    let receipt = write.dispatch::<Role>(id, command).await?;
    Ok(write.done(id, &receipt))
}
