//! A tenant's flags as it decides on them, each with the number that callers know it by (FR-FLAG-001).

use std::collections::BTreeMap;

use kernel::Confidential;
use schemas::events::TenantEvent;
use schemas::values::{FlagKey, FlagValue, Plan};
use serde::{Deserialize, Serialize};

use super::{Existing, Resource, TenantRejection, unless, within};

/// The flags of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flags {
    by_key: BTreeMap<FlagKey, Flag>,
    /// How often a flag was set or cleared. A key that comes back gets a number that it did not have before.
    changes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flag {
    value: Confidential<FlagValue>,
    revision: u64,
}

impl Flags {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn get(&self, key: &FlagKey) -> Option<&Confidential<FlagValue>> {
        self.by_key.get(key).map(|flag| &flag.value)
    }

    /// Which of the tenant's changes of flags was this flag's last one; 0 of one that has no value.
    pub(super) fn revision(&self, key: &str) -> u64 {
        self.by_key.get(key).map_or(0, |flag| flag.revision)
    }

    pub(super) fn set(&mut self, key: &FlagKey, value: &Confidential<FlagValue>) {
        self.changes += 1;
        self.by_key.insert(key.clone(), Flag { value: value.clone(), revision: self.changes });
    }

    pub(super) fn clear(&mut self, key: &FlagKey) {
        self.changes += 1;
        self.by_key.remove(key);
    }

    pub(super) fn clear_all(&mut self) {
        self.by_key.clear();
    }
}

impl Existing {
    pub(super) fn set_flag(
        &self,
        key: FlagKey,
        value: FlagValue,
    ) -> Result<Vec<TenantEvent>, TenantRejection> {
        match self.flags.get(&key) {
            Some(current) if current.reveal() == Some(&value) => return Ok(Vec::new()),
            Some(_) => {}
            None => within(Resource::Flags, self.flags.len() + 1, self.plan.limits().flags)?,
        }
        Ok(vec![TenantEvent::FlagSet { key, value: self.mark(value) }])
    }

    pub(super) fn clear_flag(&self, key: FlagKey) -> Vec<TenantEvent> {
        unless(self.flags.get(&key).is_none(), || TenantEvent::FlagCleared { key })
    }

    /// The flags that still stand as the former plan set them, as the new one sets them.
    pub(super) fn follow_plan(&self, plan: Plan) -> Vec<TenantEvent> {
        let former: BTreeMap<_, _> = self.plan.default_flags().into_iter().collect();
        let mut events = Vec::new();
        for (key, value) in plan.default_flags() {
            let current = self.flags.get(&key).and_then(Confidential::reveal);
            if current.is_some() && current == former.get(&key) && current != Some(&value) {
                events.push(TenantEvent::FlagSet { key, value: self.mark(value) });
            }
        }
        events
    }
}
