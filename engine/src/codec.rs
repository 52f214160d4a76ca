//! The one codec: whatever stores or reads payloads, states, outcomes or metadata goes through it.
//!
//! Today it stores marked fields as they are. Encryption is switched on by another [`Sealer`], here and nowhere else.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use kernel::{CONFIDENTIAL_MARK, Claim, PERSONAL_MARK, Upcaster};
use serde_json::Value;

/// Seals and opens the body of a marked field: `{"of": …, "value": …}`.
pub trait Sealer: Send + Sync + std::fmt::Debug + 'static {
    /// Turns the body into what is stored.
    fn seal(&self, mark: &'static str, body: &mut Value) -> Result<(), CodecError>;
    /// True if sealing changes nothing, so that nothing need be copied for it.
    fn is_plain(&self) -> bool {
        false
    }
    /// Turns what is stored back into the body; a body whose key is gone loses its `value`.
    fn open(&self, mark: &'static str, body: &mut Value) -> Result<(), CodecError>;
}

/// Stores marked fields as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Sealer for Plain {
    fn is_plain(&self) -> bool {
        true
    }
    fn seal(&self, _: &'static str, _: &mut Value) -> Result<(), CodecError> {
        Ok(())
    }
    fn open(&self, _: &'static str, _: &mut Value) -> Result<(), CodecError> {
        Ok(())
    }
}

/// A document can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[error("a stored document can't be read or written: {0}")]
pub struct CodecError(pub String);

/// One event of a stored one, after upcasting.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub event_type: Cow<'static, str>,
    pub event_version: Cow<'static, str>,
    pub payload: Value,
}

/// Seals and opens documents, mends old event shapes, and hashes claims.
#[derive(Clone, Debug)]
pub struct Codec {
    sealer: Arc<dyn Sealer>,
    upcasters: Arc<HashMap<(&'static str, &'static str), Upcaster>>,
    claim_key: hmac::Key,
}

impl Codec {
    /// `claim_key`: the secret under which claim values are hashed; it outlives every claim.
    pub fn new(sealer: Arc<dyn Sealer>, upcasters: Vec<Upcaster>, claim_key: &[u8; 32]) -> Self {
        let upcasters = upcasters.into_iter().map(|up| ((up.event_type, up.from_version), up)).collect();
        Self {
            sealer,
            upcasters: Arc::new(upcasters),
            claim_key: hmac::Key::new(hmac::HMAC_SHA256, claim_key),
        }
    }

    /// Seals every marked field of a document about to be stored.
    pub fn seal(&self, document: &mut Value) -> Result<(), CodecError> {
        each_mark(document, &mut |mark, body| self.sealer.seal(mark, body))
    }

    /// A document as it is stored: sealed, as text.
    pub fn sealed_text(&self, document: &Value) -> Result<String, CodecError> {
        if self.sealer.is_plain() {
            return Ok(document.to_string());
        }
        let mut document = document.clone();
        self.seal(&mut document)?;
        Ok(document.to_string())
    }

    /// Opens every marked field of a stored document.
    pub fn open(&self, document: &mut Value) -> Result<(), CodecError> {
        each_mark(document, &mut |mark, body| self.sealer.open(mark, body))
    }

    /// Opens a stored event and brings it to its newest shape: one event, or the several it was split into.
    pub fn open_event(
        &self,
        event_type: String,
        version: String,
        mut payload: Value,
    ) -> Result<Vec<Opened>, CodecError> {
        self.open(&mut payload)?;
        let mut done = Vec::with_capacity(1);
        self.mend(
            Opened { event_type: Cow::Owned(event_type), event_version: Cow::Owned(version), payload },
            &mut done,
            0,
        )?;
        Ok(done)
    }

    fn mend(&self, event: Opened, done: &mut Vec<Opened>, steps: usize) -> Result<(), CodecError> {
        let key = (event.event_type.as_ref(), event.event_version.as_ref());
        let Some(upcaster) = self.upcasters.get(&key) else {
            done.push(event);
            return Ok(());
        };
        if steps > self.upcasters.len() {
            return Err(CodecError(format!("the upcasters of {} run in a circle", event.event_type)));
        }
        for next in (upcaster.upcast)(event.payload) {
            let next = Opened {
                event_type: Cow::Borrowed(next.event_type),
                event_version: Cow::Borrowed(next.event_version),
                payload: next.payload,
            };
            self.mend(next, done, steps + 1)?;
        }
        Ok(())
    }

    /// The keyed hash (HMAC-SHA-256) under which a claim is stored; it tells kinds apart.
    pub fn claim_hash(&self, claim: &Claim) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.claim_key);
        context.update(claim.kind.as_bytes());
        context.update(&[0]);
        context.update(claim.value.as_bytes());
        context.sign().as_ref().to_vec()
    }
}

fn each_mark(
    document: &mut Value,
    act: &mut impl FnMut(&'static str, &mut Value) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    match document {
        Value::Object(fields) if fields.len() == 1 => {
            for (name, value) in fields.iter_mut() {
                match name.as_str() {
                    PERSONAL_MARK => act(PERSONAL_MARK, value)?,
                    CONFIDENTIAL_MARK => act(CONFIDENTIAL_MARK, value)?,
                    _ => each_mark(value, act)?,
                }
            }
            Ok(())
        }
        Value::Object(fields) => fields.values_mut().try_for_each(|value| each_mark(value, act)),
        Value::Array(items) => items.iter_mut().try_for_each(|item| each_mark(item, act)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Upcasted;
    use serde_json::json;

    #[derive(Debug)]
    struct Masked;
    impl Sealer for Masked {
        fn seal(&self, _: &'static str, body: &mut Value) -> Result<(), CodecError> {
            body["value"] = json!("masked");
            Ok(())
        }
        fn open(&self, mark: &'static str, body: &mut Value) -> Result<(), CodecError> {
            body["value"] = json!(format!("opened {mark}"));
            Ok(())
        }
    }

    fn codec(upcasters: Vec<Upcaster>) -> Codec {
        Codec::new(Arc::new(Masked), upcasters, &[7; 32])
    }

    #[test]
    fn marked_fields_are_sealed_wherever_they_stand() {
        let mut document = json!({"Registered": {"email": {"$personal": {"of": "p", "value": "ann"}}, "n": 1,
            "list": [{"$confidential": {"of": "t", "value": {"deep": "text"}}}]}});
        codec(vec![]).seal(&mut document).unwrap();
        let text = document.to_string();
        assert!(!text.contains("ann") && !text.contains("deep"), "{text}");
        codec(vec![]).open(&mut document).unwrap();
        assert_eq!(document["Registered"]["email"]["$personal"]["value"], "opened $personal");
    }

    #[test]
    fn an_upcaster_may_split_one_event_into_many_and_chains_with_the_next() {
        fn split(_: Value) -> Vec<Upcasted> {
            let part = |n: u8| Upcasted { event_type: "a", event_version: "2", payload: json!({ "A": n }) };
            vec![part(1), part(2)]
        }
        fn rename(payload: Value) -> Vec<Upcasted> {
            vec![Upcasted { event_type: "b", event_version: "1", payload }]
        }
        let codec = codec(vec![
            Upcaster { event_type: "a", from_version: "1", upcast: split },
            Upcaster { event_type: "a", from_version: "2", upcast: rename },
        ]);
        let opened = codec.open_event("a".into(), "1".into(), json!({})).unwrap();
        assert_eq!(opened.iter().map(|o| o.event_type.as_ref()).collect::<Vec<_>>(), ["b", "b"]);
        assert_eq!(opened[1].payload, json!({"A": 2}));
    }

    #[test]
    fn upcasters_that_run_in_a_circle_are_an_error_not_a_hang() {
        fn same(payload: Value) -> Vec<Upcasted> {
            vec![Upcasted { event_type: "a", event_version: "1", payload }]
        }
        let codec = codec(vec![Upcaster { event_type: "a", from_version: "1", upcast: same }]);
        assert!(codec.open_event("a".into(), "1".into(), json!({})).is_err());
    }

    #[test]
    fn claim_hashes_tell_kinds_and_values_apart() {
        let codec = codec(vec![]);
        let hash = |kind, value: &str| codec.claim_hash(&Claim::new(kind, value));
        assert_eq!(hash("a", "x"), hash("a", "x"));
        assert_ne!(hash("a", "x"), hash("b", "x"));
        assert_ne!(hash("a", "x"), hash("a", "y"));
    }
}
