//! `PUT /api/v1/users/{id}/status` (FR-TENANT-006, UC-TENANT-USER-STATUS-UPDATE)

use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::{self, member};
use crate::problem::Problem;

/// Whether the person may act in the tenant from now on.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetUserStatus, example = json!({"status": "disabled"}))]
pub struct SetStatus {
    status: MemberStatus,
}

/// May act, or may not for the time being.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    Active,
    Disabled,
}

/// Disable or enable a person in the tenant
///
/// Disabled, their tokens for this tenant stop working at once. The last owner stays. Enabled, they are what they were:
/// a member, or invited. `If-Match` and the answer's `ETag` are the membership's sequence.
#[utoipa::path(
    put,
    path = "/api/v1/users/{id}/status",
    tag = "users",
    params(("id" = Uuid, Path, description = "The person")),
    request_body = SetStatus,
    responses((status = OK, description = "They have the status.", body = Done)),
)]
pub async fn set_status(Path(id): Path<Uuid>, write: Write<SetStatus>) -> Result<Response, Problem> {
    let (member, disabled) = (member(&write, id)?, write.body.status == MemberStatus::Disabled);
    let (write, receipt) = members::set_status(write, member, disabled).await?;
    Ok(write.done(id, &receipt))
}
