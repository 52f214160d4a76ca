//! Marked fields wherever they stand in a document: whose they are, sealed on the way in, opened on the way out.

use std::collections::BTreeSet;
use std::sync::Arc;

use kernel::Subject;
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::CodecError;
use crate::keyring::{DataKey, Held, Known};

/// Where a document stands: what is sealed for one place opens in no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// What kind of document; part of the storage format.
    pub kind: &'static str,
    /// Of which stream, or of what else has an id.
    pub of: &'a str,
    pub id: Uuid,
    /// Which of several: a sequence, a correlation id.
    pub number: u128,
}

/// The way from the document's root to a field.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) => {
                parent.write(into);
                into.push(b'.');
                into.extend_from_slice(name.as_bytes());
            }
            Self::Item(parent, index) => {
                parent.write(into);
                into.push(b'[');
                into.extend_from_slice(&(*index as u64).to_be_bytes());
            }
        }
    }
}

/// What a sealed field is bound to: subject (and by it the mark), document, and the field's path.
fn bound(place: &Place<'_>, subject: Subject, path: &Path<'_>) -> Vec<u8> {
    let mut bound = Vec::with_capacity(160);
    for text in ["tenantry field", subject.kind(), place.kind, place.of] {
        bound.extend_from_slice(text.as_bytes());
        bound.push(0);
    }
    bound.extend_from_slice(subject.id().as_bytes());
    bound.extend_from_slice(place.id.as_bytes());
    bound.extend_from_slice(&place.number.to_be_bytes());
    path.write(&mut bound);
    bound
}

/// False if a stored document has no marked field for certain: marks are written as they are, never escaped.
pub(crate) fn may_be_in(document: &str) -> bool {
    [kernel::PERSONAL_MARK, kernel::CONFIDENTIAL_MARK].iter().any(|mark| document.contains(mark))
}

/// The mark and body of a marked field.
fn mark(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    if fields.len() != 1 {
        return None;
    }
    let (name, body) = fields.iter().next()?;
    matches!(name.as_str(), kernel::PERSONAL_MARK | kernel::CONFIDENTIAL_MARK)
        .then_some((name.as_str(), body))
}

fn subject(mark: &str, body: &Value) -> Result<Subject, CodecError> {
    let of = body.get("of").and_then(Value::as_str).and_then(|of| Uuid::try_parse(of).ok());
    of.and_then(|of| Subject::marked(mark, of))
        .ok_or_else(|| CodecError(format!("a {mark} field does not say whose it is")))
}

/// Adds the subjects of all marked fields that hold something.
pub(crate) fn subjects(document: &Value, into: &mut BTreeSet<Subject>) -> Result<(), CodecError> {
    match document {
        Value::Object(fields) => match mark(fields) {
            Some((mark, body)) => {
                if body.get("value").is_some() || body.get("sealed").is_some() {
                    into.insert(subject(mark, body)?);
                }
                Ok(())
            }
            None => fields.values().try_for_each(|value| subjects(value, into)),
        },
        Value::Array(items) => items.iter().try_for_each(|item| subjects(item, into)),
        _ => Ok(()),
    }
}

/// A document as it is stored: written out with every marked field sealed. Notes the keys that it was sealed under
/// and that are not durable yet.
pub(crate) fn sealed_text(
    document: &Value,
    place: &Place<'_>,
    held: &Held,
    new: &mut Vec<Arc<DataKey>>,
) -> Result<String, CodecError> {
    let sealing = Sealing { place, held, new: std::cell::RefCell::new(new) };
    let written = Written { value: document, path: &Path::Root, sealing: &sealing };
    serde_json::to_string(&written).map_err(|error| CodecError(error.to_string()))
}

struct Sealing<'a> {
    place: &'a Place<'a>,
    held: &'a Held,
    new: std::cell::RefCell<&'a mut Vec<Arc<DataKey>>>,
}

struct Written<'a, 's> {
    value: &'a Value,
    path: &'a Path<'a>,
    sealing: &'s Sealing<'s>,
}

impl Serialize for Written<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, path, sealing } = *self;
        match value {
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                if let Some((name, body)) = mark(fields) {
                    let body = sealing.seal(name, body, path).map_err(S::Error::custom)?;
                    map.serialize_entry(name, &body)?;
                } else {
                    for (name, value) in fields {
                        let path = &Path::Field(path, name);
                        map.serialize_entry(name, &Written { value, path, sealing })?;
                    }
                }
                map.end()
            }
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for (index, value) in items.iter().enumerate() {
                    let path = &Path::Item(path, index);
                    seq.serialize_element(&Written { value, path, sealing })?;
                }
                seq.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct SealedBody<'a> {
    of: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

impl Sealing<'_> {
    fn seal<'b>(&self, mark: &str, body: &'b Value, path: &Path<'_>) -> Result<SealedBody<'b>, CodecError> {
        let subject = subject(mark, body)?;
        let of = &body["of"];
        let Some(value) = body.get("value") else { return Ok(SealedBody { of, sealed: None }) };
        let key = match self.held.get(subject) {
            Some(Known::Keys(keys)) => keys.current(),
            Some(Known::Forgotten) => return Err(CodecError(format!("the {subject} was forgotten"))),
            Some(Known::Broken) => return Err(CodecError(format!("the key of the {subject} does not open"))),
            None => return Err(CodecError(format!("the key of the {subject} is not at hand"))),
        };
        let text = zeroize::Zeroizing::new(value.to_string());
        let sealed = key
            .seal(&bound(self.place, subject, path), text.as_bytes())
            .map_err(|_| CodecError("there are no random bytes".to_owned()))?;
        if !key.is_durable() {
            let mut new = self.new.borrow_mut();
            if !new.iter().any(|known| Arc::ptr_eq(known, key)) {
                new.push(key.clone());
            }
        }
        Ok(SealedBody { of, sealed: Some(sealed) })
    }
}

/// Opens every marked field; what belongs to who was forgotten loses its value. Fields from before sealing was switched
/// on are read as they are.
pub(crate) fn open(document: &mut Value, place: &Place<'_>, held: &Held) -> Result<(), CodecError> {
    open_at(document, place, held, &Path::Root)
}

fn open_at(value: &mut Value, place: &Place<'_>, held: &Held, path: &Path<'_>) -> Result<(), CodecError> {
    match value {
        Value::Object(fields) => {
            let marked = match mark(fields) {
                Some((mark, body)) => Some((mark.to_owned(), subject(mark, body)?)),
                None => None,
            };
            let Some((mark, subject)) = marked else {
                return fields
                    .iter_mut()
                    .try_for_each(|(name, value)| open_at(value, place, held, &Path::Field(path, name)));
            };
            match fields.get_mut(&mark).and_then(Value::as_object_mut) {
                Some(body) => open_body(body, subject, place, held, path),
                None => Ok(()),
            }
        }
        Value::Array(items) => {
            let mut items = items.iter_mut().enumerate();
            items.try_for_each(|(index, item)| open_at(item, place, held, &Path::Item(path, index)))
        }
        _ => Ok(()),
    }
}

fn open_body(
    body: &mut Map<String, Value>,
    subject: Subject,
    place: &Place<'_>,
    held: &Held,
    path: &Path<'_>,
) -> Result<(), CodecError> {
    let sealed = body.shift_remove("sealed");
    let keys = match held.get(subject) {
        Some(Known::Forgotten) => {
            body.shift_remove("value");
            return Ok(());
        }
        Some(Known::Keys(keys)) => Some(keys),
        Some(Known::Broken) | None => None,
    };
    let Some(sealed) = sealed else { return Ok(()) };
    let text = sealed.as_str().and_then(|sealed| keys?.open(&bound(place, subject, path), sealed).ok());
    let text = text.ok_or_else(|| {
        // Never taken for "forgotten": that has a tombstone.
        CodecError(format!(
            "a field of the {subject} does not open: its key is missing or another, or it was moved"
        ))
    })?;
    let value =
        serde_json::from_slice(&text).map_err(|_| CodecError("a sealed field holds no JSON".to_owned()))?;
    body.insert("value".to_owned(), value);
    Ok(())
}

/// True if the document holds something of the subject's.
pub(crate) fn mentions(document: &Value, subject: Subject) -> bool {
    let mut all = BTreeSet::new();
    // A mark that says of nobody is nobody's.
    let _ = subjects(document, &mut all);
    all.contains(&subject)
}
