//! `GET /api/v1/permissions`

use std::sync::LazyLock;

use axum::response::Response;
use utoipa::ToSchema;

use crate::extract::Read;
use crate::problem::Problem;
use crate::url_map::url_map;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// What a tenant can give its people, of what the platform itself does. Applications have permissions of their own.
#[derive(Clone, Debug, ToSchema)]
#[schema(example = json!({"items": [{"permission": "users:invite", "changes": true}]}))]
pub struct PermissionList {
    pub items: Vec<KnownPermission>,
}

fields! { PermissionList {
    items: EVERYONE,
} }

/// A permission that opens an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(example = json!({"permission": "users:invite", "changes": true}))]
pub struct KnownPermission {
    #[schema(value_type = String)]
    pub permission: &'static str,
    /// False: whoever holds it only looks.
    pub changes: bool,
}

fields! { KnownPermission {
    permission: EVERYONE,
    changes: EVERYONE,
} }

/// What administrators may in their own tenant, others can be given; what is the owners' alone, nobody.
static KNOWN: LazyLock<PermissionList> = LazyLock::new(|| {
    let map = url_map();
    let grantable = map.endpoints().filter(|endpoint| endpoint.can_be_given());
    let known =
        grantable.map(|endpoint| KnownPermission { permission: endpoint.action, changes: endpoint.mutates });
    let mut items: Vec<KnownPermission> = known.collect();
    items.sort();
    PermissionList { items }
});

/// List the platform's permissions
///
/// All of them, by name: they are few, and change with releases only.
#[utoipa::path(
    get,
    path = "/api/v1/permissions",
    tag = "roles",
    responses((status = OK, description = "The permissions.", body = PermissionList)),
)]
pub async fn list(read: Read) -> Result<Response, Problem> {
    Ok(read.show(&*KNOWN))
}
