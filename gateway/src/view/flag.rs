//! A flag of a tenant, as operators see it.

use chrono::{DateTime, Utc};
use projections::Flag;
use schemas::values::FlagKey;
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
    /// `boolean`, `string`, `number` or `json`.
    #[schema(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    pub value: Value,
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

impl FlagView {
    pub fn of(key: &FlagKey, flag: &Flag) -> Self {
        let Flag { value, revision: _, updated_at, updated_by } = flag;
        Self {
            key: key.as_str().to_owned(),
            kind: value.type_word(),
            value: value.to_json(),
            updated_at: *updated_at,
            updated_by: updated_by.clone(),
        }
    }
}
