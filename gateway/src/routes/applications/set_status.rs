//! `PUT /api/developer/applications/{id}/status` (FR-SYS-003)

use aggregates::{Application, ApplicationCommand};
use axum::response::Response;
use schemas::values::ApplicationStatus;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;
use crate::view::words;

/// The status from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetApplicationStatus, example = json!({"status": "disabled"}))]
pub struct SetStatus {
    #[schema(schema_with = words::application_status)]
    status: ApplicationStatus,
}

/// Disable or enable an application
///
/// Disabled: all its API access stops at once. Enabled: its keys that were not revoked work again.
#[utoipa::path(
    put,
    path = "/api/developer/applications/{id}/status",
    tag = "applications",
    params(("id" = Uuid, Path, description = "The application")),
    request_body = SetStatus,
    responses((status = OK, description = "It has the status.", body = Done)),
)]
pub async fn set_status(Path(id): Path<Uuid>, write: Write<SetStatus>) -> Result<Response, Problem> {
    let command = match write.body.status {
        ApplicationStatus::Active => ApplicationCommand::Enable,
        ApplicationStatus::Disabled => ApplicationCommand::Disable,
    };
    let receipt = write.dispatch::<Application>(id, command).await?;
    Ok(write.done(id, &receipt))
}
