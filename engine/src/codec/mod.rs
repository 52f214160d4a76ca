//! The one codec: whatever stores or reads payloads, states, outcomes or metadata goes through it.
//!
//! Marked fields are sealed under the keys of a [`Keyring`]; without one they are stored as they are, which is for
//! tests and measurements only.

mod marks;
mod text;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::hmac;
use kernel::{Claim, Payload, Subject, Upcaster};

use crate::keyring::{DataKey, Held, Keyring, KeyringError};

pub(crate) use marks::{Clear, Place, mentions};

/// A document can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[error("a stored document can't be read or written: {0}")]
pub struct CodecError(pub String);

/// One event of a stored one, after upcasting.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub event_type: Cow<'static, str>,
    pub event_version: Cow<'static, str>,
    pub payload: Payload,
}

/// Seals and opens documents, mends old event shapes, and hashes claims.
#[derive(Clone, Debug)]
pub struct Codec {
    keyring: Option<Arc<Keyring>>,
    upcasters: Arc<HashMap<(&'static str, &'static str), Upcaster>>,
    claim_key: hmac::Key,
}

impl Codec {
    /// Seals marked fields. `claim_key`: the secret under which claim values are hashed; it outlives every claim.
    pub fn sealing(keyring: Arc<Keyring>, upcasters: Vec<Upcaster>, claim_key: &[u8; 32]) -> Self {
        Self::new(Some(keyring), upcasters, claim_key)
    }

    /// Stores marked fields as they are: for tests and measurements. It can't read what was sealed.
    pub fn plain(upcasters: Vec<Upcaster>, claim_key: &[u8; 32]) -> Self {
        Self::new(None, upcasters, claim_key)
    }

    fn new(keyring: Option<Arc<Keyring>>, upcasters: Vec<Upcaster>, claim_key: &[u8; 32]) -> Self {
        let upcasters = upcasters.into_iter().map(|up| ((up.event_type, up.from_version), up)).collect();
        Self {
            keyring,
            upcasters: Arc::new(upcasters),
            claim_key: hmac::Key::new(hmac::HMAC_SHA256, claim_key),
        }
    }

    /// A document that is to be sealed.
    pub(crate) fn clear<'t>(&self, text: impl Into<Cow<'t, str>>) -> Result<Clear<'t>, CodecError> {
        match self.keyring {
            Some(_) => Clear::of(text.into()),
            None => Ok(Clear::unread(text.into())),
        }
    }

    /// Whose keys opening these documents takes.
    pub(crate) fn subjects<'a>(
        &self,
        documents: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Subject>, CodecError> {
        let mut subjects = BTreeSet::new();
        if self.keyring.is_some() {
            documents.into_iter().try_for_each(|document| marks::subjects(document, &mut subjects))?;
        }
        Ok(subjects.into_iter().collect())
    }

    /// The keys of these subjects, if none must be asked for.
    pub(crate) fn in_hand(&self, subjects: &[Subject]) -> Option<Held> {
        match &self.keyring {
            Some(keyring) if !subjects.is_empty() => keyring.in_hand(subjects),
            _ => Some(Held::default()),
        }
    }

    /// The keys of these subjects; who has none gets one.
    pub(crate) async fn for_sealing(&self, subjects: Vec<Subject>) -> Result<Held, KeyringError> {
        match &self.keyring {
            Some(keyring) => keyring.for_sealing(subjects).await,
            None => Ok(Held::default()),
        }
    }

    /// The keys of those subjects who have any.
    pub(crate) async fn for_opening(&self, subjects: Vec<Subject>) -> Result<Held, KeyringError> {
        match &self.keyring {
            Some(keyring) if !subjects.is_empty() => keyring.for_opening(subjects).await,
            _ => Ok(Held::default()),
        }
    }

    /// These new keys lost a race against others of the same subjects.
    pub(crate) fn discard(&self, lost: &[Arc<DataKey>]) {
        if let Some(keyring) = &self.keyring {
            keyring.discard(lost);
        }
    }

    /// Opens every marked field of a stored document.
    pub(crate) fn open<'t>(
        &self,
        document: &'t str,
        place: &Place<'_>,
        held: &Held,
    ) -> Result<Cow<'t, str>, CodecError> {
        if self.keyring.is_none() || !marks::may_be_in(document) {
            return Ok(Cow::Borrowed(document));
        }
        marks::open(document, place, held).map(Cow::Owned)
    }

    /// Brings an opened event to its newest shape: one event, or the several it was split into.
    pub(crate) fn upcast(
        &self,
        event_type: String,
        version: String,
        payload: Payload,
    ) -> Result<Vec<Opened>, CodecError> {
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
        for next in (upcaster.upcast)(event.payload.into_value()) {
            let next = Opened {
                event_type: Cow::Borrowed(next.event_type),
                event_version: Cow::Borrowed(next.event_version),
                payload: next.payload.into(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Upcasted;
    use serde_json::{Value, json};

    fn codec(upcasters: Vec<Upcaster>) -> Codec {
        Codec::plain(upcasters, &[7; 32])
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
        let opened = codec.upcast("a".into(), "1".into(), json!({}).into()).unwrap();
        assert_eq!(opened.iter().map(|o| o.event_type.as_ref()).collect::<Vec<_>>(), ["b", "b"]);
        assert_eq!(opened[1].payload, json!({"A": 2}));
    }

    #[test]
    fn upcasters_that_run_in_a_circle_are_an_error_not_a_hang() {
        fn same(payload: Value) -> Vec<Upcasted> {
            vec![Upcasted { event_type: "a", event_version: "1", payload }]
        }
        let codec = codec(vec![Upcaster { event_type: "a", from_version: "1", upcast: same }]);
        assert!(codec.upcast("a".into(), "1".into(), json!({}).into()).is_err());
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
