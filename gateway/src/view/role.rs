//! A tenant's own roles, and what members were given.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use projections::{MemberGrants, RoleRow};
use schemas::values::{Module, Permission};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::EVERYONE;
use super::fields::fields;

/// A role that the tenant made.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Role, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b18", "name": "Bookkeepers", "description": "They keep the books",
    "permissions": ["finance.*:*", "users:read"],
    "created_at": "2027-01-01T09:00:00Z", "created_by": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12",
    "updated_at": "2027-01-01T09:00:00Z", "updated_by": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12"
}))]
pub struct RoleView {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    #[schema(value_type = Vec<String>)]
    pub permissions: BTreeSet<Permission>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

fields! { RoleView {
    id: EVERYONE,
    name: EVERYONE,
    description: EVERYONE,
    permissions: EVERYONE,
    created_at: EVERYONE,
    created_by: EVERYONE,
    updated_at: EVERYONE,
    updated_by: EVERYONE,
} }

impl From<RoleRow> for RoleView {
    fn from(row: RoleRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            description: row.description,
            permissions: row.permissions,
            created_at: row.created_at,
            created_by: row.created_by,
            updated_at: row.updated_at,
            updated_by: row.updated_by,
        }
    }
}

/// What a member was given beside the role of the membership. What it is worth depends on the tenant's plan too.
#[derive(Clone, Debug, ToSchema)]
#[schema(example = json!({
    "custom_role": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b18", "permissions": ["users:read"], "modules": ["webhooks"],
    "delegation": ["users:read"]
}))]
pub struct GrantsView {
    /// The role of the tenant's own; `null`: none, or it was deleted.
    pub custom_role: Option<Uuid>,
    /// Given to the member alone, beside what the role gives.
    #[schema(value_type = Vec<String>)]
    pub permissions: BTreeSet<Permission>,
    #[schema(value_type = Vec<String>)]
    pub modules: BTreeSet<Module>,
    /// What the member may pass on, as far as they hold it.
    #[schema(value_type = Vec<String>)]
    pub delegation: BTreeSet<Permission>,
}

fields! { GrantsView {
    custom_role: EVERYONE,
    permissions: EVERYONE,
    modules: EVERYONE,
    delegation: EVERYONE,
} }

impl From<MemberGrants> for GrantsView {
    fn from(given: MemberGrants) -> Self {
        Self {
            custom_role: given.custom_role.map(|role| role.0),
            permissions: given.permissions,
            modules: given.modules,
            delegation: given.may_grant,
        }
    }
}
