//! `GET /auth/me`

use axum::Json;
use projections::MembershipDirectory;
use schemas::values::{MembershipStatus, Role};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Read;
use crate::problem::Problem;
use crate::view::{UserView, words};

/// Who the caller is, as the server sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12", "role": "owner", "scopes": [],
    "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "session": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b17",
    "user": null
}))]
pub struct Me {
    /// The person's id, or what the token was issued to on the machine.
    pub id: String,
    #[schema(schema_with = words::tenant_role)]
    pub role: Role,
    /// What the token was limited to.
    pub scopes: Vec<String>,
    pub tenant: Uuid,
    pub session: Option<Uuid>,
    /// The person in the tenant; `null` for a token of no person.
    pub user: Option<UserView>,
}

/// Show the caller
#[utoipa::path(
    get,
    path = "/auth/me",
    tag = "authentication",
    responses((status = OK, description = "The caller.", body = Me)),
)]
pub async fn get(read: Read) -> Result<Json<Me>, Problem> {
    let tenant = read.tenant()?;
    let caller = &read.caller;
    let user = match caller.person() {
        None => None,
        Some(person) => {
            let client = read.connection("membership_directory").await?;
            let row = MembershipDirectory::of_person(&client, tenant, person).await?;
            row.filter(|row| row.status != MembershipStatus::Removed).map(UserView::of_membership)
        }
    };
    Ok(Json(Me {
        id: caller.actor.id.clone(),
        role: caller.role.ok_or_else(Problem::unexpected)?,
        scopes: caller.scopes.clone(),
        tenant: tenant.0,
        session: caller.session,
        user,
    }))
}
