//! `PATCH /api/v1/users/{id}`

use aggregates::{User, UserCommand};
use axum::response::Response;
use schemas::values::{PersonName, Role};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::member;
use crate::problem::Problem;

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateUser, example = json!({"first_name": "Anna"}))]
pub struct Update {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    first_name: Option<PersonName>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    last_name: Option<PersonName>,
}

/// Change a person's profile
///
/// One's own; or that of a person who belongs to this tenant only, for a profile is the same in every tenant. An
/// administrator does not change an owner's.
#[utoipa::path(
    patch,
    path = "/api/v1/users/{id}",
    tag = "users",
    params(("id" = Uuid, Path, description = "The person")),
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(Path(id): Path<Uuid>, write: Write<Update>) -> Result<Response, Problem> {
    let member = member(&write, id)?;
    let own = write.caller.person() == Some(member.person);
    let above = member.role == Role::Owner && write.caller.role != Some(Role::Owner);
    let shared = write.app.access.memory.belongs_elsewhere(member.person, member.tenant);
    if !own && (above || shared) {
        return Err(Problem::forbidden("forbidden"));
    }
    let Update { first_name, last_name } = &write.body;
    let command = UserCommand::UpdateProfile { first_name: first_name.clone(), last_name: last_name.clone() };
    let receipt = write.dispatch::<User>(id, command).await?;
    Ok(write.done(id, &receipt))
}
