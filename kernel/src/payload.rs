//! What an event says, as JSON.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// What an event says, externally tagged: `{"Suspended": {…}}`.
///
/// Read from a journal it stays the text that stands there, and is decoded from that: values are made only for who
/// looks into it.
#[derive(Clone)]
pub struct Payload {
    form: Form,
    /// What the first who asked for it decoded.
    event: OnceLock<Arc<dyn Any + Send + Sync>>,
}

#[derive(Clone)]
enum Form {
    Value(Value),
    Text { text: Box<str>, value: OnceLock<Value> },
}

impl Payload {
    fn of(form: Form) -> Self {
        Self { form, event: OnceLock::new() }
    }

    /// What an event says, for whoever decodes it and whoever looks into it.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub fn of_event<E: Serialize + Send + Sync + 'static>(event: Arc<E>) -> Result<Self, serde_json::Error> {
        let payload = Self::of_json(serde_json::to_string(&*event)?);
        // It is fresh, so nothing is set yet.
        let _ = payload.event.set(event);
        Ok(payload)
    }

    /// Text that is JSON, as whoever kept it knows. If it isn't, nothing can be decoded of it.
    pub fn of_json(text: impl Into<Box<str>>) -> Self {
        Self::of(Form::Text { text: text.into(), value: OnceLock::new() })
    }

    /// The JSON.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.form {
            Form::Value(value) => Cow::Owned(value.to_string()),
            Form::Text { text, .. } => Cow::Borrowed(text),
        }
    }

    /// # Errors
    /// If the text is not JSON.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok(Self::of_json(text))
    }

    /// As the event it is.
    ///
    /// # Errors
    /// If it is another.
    pub fn decode<'a, E: Deserialize<'a>>(&'a self) -> Result<E, serde_json::Error> {
        match &self.form {
            Form::Value(value) => E::deserialize(value),
            Form::Text { text, .. } => serde_json::from_str(text),
        }
    }

    /// As the event it is, decoded once for all who ask.
    ///
    /// # Errors
    /// If it is another.
    pub fn event<E: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<E>, serde_json::Error> {
        if let Some(event) = self.event.get().and_then(|event| Arc::clone(event).downcast().ok()) {
            return Ok(event);
        }
        let event: Arc<E> = Arc::new(self.decode()?);
        // Of two at once the first is kept; of two types too.
        let _ = self.event.set(Arc::clone(&event) as Arc<dyn Any + Send + Sync>);
        Ok(event)
    }

    pub fn into_value(self) -> Value {
        match self.form {
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
        Self::of(Form::Value(value))
    }
}

impl Deref for Payload {
    type Target = Value;

    fn deref(&self) -> &Value {
        match &self.form {
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
    fn an_event_is_decoded_once_and_as_whatever_type_is_asked_for() {
        type Set = std::collections::BTreeMap<String, u8>;
        let payload = Payload::from(json!({ "Set": 7 }));
        let event = payload.event::<Set>().unwrap();
        assert_eq!(event["Set"], 7);
        assert!(Arc::ptr_eq(&event, &payload.event().unwrap()));
        assert_eq!(*payload.event::<Value>().unwrap(), json!({ "Set": 7 }));
        assert!(payload.event::<u8>().is_err());
        assert!(Arc::ptr_eq(&event, &payload.clone().event().unwrap()));
    }

    #[test]
    fn an_event_that_happens_is_decoded_already_and_reads_like_one_that_was_stored() {
        type Set = std::collections::BTreeMap<String, u8>;
        let event = Arc::new(Set::from([("Set".to_owned(), 7)]));
        let payload = Payload::of_event(event.clone()).unwrap();
        assert!(Arc::ptr_eq(&event, &payload.event().unwrap()));
        assert_eq!(payload.text(), r#"{"Set":7}"#);
        assert_eq!(payload, Payload::from_text(&payload.text()).unwrap());
        assert_eq!(payload.decode::<Set>().unwrap(), *event);
        assert_eq!(Payload::from(json!({ "Set": 7 })).text(), payload.text());
    }

    #[test]
    fn what_is_no_json_is_no_payload_and_what_no_value_can_hold_decodes_to_nothing() {
        assert!(Payload::from_text("{\"Set\": ").is_err());
        let beyond = Payload::from_text("{\"n\": 1e999}").unwrap();
        assert!(beyond.decode::<Value>().is_err());
        assert_eq!(beyond, json!("{\"n\": 1e999}"));
    }
}
