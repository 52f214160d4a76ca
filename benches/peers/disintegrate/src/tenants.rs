//! The tenant as the library's guide writes it: an enum of events with a stream, a state query that folds them, and
//! decisions.

use std::collections::BTreeMap;

use disintegrate::{Decision, Event, NoSnapshot, StateMutate, StateQuery, serde::json::Json};
use disintegrate_postgres::{PgDecisionMaker, PgEventStore};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub type Store = PgEventStore<DomainEvent, Json<DomainEvent>>;
pub type Tenants = PgDecisionMaker<DomainEvent, Json<DomainEvent>, NoSnapshot>;

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(TenantEvent, [TenantProvisioned, FlagSet])]
pub enum DomainEvent {
    TenantProvisioned {
        #[id]
        tenant: Uuid,
        facts: Facts,
        metadata: Metadata,
    },
    FlagSet {
        #[id]
        tenant: Uuid,
        key: String,
        value: FlagValue,
        /// How many events of the tenant the decision has seen: what the version in a stream is elsewhere.
        after: u64,
        metadata: Metadata,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub name: String,
    pub slug: String,
    pub domain: String,
    pub plan: String,
    pub region: String,
    pub trial_ends_at: String,
    pub owner: Uuid,
    pub owner_email: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum FlagValue {
    String(String),
}

/// What an event carries beside its payload, the same as in the benchmark. The library has no place of its own for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub action: String,
    pub actor: String,
    pub actor_kind: String,
    pub role: String,
    pub correlation_id: Uuid,
}

#[derive(Debug, Clone, Default, StateQuery, Serialize, Deserialize)]
#[state_query(TenantEvent)]
pub struct Tenant {
    #[id]
    tenant: Uuid,
    facts: Option<Facts>,
    flags: BTreeMap<String, FlagValue>,
    seen: u64,
}

impl Tenant {
    fn new(tenant: Uuid) -> Self {
        Self { tenant, ..Self::default() }
    }
}

impl StateMutate for Tenant {
    fn mutate(&mut self, event: TenantEvent) {
        self.seen += 1;
        match event {
            TenantEvent::TenantProvisioned { facts, .. } => self.facts = Some(facts),
            TenantEvent::FlagSet { key, value, .. } => {
                self.flags.insert(key, value);
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the tenant exists")]
    Exists,
    #[error("there is no such tenant")]
    Absent,
    #[error("the flag has that value already")]
    Unchanged,
}

#[derive(Debug, Clone)]
pub struct Provision {
    pub tenant: Uuid,
    pub facts: Facts,
    pub metadata: Metadata,
}

impl Decision for Provision {
    type Event = DomainEvent;
    type StateQuery = Tenant;
    type Error = Refusal;

    fn state_query(&self) -> Tenant {
        Tenant::new(self.tenant)
    }

    fn process(&self, state: &Tenant) -> Result<Vec<DomainEvent>, Refusal> {
        if state.facts.is_some() {
            return Err(Refusal::Exists);
        }
        Ok(vec![DomainEvent::TenantProvisioned {
            tenant: self.tenant,
            facts: self.facts.clone(),
            metadata: self.metadata.clone(),
        }])
    }
}

#[derive(Debug, Clone)]
pub struct SetFlag {
    pub tenant: Uuid,
    pub key: String,
    pub value: FlagValue,
    pub metadata: Metadata,
}

impl Decision for SetFlag {
    type Event = DomainEvent;
    type StateQuery = Tenant;
    type Error = Refusal;

    fn state_query(&self) -> Tenant {
        Tenant::new(self.tenant)
    }

    /// The library can't append nothing, so repeating a command is refused rather than answered with no event.
    fn process(&self, state: &Tenant) -> Result<Vec<DomainEvent>, Refusal> {
        if state.facts.is_none() {
            return Err(Refusal::Absent);
        }
        if state.flags.get(&self.key) == Some(&self.value) {
            return Err(Refusal::Unchanged);
        }
        Ok(vec![DomainEvent::FlagSet {
            tenant: self.tenant,
            key: self.key.clone(),
            value: self.value.clone(),
            after: state.seen,
            metadata: self.metadata.clone(),
        }])
    }
}
