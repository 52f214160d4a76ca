//! `GET /api/v1/users/{id}`

use axum::response::Response;
use kernel::PersonId;
use projections::{MembershipDirectory, UserDirectory};
use schemas::values::MembershipStatus;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::{UserView, tagged};

/// Show a person of the tenant
///
/// Another tenant's people are not there. `ETag` is for changes of the profile; `membership.sequence` for those of
/// role and status.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    tag = "users",
    params(("id" = Uuid, Path, description = "The person")),
    responses((status = OK, description = "The person.", body = UserView)),
)]
pub async fn get(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let (tenant, person) = (read.tenant()?, PersonId(id));
    drop(read.connection("user_directory").await?);
    let client = read.connection("membership_directory").await?;
    let membership = MembershipDirectory::of_person(&client, tenant, person).await?;
    let membership = membership.filter(|row| row.status != MembershipStatus::Removed);
    let membership = membership.ok_or_else(Problem::not_found)?;
    let row = UserDirectory::get(&client, read.sight()?, person).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    Ok(tagged(&read, row.revision, &UserView::of(row, membership)))
}
