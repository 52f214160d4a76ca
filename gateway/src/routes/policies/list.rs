//! `GET /api/operator/policies`

use axum::response::Response;

use crate::extract::Read;
use crate::list::PageBody;
use crate::problem::Problem;
use crate::view::PolicyView;

/// List the published policies
///
/// All that are in force, by id: there are at most 100. Those that come with the binary are not among them.
#[utoipa::path(
    get,
    path = "/api/operator/policies",
    tag = "policies",
    responses((status = OK, description = "The policies.", body = PageBody<PolicyView>)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    read.policies_caught_up().await?;
    let policies = read.app.policies.memory.all();
    let items: Vec<_> = policies.into_iter().map(PolicyView::from).collect();
    Ok(read.show(&PageBody { items, next_cursor: None }))
}
