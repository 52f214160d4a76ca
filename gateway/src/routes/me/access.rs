//! `GET /auth/me/access` (REQUIREMENTS §4)

use std::collections::BTreeSet;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemas::values::{AccessMode, MembershipKind, Module, Permission, Role};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Read, is_current};
use crate::grants;
use crate::problem::Problem;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;
use crate::view::words;

/// What the caller may do in the tenant, all told.
#[derive(Debug, ToSchema)]
#[schema(as = MyAccess, example = json!({
    "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "membership": "5b6bd2bb-58a4-5ba1-8d5b-4a17ec50d9d4",
    "role": "user", "kind": "staff", "custom_role": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b18", "mode": "active",
    "modules": ["webhooks"], "permissions": ["finance.*:*", "users:read"], "except": ["audit-export:*"],
    "delegation": ["users:read"], "version": 7
}))]
pub struct Access {
    pub tenant: Uuid,
    pub membership: Uuid,
    #[schema(schema_with = words::tenant_role)]
    pub role: Role,
    #[schema(schema_with = words::membership_kind)]
    pub kind: MembershipKind,
    /// The role of the tenant's own, if they have one.
    pub custom_role: Option<Uuid>,
    /// What may be done at all now.
    #[schema(schema_with = words::access_mode)]
    pub mode: AccessMode,
    /// The tenant's entitlements that are theirs to use.
    #[schema(value_type = Vec<String>)]
    pub modules: BTreeSet<Module>,
    /// `resource:action`; wildcards stand for more.
    #[schema(value_type = Vec<String>)]
    pub permissions: BTreeSet<Permission>,
    /// What they may not, although a wildcard of `permissions` stands for it.
    #[schema(value_type = Vec<String>)]
    pub except: BTreeSet<Permission>,
    /// What they may pass on to others, as far as they hold it.
    #[schema(value_type = Vec<String>)]
    pub delegation: BTreeSet<Permission>,
    /// Rises with every change of the rest.
    pub version: u64,
}

fields! { Access {
    tenant: EVERYONE,
    membership: EVERYONE,
    role: EVERYONE,
    kind: EVERYONE,
    custom_role: EVERYONE,
    mode: EVERYONE,
    modules: EVERYONE,
    permissions: EVERYONE,
    except: EVERYONE,
    delegation: EVERYONE,
    version: EVERYONE,
} }

/// Show what the caller may do
///
/// In the tenant that the token, or `x-org`, is about; also while that is blocked. The `ETag` is
/// `"access:{tenant}:{membership}:{version}"`, with the id of a personal access token after it: sent back as `If-None-Match`, the answer is 304 until something changes that
/// matters.
#[utoipa::path(
    get,
    path = "/auth/me/access",
    tag = "authentication",
    responses(
        (status = OK, description = "What they may do.", body = Access),
        (status = NOT_MODIFIED, description = "It is what `If-None-Match` names."),
    ),
)]
pub async fn access(read: Read) -> Result<Response, Problem> {
    read.access_caught_up().await?;
    let grants::MyAccess { member, given, effective, mode, version } = grants::of_reader(&read)?;
    // What a token reaches of it never changes.
    let by_token =
        read.caller.limited.as_ref().map(|limited| format!(":{}", limited.token)).unwrap_or_default();
    let tag = format!("\"access:{}:{}:{version}{by_token}\"", member.tenant, member.membership);
    let mut response = if is_current(&read.headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        read.show(&Access {
            tenant: member.tenant.0,
            membership: member.membership.0,
            role: member.role,
            kind: member.kind,
            custom_role: given.custom_role.map(|role| role.0),
            mode,
            except: effective.except(),
            modules: effective.modules,
            permissions: effective.permissions,
            delegation: effective.delegation,
            version,
        })
    };
    let tag = HeaderValue::try_from(tag).map_err(|_| Problem::unexpected())?;
    response.headers_mut().insert(header::ETAG, tag);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("authorization, x-org"));
    Ok(response)
}
