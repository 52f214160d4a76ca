//! What an event says, as JSON.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// What an event says, externally tagged: `{"Suspended": {…}}`.
///
/// Read from a journal it stays the text that stands there, and is decoded from that: values are made only for who
/// looks into it.
#[derive(Clone)]
pub struct Payload(Form);

#[derive(Clone)]
enum Form {
    Value(Value),
    Text { text: Box<str>, value: OnceLock<Value> },
}

impl Payload {
    /// # Errors
    /// If the text is not JSON.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok(Self(Form::Text { text: text.into(), value: OnceLock::new() }))
    }

    /// As the event it is.
    ///
    /// # Errors
    /// If it is another.
    pub fn decode<'a, E: Deserialize<'a>>(&'a self) -> Result<E, serde_json::Error> {
        match &self.0 {
            Form::Value(value) => E::deserialize(value),
            Form::Text { text, .. } => serde_json::from_str(text),
        }
    }

    pub fn into_value(self) -> Value {
        match self.0 {
            Form::Value(value) => value,
            Form::Text { text, value } => value.into_inner().unwrap_or_else(|| value_of(&text)),
        }
    }
}

/// JSON that no value can hold, such as a number beyond all bounds, is shown as it is written.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self(Form::Value(value))
    }
}

impl Deref for Payload {
    type Target = Value;

    fn deref(&self) -> &Value {
        match &self.0 {
            Form::Value(value) => value,
            Form::Text { text, value } => value.get_or_init(|| value_of(text)),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl PartialEq<Value> for Payload {
    fn eq(&self, other: &Value) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_and_value_are_the_same_payload() {
        let value = json!({ "Set": { "key": "a\"\u{e9}\n", "n": [1, 2.5, null] } });
        let text = Payload::from_text(&value.to_string()).unwrap();
        assert_eq!(text, Payload::from(value.clone()));
        assert_eq!(text["Set"]["n"][1], 2.5);
        assert_eq!(serde_json::to_value(&text).unwrap(), value);
        assert_eq!(text.decode::<Value>().unwrap(), value);
        assert_eq!((text.to_string(), text.into_value()), (value.to_string(), value));
    }

    #[test]
    fn what_is_no_json_is_no_payload_and_what_no_value_can_hold_decodes_to_nothing() {
        assert!(Payload::from_text("{\"Set\": ").is_err());
        let beyond = Payload::from_text("{\"n\": 1e999}").unwrap();
        assert!(beyond.decode::<Value>().is_err());
        assert_eq!(beyond, json!("{\"n\": 1e999}"));
    }
}
