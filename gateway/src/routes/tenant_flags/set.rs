//! `PUT /api/operator/tenants/{id}/flags/{key}` (FR-FLAG-001)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use schemas::values::{FlagValue, InvalidValue};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::FlagPath;
use crate::extract::{Done, Path, Write};
use crate::problem::Problem;

/// A flag's value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetFlag, example = json!({"type": "boolean", "value": true}))]
pub struct SetFlag {
    /// Left out: the value tells, and what is no Boolean, text or number is `json`.
    #[serde(rename = "type")]
    kind: Option<FlagType>,
    /// Text of at most 4 KiB, or JSON of at most 16 KiB and 8 levels.
    value: Value,
}

/// What kind of value it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlagType {
    Boolean,
    String,
    Number,
    Json,
}

impl SetFlag {
    fn value(&self) -> Result<FlagValue, Problem> {
        let invalid = |error: InvalidValue| Problem::field("/value", error.problem);
        let value = match (self.kind, self.value.clone()) {
            (_, Value::Null) => return Err(Problem::field("/value", "is missing")),
            (Some(FlagType::Json), value) => return FlagValue::json(value).map_err(invalid),
            (_, value) => FlagValue::from_json(value).map_err(invalid)?,
        };
        let fits = match self.kind {
            None | Some(FlagType::Json) => true,
            Some(FlagType::Boolean) => matches!(value, FlagValue::Boolean(_)),
            Some(FlagType::String) => matches!(value, FlagValue::String(_)),
            Some(FlagType::Number) => matches!(value, FlagValue::Number(_)),
        };
        if fits { Ok(value) } else { Err(Problem::field("/value", "is not of the type that is given")) }
    }
}

/// Set a flag for a tenant
///
/// Polling applications get it on their next poll.
#[utoipa::path(
    put,
    path = "/api/operator/tenants/{id}/flags/{key}",
    tag = "flags",
    params(FlagPath),
    request_body = SetFlag,
    responses((status = OK, description = "It is set.", body = Done)),
)]
pub async fn set(Path(path): Path<FlagPath>, write: Write<SetFlag>) -> Result<Response, Problem> {
    let (id, key) = path.read()?;
    let value = write.body.value()?;
    let receipt = write.dispatch::<Tenant>(id, TenantCommand::SetFlag { key, value }).await?;
    Ok(write.done(id, &receipt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<FlagValue, Problem> {
        serde_json::from_value::<SetFlag>(body).unwrap().value()
    }

    /// FR-FLAG-001
    #[test]
    fn a_bare_value_is_what_it_looks_like() {
        assert_eq!(read(json!({"value": true})).unwrap(), FlagValue::Boolean(true));
        assert_eq!(read(json!({"value": "a"})).unwrap().type_word(), "string");
        assert_eq!(read(json!({"value": 1.5})).unwrap().type_word(), "number");
        assert_eq!(read(json!({"value": [1]})).unwrap().type_word(), "json");
        assert_eq!(read(json!({"type": "json", "value": true})).unwrap().type_word(), "json");
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_place() {
        for body in [
            json!({"type": "boolean", "value": "true"}),
            json!({"type": "number", "value": true}),
            json!({"value": null}),
            json!({"value": {"$personal": {}}}),
            json!({"value": "x".repeat(5000)}),
        ] {
            assert_eq!(read(body).unwrap_err().errors[0].pointer.as_deref(), Some("/value"));
        }
    }
}
