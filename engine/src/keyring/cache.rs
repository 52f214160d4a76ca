//! A bounded memory of keys: two generations of a map, the older dropped when the younger is full.

use std::collections::HashMap;
use std::sync::Arc;

use kernel::Subject;

use super::data_key::SubjectKeys;

/// What is known of a subject's key.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    Keys(Arc<SubjectKeys>),
    /// The key was replaced by a tombstone.
    Forgotten,
    /// A row is there but doesn't open: an error for whoever needs it, never "forgotten".
    Broken,
}

#[derive(Debug)]
pub(super) struct Cache {
    young: HashMap<Subject, Known>,
    old: HashMap<Subject, Known>,
    generation_max: usize,
}

impl Cache {
    /// Holds `subjects_max` at most, and at least the half of it that was used last.
    pub(super) fn new(subjects_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max: (subjects_max / 2).max(1) }
    }

    pub(super) fn get(&mut self, subject: Subject) -> Option<Known> {
        if let Some(known) = self.young.get(&subject) {
            return Some(known.clone());
        }
        let known = self.old.remove(&subject)?;
        self.put(subject, known.clone());
        Some(known)
    }

    pub(super) fn put(&mut self, subject: Subject, known: Known) {
        if self.young.len() >= self.generation_max && !self.young.contains_key(&subject) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(subject, known);
    }

    pub(super) fn remove(&mut self, subject: Subject) {
        self.young.remove(&subject);
        self.old.remove(&subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::PersonId;
    use uuid::Uuid;

    fn person(n: u128) -> Subject {
        Subject::Person(PersonId(Uuid::from_u128(n)))
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::new(10);
        cache.put(person(0), Known::Forgotten);
        for n in 1..1_000 {
            cache.put(person(n), Known::Forgotten);
            assert!(cache.get(person(0)).is_some(), "used all the time");
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert!(cache.get(person(1)).is_none());
        cache.remove(person(0));
        assert!(cache.get(person(0)).is_none());
    }
}
