//! Whom tenants' people may sign in by, folded.

use std::collections::{BTreeMap, HashMap};

use kernel::{Position, ShardId, SsoProviderId, TenantId};
use schemas::events::{SsoRules, TenantEvent};

use super::AccessMemory;

/// The providers of all tenants.
#[derive(Debug, Default)]
pub(super) struct SsoBook {
    tenants: HashMap<TenantId, (ShardId, TenantSso)>,
    of_provider: HashMap<SsoProviderId, TenantId>,
}

#[derive(Debug, Default)]
struct TenantSso {
    providers: BTreeMap<SsoProviderId, SsoRules>,
    ended_at: Position,
}

impl AccessMemory {
    /// Whose provider it is. `None`: nobody's, or nobody knows what became of the tenant.
    pub fn tenant_of_sso(&self, provider: SsoProviderId) -> Option<TenantId> {
        let known = self.read();
        let tenant = known.sso.of_provider.get(&provider).copied();
        tenant.filter(|tenant| !known.is_closed("tenant", tenant.0))
    }

    /// True if members other than owners get into a tenant only by a provider of its own.
    pub fn sso_required(&self, tenant: TenantId) -> bool {
        let known = self.read();
        let of = known.sso.tenants.get(&tenant);
        of.is_some_and(|(_, of)| of.providers.values().any(|rules| rules.required))
    }

    /// What a tenant's providers began before has ended: one of them is gone, or is trusted less.
    pub fn sso_ended_at(&self, tenant: TenantId) -> Position {
        self.read().sso.tenants.get(&tenant).map_or(Position::ZERO, |(_, of)| of.ended_at)
    }
}

impl SsoBook {
    pub(super) fn reset(&mut self, shard: ShardId) {
        let Self { tenants, of_provider } = self;
        tenants.retain(|_, (of, _)| *of != shard);
        of_provider.retain(|_, tenant| tenants.contains_key(tenant));
    }

    /// Folds what an event says of providers; most say nothing.
    pub(super) fn fold(&mut self, shard: ShardId, tenant: TenantId, event: &TenantEvent, at: Position) {
        let Self { tenants, of_provider } = self;
        let says_something = matches!(
            event,
            TenantEvent::SsoConfigured(_) | TenantEvent::SsoUpdated { .. } | TenantEvent::SsoRemoved { .. }
        );
        if says_something {
            tenants.entry(tenant).or_insert_with(|| (shard, TenantSso::default()));
        }
        let Some((_, of)) = tenants.get_mut(&tenant) else { return };
        match event {
            TenantEvent::SsoConfigured(provider) => {
                of.providers.insert(provider.provider, provider.rules);
                of_provider.insert(provider.provider, tenant);
            }
            TenantEvent::SsoUpdated { provider, rules, .. } => {
                let before = of.providers.insert(*provider, *rules);
                if before.is_some_and(|before| before.trusts_mfa && !rules.trusts_mfa) {
                    of.ended_at = at;
                }
            }
            TenantEvent::SsoRemoved { provider } => {
                of.providers.remove(provider);
                of.ended_at = at;
                of_provider.remove(provider);
            }
            TenantEvent::Purged {} => {
                for provider in std::mem::take(&mut of.providers).keys() {
                    of_provider.remove(provider);
                }
                of.ended_at = at;
            }
            TenantEvent::Provisioned(_)
            | TenantEvent::Updated { .. }
            | TenantEvent::TrialSet { .. }
            | TenantEvent::Suspended { .. }
            | TenantEvent::Reactivated { .. }
            | TenantEvent::PlanChanged { .. }
            | TenantEvent::AccessModeSet { .. }
            | TenantEvent::PasswordPolicyChanged { .. }
            | TenantEvent::SecurityChanged { .. }
            | TenantEvent::FlagSet { .. }
            | TenantEvent::FlagCleared { .. }
            | TenantEvent::OwnerAdded { .. }
            | TenantEvent::OwnerRemoved { .. }
            | TenantEvent::ApplicationConnected { .. }
            | TenantEvent::ApplicationDisconnected { .. }
            | TenantEvent::ProvisioningCompleted {}
            | TenantEvent::ProvisioningFailed { .. }
            | TenantEvent::Registered {}
            | TenantEvent::Verified {} => {}
        }
    }
}
