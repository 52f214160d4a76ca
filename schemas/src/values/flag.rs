//! Feature flags (FR-FLAG-001).

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::InvalidValue;
use super::json::{check_json, check_text};
use super::text::identifier;

/// The longest text value of a flag, in bytes.
const STRING_BYTES_MAX: usize = 4096;

text_value! {
    /// A flag's key: 1 to 100 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` (API.md). Case counts. An identifier shared with
    /// the applications' source code, so it is plain.
    shown FlagKey, |text| {
        identifier("a flag's key", text, 100, "A-Z, a-z, 0-9, '.', '_' and '-'", |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
        })
    }
}

/// A flag's value, typed: `{"type": "boolean", "value": true}`. Text is at most 4 KiB, JSON at most 16 KiB and 8 levels.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum FlagValue {
    Boolean(bool),
    String(BoundedText),
    Number(Number),
    Json(BoundedJson),
}

/// Text that passed [`FlagValue::string`]'s checks.
#[derive(Clone, PartialEq, Eq)]
pub struct BoundedText(String);

/// JSON that passed [`FlagValue::json`]'s checks.
#[derive(Clone, PartialEq, Eq)]
pub struct BoundedJson(Value);

impl FlagValue {
    const WHAT: &str = "a flag's value";

    /// A text variant: at most 4,096 bytes, no control characters but line feed and tab.
    pub fn string(text: impl Into<String>) -> Result<Self, InvalidValue> {
        let text = text.into();
        if text.len() > STRING_BYTES_MAX {
            return Err(InvalidValue::new(
                Self::WHAT,
                format!("must be at most {STRING_BYTES_MAX} bytes of text"),
            ));
        }
        check_text(Self::WHAT, &text)?;
        Ok(Self::String(BoundedText(text)))
    }

    /// A JSON variant: at most 16 KiB in compact form and 8 levels.
    pub fn json(value: Value) -> Result<Self, InvalidValue> {
        check_json(Self::WHAT, &value)?;
        Ok(Self::Json(BoundedJson(value)))
    }

    /// The value without its type, as an application gets it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Boolean(on) => Value::Bool(*on),
            Self::String(text) => Value::String(text.0.clone()),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Json(json) => json.0.clone(),
        }
    }

    /// Reads a bare value: `true`, `"text"`, `1.5` are what they look like; anything else is the JSON variant.
    pub fn from_json(value: Value) -> Result<Self, InvalidValue> {
        match value {
            Value::Bool(on) => Ok(Self::Boolean(on)),
            Value::String(text) => Self::string(text),
            Value::Number(number) => Ok(Self::Number(number)),
            other => Self::json(other),
        }
    }

    /// The word for its type: `boolean`, `string`, `number` or `json`.
    pub fn type_word(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "boolean",
            Self::String(_) => "string",
            Self::Number(_) => "number",
            Self::Json(_) => "json",
        }
    }
}

impl std::fmt::Debug for FlagValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FlagValue({}, …)", self.type_word())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Boolean(bool),
    String(String),
    Number(Number),
    Json(Value),
}

impl TryFrom<Wire> for FlagValue {
    type Error = InvalidValue;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        match wire {
            Wire::Boolean(on) => Ok(Self::Boolean(on)),
            Wire::String(text) => Self::string(text),
            Wire::Number(number) => Ok(Self::Number(number)),
            Wire::Json(value) => Self::json(value),
        }
    }
}

impl From<FlagValue> for Wire {
    fn from(value: FlagValue) -> Self {
        match value {
            FlagValue::Boolean(on) => Self::Boolean(on),
            FlagValue::String(text) => Self::String(text.0),
            FlagValue::Number(number) => Self::Number(number),
            FlagValue::Json(json) => Self::Json(json.0),
        }
    }
}
