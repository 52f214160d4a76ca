//! `PATCH /api/v1/users/{id}`

use aggregates::{User, UserCommand};
use axum::response::Response;
use kernel::PersonId;
use projections::{MembershipDirectory, Scope};
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
    if !own && (above || belongs_elsewhere(&write, member.person).await?) {
        return Err(Problem::forbidden("forbidden"));
    }
    let Update { first_name, last_name } = &write.body;
    let command = UserCommand::UpdateProfile { first_name: first_name.clone(), last_name: last_name.clone() };
    let receipt = write.dispatch::<User>(id, command).await?;
    Ok(write.done(id, &receipt))
}

async fn belongs_elsewhere(write: &Write<Update>, person: PersonId) -> Result<bool, Problem> {
    let tenant = write.tenant()?;
    let client = write.app.connection().await?;
    let (person, here) = (person.to_string(), tenant.to_string());
    let filters = [("person", "eq", &*person), ("tenant", "ne", &*here), ("status", "ne", "removed")];
    let query = MembershipDirectory::LIST.query(filters, None, Some(1), None)?;
    let elsewhere = MembershipDirectory::list(&client, Scope::Platform, &query).await?;
    Ok(!elsewhere.rows.is_empty())
}
