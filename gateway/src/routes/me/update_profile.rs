//! `PATCH /api/v1/users/me` (CON-COMP-001: rectification)

use aggregates::{User, UserCommand};
use axum::response::Response;
use schemas::values::PersonName;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::{Done, Write};
use crate::problem::Problem;

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateProfile, example = json!({"first_name": "Anna"}))]
pub struct Update {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    first_name: Option<PersonName>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    last_name: Option<PersonName>,
}

/// Change the caller's own profile
///
/// In every tenant.
#[utoipa::path(
    patch,
    path = "/api/v1/users/me",
    tag = "me",
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update_profile(write: Write<Update>) -> Result<Response, Problem> {
    let (person, _) = write.caller.signed_in()?;
    let Update { first_name, last_name } = &write.body;
    let command = UserCommand::UpdateProfile { first_name: first_name.clone(), last_name: last_name.clone() };
    let receipt = write.dispatch::<User>(person.0, command).await?;
    Ok(write.done(person.0, &receipt))
}
