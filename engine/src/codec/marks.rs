//! Marked fields wherever they stand in a document: whose they are, sealed on the way in, opened on the way out.
//!
//! A document is its text. Between marks it is copied as it is; no value is made of it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use kernel::Subject;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::CodecError;
use super::text::{Marked, each_mark};
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

/// What a sealed field is bound to: subject (and by it the mark), document, and the way to the field.
fn bound(place: &Place<'_>, subject: Subject, path: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(160);
    for text in ["tenantry field", subject.kind(), place.kind, place.of] {
        bound.extend_from_slice(text.as_bytes());
        bound.push(0);
    }
    bound.extend_from_slice(subject.id().as_bytes());
    bound.extend_from_slice(place.id.as_bytes());
    bound.extend_from_slice(&place.number.to_be_bytes());
    bound.extend_from_slice(path);
    bound
}

/// False if a stored document has no marked field for certain: marks are written as they are, never escaped.
pub(crate) fn may_be_in(document: &str) -> bool {
    // One search for what both begin with: hardly a document has it without a mark.
    document.contains("\"$")
}

/// What stands under a mark.
#[derive(Deserialize)]
struct Body<'t> {
    of: Uuid,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'t RawValue>,
    #[serde(borrow, default)]
    sealed: Option<Cow<'t, str>>,
}

/// A value that is null is one, too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'t> Body<'t> {
    fn of(marked: &Marked<'t>) -> Result<(Self, Subject), CodecError> {
        let Marked { mark, body, .. } = marked;
        let body: Body = serde_json::from_str(body)
            .map_err(|_| CodecError(format!("a {mark} field does not say whose it is")))?;
        let subject = Subject::marked(mark, body.of);
        let subject = subject.ok_or_else(|| CodecError(format!("{mark} marks nobody's")))?;
        Ok((body, subject))
    }
}

/// Adds the subjects of all marked fields that hold something.
pub(crate) fn subjects(document: &str, into: &mut BTreeSet<Subject>) -> Result<(), CodecError> {
    if !may_be_in(document) {
        return Ok(());
    }
    each_mark(document, |marked, _| {
        let (body, subject) = Body::of(&marked)?;
        if body.value.is_some() || body.sealed.is_some() {
            into.insert(subject);
        }
        Ok(())
    })
}

/// A document with other bodies under its marks.
struct Rewritten<'t> {
    document: &'t str,
    text: String,
    /// How much of the document is in the text.
    done: usize,
}

impl<'t> Rewritten<'t> {
    fn new(document: &'t str) -> Self {
        // A sealed value is longer by a nonce, a tag and the base of 64.
        Self { document, text: String::with_capacity(document.len() + document.len() / 2 + 64), done: 0 }
    }

    /// Goes on with a mark whose body is its subject and, if there is one, this member.
    fn put(&mut self, marked: &Marked<'_>, subject: Subject, member: Option<(&str, &str)>) {
        self.text.push_str(&self.document[self.done..marked.place.start]);
        self.text.push_str("{\"");
        self.text.push_str(marked.mark);
        self.text.push_str("\":{\"of\":\"");
        let mut id = Uuid::encode_buffer();
        self.text.push_str(subject.id().hyphenated().encode_lower(&mut id));
        self.text.push('"');
        if let Some((name, value)) = member {
            self.text.push_str(",\"");
            self.text.push_str(name);
            self.text.push_str("\":");
            self.text.push_str(value);
        }
        self.text.push_str("}}");
        self.done = marked.place.end;
    }

    fn finish(mut self) -> String {
        self.text.push_str(&self.document[self.done..]);
        self.text
    }
}

/// A document as it is stored: every marked field sealed. Notes the keys that it was sealed under and that are not durable
/// yet.
pub(crate) fn sealed_text(
    document: &str,
    place: &Place<'_>,
    held: &Held,
    new: &mut Vec<Arc<DataKey>>,
) -> Result<String, CodecError> {
    if !may_be_in(document) {
        return Ok(document.to_owned());
    }
    let mut sealed = Rewritten::new(document);
    each_mark(document, |marked, path| {
        let (body, subject) = Body::of(&marked)?;
        let Some(value) = body.value else {
            sealed.put(&marked, subject, None);
            return Ok(());
        };
        let key = match held.get(subject) {
            Some(Known::Keys(keys)) => keys.current(),
            Some(Known::Forgotten) => return Err(CodecError(format!("the {subject} was forgotten"))),
            Some(Known::Broken) => return Err(CodecError(format!("the key of the {subject} does not open"))),
            None => return Err(CodecError(format!("the key of the {subject} is not at hand"))),
        };
        let text = key
            .seal(&bound(place, subject, path), value.get().as_bytes())
            .map_err(|_| CodecError("there are no random bytes".to_owned()))?;
        if !key.is_durable() && !new.iter().any(|known| Arc::ptr_eq(known, key)) {
            new.push(key.clone());
        }
        sealed.put(&marked, subject, Some(("sealed", &format!("\"{text}\""))));
        Ok(())
    })?;
    Ok(sealed.finish())
}

/// Opens every marked field; what belongs to who was forgotten loses its value. Fields from before sealing was switched
/// on are read as they are.
pub(crate) fn open(document: &str, place: &Place<'_>, held: &Held) -> Result<String, CodecError> {
    let mut opened = Rewritten::new(document);
    each_mark(document, |marked, path| {
        let (body, subject) = Body::of(&marked)?;
        let keys = match held.get(subject) {
            Some(Known::Forgotten) => {
                opened.put(&marked, subject, None);
                return Ok(());
            }
            Some(Known::Keys(keys)) => Some(keys),
            Some(Known::Broken) | None => None,
        };
        let Some(sealed) = body.sealed else { return Ok(()) };
        let text = keys.and_then(|keys| keys.open(&bound(place, subject, path), &sealed).ok());
        let text = text.ok_or_else(|| {
            // Never taken for "forgotten": that has a tombstone.
            CodecError(format!(
                "a field of the {subject} does not open: its key is missing or another, or it was moved"
            ))
        })?;
        let value: &RawValue = serde_json::from_slice(&text)
            .map_err(|_| CodecError("a sealed field holds no JSON".to_owned()))?;
        opened.put(&marked, subject, Some(("value", value.get())));
        Ok(())
    })?;
    Ok(opened.finish())
}

/// True if the document holds something of the subject's.
pub(crate) fn mentions(document: &str, subject: Subject) -> bool {
    let mut all = BTreeSet::new();
    // A mark that says of nobody is nobody's.
    let _ = subjects(document, &mut all);
    all.contains(&subject)
}

#[cfg(test)]
mod tests;
