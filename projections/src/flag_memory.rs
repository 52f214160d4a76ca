//! Flags in memory: what polling applications get, and what operators see of them. It goes on when it can't know whether it
//! is current, with its age.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use engine::projection::{FoldError, MemoryProjection};
use kernel::{ApplicationId, Envelope, Position, ShardId, TenantId};
use schemas::events::TenantEvent;
use schemas::values::{FlagKey, FlagValue};
use sha2::{Digest, Sha256};

use crate::access::TenantAccess;

/// The flags of all tenants.
#[derive(Debug, Default)]
pub struct FlagMemory {
    tenants: RwLock<HashMap<TenantId, (ShardId, Arc<TenantFlags>)>>,
}

/// One tenant's flags, as they are now.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantFlags {
    tenant: TenantId,
    shard: ShardId,
    pub flags: BTreeMap<FlagKey, Flag>,
    /// How often a flag was set or cleared.
    changes: u64,
    /// The position of the last change of a flag: the version of the set.
    pub changed_position: Position,
    /// When a flag was last changed, or the tenant was made.
    pub changed_at: DateTime<Utc>,
    /// The applications that may poll.
    pub applications: BTreeSet<ApplicationId>,
    pub access: TenantAccess,
}

/// A flag as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    pub value: FlagValue,
    /// Which of the tenant's changes of flags was its last one: its `ETag` among operators.
    pub revision: u64,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

impl FlagMemory {
    pub fn new() -> Self {
        Self::default()
    }

    /// A tenant's flags; `None` if there is no such tenant. Costs a look-up and no copy.
    pub fn tenant(&self, tenant: TenantId) -> Option<Arc<TenantFlags>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(&tenant).map(|(_, flags)| Arc::clone(flags))
    }
}

impl TenantFlags {
    fn new(tenant: TenantId, envelope: &Envelope) -> Self {
        Self {
            tenant,
            shard: envelope.shard,
            flags: BTreeMap::new(),
            changes: 0,
            changed_position: envelope.position,
            changed_at: envelope.recorded_at,
            applications: BTreeSet::new(),
            access: TenantAccess::NEW,
        }
    }

    /// Changes with every change of a flag, and is the same on every node. Without quotes.
    pub fn etag(&self) -> String {
        let text = format!("flags {} {}:{}", self.tenant, self.shard.0, self.changed_position);
        hex::encode(&Sha256::digest(text.as_bytes())[..16])
    }

    fn fold(&mut self, event: &TenantEvent, envelope: &Envelope) {
        self.access.fold(event, envelope.position, envelope.recorded_at);
        self.changes += u64::from(event.flag().is_some());
        match event {
            TenantEvent::FlagSet { key, value } => {
                let flag = value.reveal().map(|value| Flag {
                    value: value.clone(),
                    revision: self.changes,
                    updated_at: envelope.recorded_at,
                    updated_by: envelope.metadata.actor.id.clone(),
                });
                match flag {
                    Some(flag) => self.flags.insert(key.clone(), flag),
                    None => self.flags.remove(key),
                };
            }
            TenantEvent::FlagCleared { key } => {
                self.flags.remove(key);
            }
            TenantEvent::Purged {} => self.flags.clear(),
            TenantEvent::ApplicationConnected { application } => {
                self.applications.insert(*application);
                return;
            }
            TenantEvent::ApplicationDisconnected { application } => {
                self.applications.remove(application);
                return;
            }
            // What they say about access is folded above.
            TenantEvent::Provisioned(_)
            | TenantEvent::Updated { .. }
            | TenantEvent::TrialSet { .. }
            | TenantEvent::Suspended { .. }
            | TenantEvent::Reactivated { .. }
            | TenantEvent::PlanChanged { .. }
            | TenantEvent::AccessModeSet { .. }
            | TenantEvent::PasswordPolicyChanged { .. }
            | TenantEvent::SecurityChanged { .. }
            | TenantEvent::OwnerAdded { .. }
            | TenantEvent::OwnerRemoved { .. }
            | TenantEvent::ProvisioningCompleted {}
            | TenantEvent::ProvisioningFailed { .. }
            | TenantEvent::Registered {}
            | TenantEvent::Verified {}
            | TenantEvent::SsoConfigured(_)
            | TenantEvent::SsoUpdated { .. }
            | TenantEvent::SsoRemoved { .. } => return,
        }
        self.changed_position = envelope.position;
        self.changed_at = envelope.recorded_at;
    }
}

impl MemoryProjection for FlagMemory {
    fn name(&self) -> &'static str {
        "flag_memory"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["tenant"]
    }

    fn fails_closed(&self) -> bool {
        false
    }

    fn reset(&self, shard: ShardId) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, (of, _)| *of != shard);
    }

    fn apply(&self, envelope: &Envelope) -> Result<(), FoldError> {
        let event: Arc<TenantEvent> = envelope.event()?;
        let tenant = TenantId(envelope.stream.id);
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let (_, flags) = tenants
            .entry(tenant)
            .or_insert_with(|| (envelope.shard, Arc::new(TenantFlags::new(tenant, envelope))));
        // Copied only if a poll is reading it right now.
        Arc::make_mut(flags).fold(&event, envelope);
        Ok(())
    }
}
