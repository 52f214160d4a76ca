//! `PATCH /api/v1/memberships/{id}`

use aggregates::{Membership, membership::MembershipCommand};
use axum::response::Response;
use schemas::values::{MembershipKind, Role};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::members::{self, member_by_membership};
use crate::problem::Problem;
use crate::step::step;
use crate::view::words;

/// What is to change; what is left out stays.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateMembership, example = json!({"kind": "client"}))]
pub struct Update {
    #[schema(schema_with = words::tenant_role_or_null, required = false)]
    role: Option<Role>,
    #[schema(schema_with = words::membership_kind_or_null, required = false)]
    kind: Option<MembershipKind>,
}

/// Change a membership
///
/// Of role and kind at least one. Only owners make and unmake owners; the last owner stays.
#[utoipa::path(
    patch,
    path = "/api/v1/memberships/{id}",
    tag = "memberships",
    params(("id" = Uuid, Path, description = "The membership")),
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(Path(id): Path<Uuid>, write: Write<Update>) -> Result<Response, Problem> {
    let member = member_by_membership(&write, id)?;
    let kind = write.body.kind.map(|kind| MembershipCommand::ChangeKind { kind });
    let (write, receipt) = match (write.body.role, kind) {
        (None, None) => return Err(Problem::field("/role", "is missing, and so is kind")),
        (None, Some(kind)) => {
            let receipt = write.dispatch::<Membership>(id, kind).await?;
            (write, receipt)
        }
        (Some(role), None) => members::set_role(write, member, role).await?,
        (Some(role), Some(command)) => {
            let (write, _) = members::set_role(write, member, role).await?;
            let receipt = step::<Membership, _>(&write, "set_kind", id, &write.body.kind, command).await?;
            write.applied(&receipt).await;
            (write, receipt)
        }
    };
    Ok(write.done(id, &receipt))
}
