//! `GET /api/v1/users/me` (CON-COMP-001)

use aggregates::User;
use axum::response::Response;

use crate::extract::Read;
use crate::problem::Problem;
use crate::view::{ProfileView, shown};

/// Show the caller's own profile
///
/// It is the same in every tenant.
#[utoipa::path(
    get,
    path = "/api/v1/users/me",
    tag = "me",
    responses((status = OK, description = "The person.", body = ProfileView)),
)]
pub async fn profile(read: Read) -> Result<Response, Problem> {
    let (person, _) = read.caller.signed_in()?;
    read.concerns("user", person);
    let (user, _) = read.app.engine.look::<User>(person.0).await.map_err(|error| {
        tracing::warn!(%error, "a person could not be looked up");
        Problem::unavailable("database")
    })?;
    let known = user.existing().ok_or_else(Problem::not_found)?;
    Ok(shown(&read, known.revision.cast_signed(), &ProfileView::of(person, known)))
}
