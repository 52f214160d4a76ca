//! `GET /api/v1/flags` (FR-FLAG-002, API-FLAG, UC-SYS-APP-AUTH)

use std::collections::BTreeMap;

use axum::response::Response;
use chrono::{DateTime, Utc};
use projections::TenantFlags;
use serde_json::Value;
use utoipa::ToSchema;

use crate::delivery::Delivery;
use crate::extract::Read;
use crate::problem::Problem;
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;

/// A tenant's flags, as an application gets them.
#[derive(Debug, ToSchema)]
#[schema(as = CurrentFlags, example = json!({
    "flags": {"checkout.v2": {"type": "boolean", "value": true}}, "changed_at": "2027-01-01T09:00:00Z"
}))]
pub struct CurrentFlags {
    /// By key.
    pub flags: BTreeMap<String, CurrentFlag>,
    /// When a flag was last changed.
    pub changed_at: DateTime<Utc>,
}

fields! { CurrentFlags {
    flags: EVERYONE,
    changed_at: EVERYONE,
} }

/// A flag's value and type.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"type": "boolean", "value": true}))]
pub struct CurrentFlag {
    /// `boolean`, `string`, `number` or `json`.
    #[schema(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    pub value: Value,
}

fields! { CurrentFlag {
    kind as "type": EVERYONE,
    value: EVERYONE,
} }

impl From<&TenantFlags> for CurrentFlags {
    fn from(tenant: &TenantFlags) -> Self {
        let flags = tenant.flags.iter().map(|(key, flag)| {
            let current = CurrentFlag { kind: flag.value.type_word(), value: flag.value.to_json() };
            (key.as_str().to_owned(), current)
        });
        Self { flags: flags.collect(), changed_at: tenant.changed_at }
    }
}

/// Poll a tenant's flags
///
/// For applications that are connected to the tenant. Send the `ETag` back as `If-None-Match`: while nothing has changed
/// the answer is 304. `Age` tells, in seconds, that the node could not learn of changes for so long.
#[utoipa::path(
    get,
    path = "/api/v1/flags",
    tag = "flags",
    params(("tenant" = Option<uuid::Uuid>, Query, description = "The tenant, unless `x-org` names it")),
    responses(
        (status = OK, description = "The flags.", body = CurrentFlags),
        (status = NOT_MODIFIED, description = "They are what `If-None-Match` names."),
    ),
)]
pub async fn poll(read: Read) -> Result<Response, Problem> {
    let delivery = Delivery::of(&read).await?;
    Ok(delivery.answer(|flags| read.show(&CurrentFlags::from(flags))))
}
