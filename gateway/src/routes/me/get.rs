//! `GET /auth/me`

use axum::response::Response;
use projections::MembershipDirectory;
use schemas::values::{MembershipKind, MembershipStatus, Role};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Read;
use crate::problem::Problem;
use crate::view::audience::{EVERYONE, THEMSELF};
use crate::view::fields::fields;
use crate::view::{UserView, words};

/// Who the caller is, as the server sees it.
#[derive(Debug, ToSchema)]
#[schema(as = Me, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12", "role": "owner", "scopes": [],
    "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "session": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b17",
    "token": null, "user": null, "memberships": []
}))]
pub struct Me {
    /// The person's id, or what the token was issued to on the machine.
    pub id: String,
    /// In the tenant; `null` while none is picked.
    #[schema(schema_with = words::tenant_role_or_null)]
    pub role: Option<Role>,
    /// What the token was limited to.
    pub scopes: Vec<String>,
    /// The one that the token, or `x-org`, is about; `null`: none is picked.
    pub tenant: Option<Uuid>,
    /// `null` for a personal access token.
    pub session: Option<Uuid>,
    /// The personal access token, if one was used.
    pub token: Option<Uuid>,
    /// The person in the tenant; `null` for a token of no person, and while none is picked.
    pub user: Option<UserView>,
    /// Where the person may act: what `x-org` can pick, if the token is good for several.
    pub memberships: Vec<MyMembership>,
}

fields! { Me {
    id: EVERYONE,
    role: EVERYONE,
    scopes: EVERYONE,
    tenant: EVERYONE,
    session: EVERYONE,
    token: EVERYONE,
    user: EVERYONE,
    // Which tenants a person belongs to is nobody else's to know.
    memberships: THEMSELF,
} }

/// A tenant that the caller belongs to.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "role": "owner", "kind": "staff"
}))]
pub struct MyMembership {
    pub tenant: Uuid,
    #[schema(schema_with = words::tenant_role)]
    pub role: Role,
    #[schema(schema_with = words::membership_kind)]
    pub kind: MembershipKind,
}

fields! { MyMembership {
    tenant: EVERYONE,
    role: EVERYONE,
    kind: EVERYONE,
} }

/// Show the caller
#[utoipa::path(
    get,
    path = "/auth/me",
    tag = "authentication",
    responses((status = OK, description = "The caller.", body = Me)),
)]
pub async fn get(read: Read) -> Result<Response, Problem> {
    let caller = &read.caller;
    let user = match (caller.person(), caller.tenant) {
        (Some(person), Some(tenant)) => {
            let client = read.connection("membership_directory").await?;
            let row = MembershipDirectory::of_person(&client, tenant, person).await?;
            row.filter(|row| row.status != MembershipStatus::Removed).map(UserView::of_membership)
        }
        _ => None,
    };
    let memberships = match caller.person() {
        Some(person) => read.app.access.current(false)?.active_memberships(person),
        None => Vec::new(),
    };
    // A token that is limited to a tenant tells of no other.
    let limited_to = caller.tenant;
    Ok(read.show(&Me {
        id: caller.actor.id.clone(),
        role: caller.role,
        scopes: caller.scopes.clone(),
        tenant: caller.tenant.map(|tenant| tenant.0),
        session: caller.session.map(|session| session.id.0),
        token: caller.limited.as_ref().map(|limited| limited.token.0),
        user,
        memberships: memberships
            .into_iter()
            .filter(|member| limited_to.is_none_or(|tenant| tenant == member.tenant))
            .map(|member| MyMembership { tenant: member.tenant.0, role: member.role, kind: member.kind })
            .collect(),
    }))
}
