//! `GET /api/developer/applications/{id}`

use axum::response::Response;
use kernel::ApplicationId;
use projections::ApplicationDirectory;
use uuid::Uuid;

use crate::extract::{Path, Read};
use crate::problem::Problem;
use crate::view::{ApplicationView, shown};

/// Show an application
#[utoipa::path(
    get,
    path = "/api/developer/applications/{id}",
    tag = "applications",
    params(("id" = Uuid, Path, description = "The application")),
    responses((status = OK, description = "The application.", body = ApplicationView)),
)]
pub async fn get(Path(id): Path<Uuid>, read: Read) -> Result<Response, Problem> {
    let client = read.connection("application_directory").await?;
    let row = ApplicationDirectory::get(&client, read.sight()?, ApplicationId(id)).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    Ok(shown(&read, row.sequence, &ApplicationView::from(row)))
}
