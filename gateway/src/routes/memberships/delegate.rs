//! `PUT /api/v1/memberships/{id}/delegation`

use std::collections::BTreeSet;

use aggregates::Membership;
use aggregates::membership::{Grant, MembershipCommand};
use axum::response::Response;
use schemas::values::Permission;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::grants::{may_change, of_caller};
use crate::members::member_by_membership;
use crate::problem::Problem;

/// What a member may pass on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Delegate, example = json!({"may_grant": ["users:read"]}))]
pub struct Delegate {
    /// At most 200, in place of those before. Each counts as far as the member holds it.
    #[schema(value_type = Vec<String>)]
    may_grant: BTreeSet<Permission>,
}

/// Set what a member may pass on
///
/// Nobody lets others pass on what they may not pass on themselves (ERR-AUTH-403 `not_held`).
#[utoipa::path(
    put,
    path = "/api/v1/memberships/{id}/delegation",
    tag = "memberships",
    params(("id" = Uuid, Path, description = "The membership")),
    request_body = Delegate,
    responses((status = OK, description = "It is set.", body = Done)),
)]
pub async fn delegate(Path(id): Path<Uuid>, write: Write<Delegate>) -> Result<Response, Problem> {
    let member = member_by_membership(&write, id)?;
    may_change(&write, &member)?;
    let before = write.app.access.memory.grants(member.membership).may_grant;
    let may_grant = write.body.may_grant.clone();
    // Who may not give it may not take it either.
    let own = of_caller(&write)?;
    own.may_take(before.difference(&may_grant))?;
    own.may_grant(may_grant.difference(&before))?;
    let command = MembershipCommand::Grant(Grant::Delegation { may_grant });
    let receipt = write.dispatch::<Membership>(id, command).await?;
    Ok(write.done(id, &receipt))
}
