//! Which event made a fact what it is. No event is interpreted here: a fact is looked at before and after each event was
//! folded, and the one that changed it is its reason.

use std::collections::BTreeMap;

use kernel::Envelope;
use serde_json::Value;

use crate::view::{EventView, FactView};

/// A fact's name, such as `membership.role`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub fact: &'static str,
    /// Which one, of a fact of which there are several: a permission, a key.
    pub of: Option<String>,
}

impl Name {
    pub const fn new(fact: &'static str) -> Self {
        Self { fact, of: None }
    }

    pub fn one_of(fact: &'static str, of: impl ToString) -> Self {
        Self { fact, of: Some(of.to_string()) }
    }
}

/// A fact, and the event that changed it last.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub value: Value,
    event: Option<Envelope>,
}

/// Facts and their reasons.
#[derive(Debug, Default)]
pub(super) struct Evidence(BTreeMap<Name, Known>);

impl Evidence {
    /// Looks at what is so; `event`: what has just been folded, if anything has. What isn't named any more is `null`.
    pub fn look(&mut self, facts: Vec<(Name, Value)>, event: Option<&Envelope>) {
        let found: BTreeMap<Name, Value> = facts.into_iter().collect();
        for (name, known) in &mut self.0 {
            if !found.contains_key(name) && !known.value.is_null() {
                *known = Known { value: Value::Null, event: event.cloned() };
            }
        }
        for (name, value) in found {
            match self.0.get_mut(&name) {
                Some(known) if known.value == value => {}
                Some(known) => *known = Known { value, event: event.cloned() },
                None => {
                    // That something isn't there, no event says.
                    let event = event.filter(|_| !value.is_null()).cloned();
                    self.0.insert(name, Known { value, event });
                }
            }
        }
    }

    /// The facts that matter, in the order of their names.
    pub fn told(
        &self,
        matters: impl Fn((&Name, &Known)) -> bool,
        view: impl Fn(&Envelope) -> EventView,
    ) -> Vec<FactView> {
        let of = |(name, known): (&Name, &Known)| FactView {
            fact: name.fact,
            of: name.of.clone(),
            value: known.value.clone(),
            event: known.event.as_ref().map(&view),
        };
        self.0.iter().filter(|known| matters(*known)).map(of).collect()
    }
}
