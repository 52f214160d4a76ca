//! JSON that a tenant supplies: bounded in size and depth, and harmless.

use serde_json::{Map, Value};

use super::InvalidValue;
use super::text::printable;

/// The most bytes of a JSON document, in compact form.
pub(super) const JSON_BYTES_MAX: usize = 16 * 1024;
/// The most objects and arrays around a value.
const JSON_DEPTH_MAX: usize = 8;

/// A tenant's settings: a JSON object of at most 16 KiB in compact form and 8 levels. Its text holds no control
/// characters but line feed and tab, and no key that could be taken for a mark of [`kernel::Confidential`].
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Value")]
pub struct Settings(Map<String, Value>);

impl Settings {
    const WHAT: &str = "settings";

    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl TryFrom<Value> for Settings {
    type Error = InvalidValue;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        check_json(Self::WHAT, &value)?;
        match value {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(InvalidValue::new(Self::WHAT, "must be a JSON object")),
        }
    }
}

impl From<Settings> for Value {
    fn from(settings: Settings) -> Self {
        Value::Object(settings.0)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings(…)")
    }
}

/// Refuses JSON that is too big, too deep, unprintable or in disguise.
pub(super) fn check_json(what: &'static str, value: &Value) -> Result<(), InvalidValue> {
    check_at_depth(what, value, 0)?;
    if value.to_string().len() > JSON_BYTES_MAX {
        return Err(InvalidValue::new(what, format!("must be at most {JSON_BYTES_MAX} bytes of JSON")));
    }
    Ok(())
}

fn check_at_depth(what: &'static str, value: &Value, depth: usize) -> Result<(), InvalidValue> {
    if depth > JSON_DEPTH_MAX {
        return Err(InvalidValue::new(what, format!("must be at most {JSON_DEPTH_MAX} levels deep")));
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => check_text(what, text),
        Value::Array(items) => items.iter().try_for_each(|item| check_at_depth(what, item, depth + 1)),
        Value::Object(object) => {
            // What looks like a mark inside a mark would be taken for one by whoever looks for marks.
            if object.contains_key(kernel::PERSONAL_MARK) || object.contains_key(kernel::CONFIDENTIAL_MARK) {
                return Err(InvalidValue::new(what, "must not hold the keys $personal and $confidential"));
            }
            object.iter().try_for_each(|(key, item)| {
                printable(what, key)?;
                check_at_depth(what, item, depth + 1)
            })
        }
    }
}

/// As [`printable`], but JSON may hold texts of several lines.
pub(super) fn check_text(what: &'static str, text: &str) -> Result<(), InvalidValue> {
    text.split(['\n', '\t']).try_for_each(|part| printable(what, part))
}
