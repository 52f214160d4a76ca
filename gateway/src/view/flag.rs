//! A flag of a tenant, as operators see it.

use chrono::{DateTime, Utc};
use projections::FlagRow;
use serde_json::Value;
use utoipa::ToSchema;

use super::audience::{EVERYONE, OPERATOR};
use super::fields::fields;

/// A flag of a tenant.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Flag, example = json!({
    "key": "checkout.v2", "type": "boolean", "value": true,
    "updated_at": "2027-01-01T09:00:00Z", "updated_by": "local:0"
}))]
pub struct FlagView {
    pub key: String,
    /// `boolean`, `string`, `number` or `json`; `forgotten` if the tenant's key is destroyed.
    #[schema(rename = "type")]
    pub kind: String,
    pub value: Option<Value>,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

fields! { FlagView {
    key: EVERYONE,
    kind as "type": EVERYONE,
    value: EVERYONE,
    updated_at: EVERYONE,
    // Operators are not named to others.
    updated_by: OPERATOR,
} }

impl From<FlagRow> for FlagView {
    fn from(row: FlagRow) -> Self {
        let FlagRow { tenant: _, key, kind, value, updated_at, updated_by } = row;
        Self { key, kind, value, updated_at, updated_by }
    }
}
