//! Marked fields wherever they stand in a document: whose they are, sealed on the way in, opened on the way out.
//!
//! A document is its text. Between marks it is copied as it is; no value is made of it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
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

/// A document in the clear, with what is marked in it: found once, to be told whose keys it takes and to be sealed.
#[derive(Debug)]
pub(crate) struct Clear<'t> {
    text: Cow<'t, str>,
    fields: Vec<Field>,
}

/// A marked field, by where it stands in its document's text.
#[derive(Debug)]
struct Field {
    subject: Subject,
    place: Range<usize>,
    /// `None`: it was forgotten.
    value: Option<Range<usize>>,
    /// The way to it.
    path: Vec<u8>,
}

impl<'t> Clear<'t> {
    /// Looks for marks.
    pub(super) fn of(text: Cow<'t, str>) -> Result<Self, CodecError> {
        let mut fields = Vec::new();
        if may_be_in(&text) {
            each_mark(&text, |marked, path| {
                let (body, subject) = Body::of(&marked)?;
                let value = body.value.map(|value| within(&text, value.get()));
                fields.push(Field { subject, place: marked.place, value, path: path.to_vec() });
                Ok(())
            })?;
        }
        Ok(Self { text, fields })
    }

    /// A document whose marks don't matter: it stays as it is.
    pub(super) fn unread(text: Cow<'t, str>) -> Self {
        Self { text, fields: Vec::new() }
    }

    /// Whose keys sealing these takes, each once.
    pub(crate) fn subjects<'c>(documents: impl IntoIterator<Item = &'c Self>) -> Vec<Subject>
    where
        't: 'c,
    {
        let fields = documents.into_iter().flat_map(|document| &document.fields);
        let mut subjects: Vec<_> =
            fields.filter(|field| field.value.is_some()).map(|field| field.subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }

    /// Whether something in it is somebody's who was forgotten.
    pub(crate) fn is_of_forgotten(&self, held: &Held) -> bool {
        let is_forgotten = |field: &Field| matches!(held.get(field.subject), Some(Known::Forgotten));
        self.fields.iter().any(is_forgotten)
    }

    /// The document as it is stored: every marked field sealed. Notes the keys that it was sealed under and that are not
    /// durable yet.
    pub(crate) fn sealed(
        self,
        place: &Place<'_>,
        held: &Held,
        new: &mut Vec<Arc<DataKey>>,
    ) -> Result<String, CodecError> {
        if self.fields.is_empty() {
            return Ok(self.text.into_owned());
        }
        let mut sealed = Rewritten::new(&self.text);
        for field in &self.fields {
            sealed.begin(&field.place, field.subject);
            if let Some(value) = &field.value {
                let key = current_key(field.subject, held)?;
                sealed.text.push_str(",\"sealed\":\"");
                key.seal(
                    &bound(place, field.subject, &field.path),
                    self.text[value.clone()].as_bytes(),
                    &mut sealed.text,
                )
                .map_err(|_| CodecError("it is too long to be sealed".to_owned()))?;
                sealed.text.push('"');
                if !key.is_durable() && !new.iter().any(|known| Arc::ptr_eq(known, key)) {
                    new.push(key.clone());
                }
            }
            sealed.end();
        }
        Ok(sealed.finish())
    }
}

/// Where a part of a text stands in it.
fn within(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

/// The key that seals what is the subject's.
fn current_key(subject: Subject, held: &Held) -> Result<&Arc<DataKey>, CodecError> {
    match held.get(subject) {
        Some(Known::Keys(keys)) => Ok(keys.current()),
        Some(Known::Forgotten) => Err(CodecError(format!("the {subject} was forgotten"))),
        Some(Known::Broken) => Err(CodecError(format!("the key of the {subject} does not open"))),
        None => Err(CodecError(format!("the key of the {subject} is not at hand"))),
    }
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

    /// Goes on with a mark that stands there, and its subject; members of its body may follow.
    fn begin(&mut self, place: &Range<usize>, subject: Subject) {
        self.text.push_str(&self.document[self.done..place.start]);
        self.text.push_str("{\"");
        self.text.push_str(subject.mark());
        self.text.push_str("\":{\"of\":\"");
        let mut id = Uuid::encode_buffer();
        self.text.push_str(subject.id().hyphenated().encode_lower(&mut id));
        self.text.push('"');
        self.done = place.end;
    }

    fn end(&mut self) {
        self.text.push_str("}}");
    }

    fn finish(mut self) -> String {
        self.text.push_str(&self.document[self.done..]);
        self.text
    }
}

/// Opens every marked field; what belongs to who was forgotten loses its value. Fields from before sealing was switched
/// on are read as they are.
pub(crate) fn open(document: &str, place: &Place<'_>, held: &Held) -> Result<String, CodecError> {
    let mut opened = Rewritten::new(document);
    each_mark(document, |marked, path| {
        let (body, subject) = Body::of(&marked)?;
        let keys = match held.get(subject) {
            Some(Known::Forgotten) => {
                opened.begin(&marked.place, subject);
                opened.end();
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
        opened.begin(&marked.place, subject);
        opened.text.push_str(",\"value\":");
        opened.text.push_str(value.get());
        opened.end();
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
