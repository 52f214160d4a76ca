//! `GET /api/v1/users/{id}/sessions` (FR-AUTH-005)

use axum::response::Response;
use kernel::PersonId;
use schemas::values::MembershipStatus;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::sign_in;
use crate::view::{SessionList, SessionView};

/// List a person's sessions
///
/// Those that reach the tenant.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}/sessions",
    tag = "users",
    params(("id" = Uuid, Path, description = "The person")),
    responses((status = OK, description = "The sessions.", body = SessionList)),
)]
pub async fn sessions(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let (tenant, person) = (read.tenant()?, PersonId(id));
    let member = read.app.access.memory.membership(tenant, person);
    // Inviting somebody is no way to see where they are signed in.
    let member = member.filter(|member| member.accepted && member.status != MembershipStatus::Removed);
    member.ok_or_else(Problem::not_found)?;
    let known = sign_in::by_id(&read.app, person).await?.ok_or_else(Problem::not_found)?;
    let current = read.caller.session.map(|session| session.id);
    Ok(read.show(&SessionView::list(&read.app.access.memory, &known, current, Some(tenant), read.now())))
}
