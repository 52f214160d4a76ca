//! `PATCH /api/v1/memberships/{id}`

use aggregates::Membership;
use aggregates::membership::{Grant, MembershipCommand};
use axum::response::Response;
use kernel::RoleId;
use schemas::values::{MembershipKind, Role};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::endpoint::FRESH_FOR;
use crate::extract::{Done, Path, Write};
use crate::grants::{may_change, of_caller, role};
use crate::members::{self, member_by_membership};
use crate::problem::Problem;
use crate::routes::tenants::present;
use crate::step::step;
use crate::view::words;

/// What is to change; what is left out stays.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateMembership, example = json!({"kind": "client"}))]
pub struct Update {
    #[schema(schema_with = words::tenant_role_or_null, required = false)]
    role: Option<Role>,
    #[schema(schema_with = words::membership_kind_or_null, required = false)]
    kind: Option<MembershipKind>,
    /// A role of the tenant's own, beside `role`; the caller must hold what it gives. `null`: none any more.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Uuid>)]
    custom_role: Option<Option<Uuid>>,
    /// Whether the member has to show a second factor, whatever the tenant asks of all (NFR-SEC-003, CON-SEC-005).
    mfa_required: Option<bool>,
}

/// Change a membership
///
/// Of role, kind, custom role and `mfa_required` at least one. Only owners make and unmake owners; the last owner stays. While a
/// second factor is asked of a member, they are refused without one from the next request on (ERR-AUTH-461).
#[utoipa::path(
    patch,
    path = "/api/v1/memberships/{id}",
    tag = "memberships",
    params(("id" = Uuid, Path, description = "The membership")),
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(Path(id): Path<Uuid>, write: Write<Update>) -> Result<Response, Problem> {
    let member = member_by_membership(&write, id)?;
    let Update { role: to, kind, custom_role, mfa_required } = write.body;
    if let Some(wished) = custom_role {
        may_change(&write, &member)?;
        may_exchange(&write, member.membership, wished)?;
    }
    if mfa_required.is_some() {
        may_change(&write, &member)?;
        // Whoever was merely given permissions could else free themselves of it.
        if !members::manages(&write.caller) {
            return Err(Problem::forbidden("forbidden"));
        }
        // As sensitive as the tenant's own setting; what is no session can't be fresh.
        let proved = write.caller.session.map(|session| write.now() - session.authenticated_at);
        if proved.is_none_or(|ago| ago >= FRESH_FOR) {
            return Err(Problem::unauthenticated("fresh_authentication_required"));
        }
    }
    let kind = kind.map(|kind| ("set_kind", MembershipCommand::ChangeKind { kind }));
    let custom = custom_role.map(|role| {
        let role = role.map(RoleId);
        ("set_custom_role", MembershipCommand::Grant(Grant::CustomRole { role }))
    });
    let security =
        mfa_required.map(|mfa_required| ("set_security", MembershipCommand::SetSecurity { mfa_required }));
    let mut others = kind.into_iter().chain(custom).chain(security);
    let (write, mut receipt) = match to {
        Some(role) => members::set_role(write, member, role).await?,
        None => {
            let Some((_, first)) = others.next() else {
                return Err(Problem::field(
                    "/role",
                    "is missing, and so are kind, custom_role and mfa_required",
                ));
            };
            let receipt = write.dispatch::<Membership>(id, first).await?;
            (write, receipt)
        }
    };
    for (name, command) in others {
        let asked = (write.body.kind, write.body.custom_role, write.body.mfa_required);
        receipt = step::<Membership, _>(&write, name, id, &asked, command).await?;
        write.applied(&receipt).await;
    }
    Ok(write.done(id, &receipt))
}

/// May the caller put a role of the tenant's own in place of the member's, or none?
fn may_exchange(
    write: &Write<Update>,
    member: kernel::MembershipId,
    wished: Option<Uuid>,
) -> Result<(), Problem> {
    let own = of_caller(write)?;
    if let Some(id) = wished {
        own.may_grant(&*role(&write.app, write.tenant()?, id)?.permissions)?;
    }
    own.may_take(&*write.app.access.memory.grants(member).by_role)
}
