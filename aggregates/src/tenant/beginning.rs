//! How a tenant begins: an operator asks for it, or a stranger registers it.

use chrono::TimeDelta;
use kernel::{Confidential, Personal};
use schemas::events::{TenantEvent, TenantProvisioned};
use schemas::values::TRIAL_DAYS;

use super::{Provision, Tenant, TenantRejection, Trial};

impl Tenant {
    /// UC-PROV-001
    pub(super) fn provision(&self, wish: Provision) -> Result<Vec<TenantEvent>, TenantRejection> {
        let before = self.existing().map(|tenant| &tenant.asked);
        let of = wish.tenant;
        let asked = TenantProvisioned {
            tenant: of,
            name: Confidential::new(of, wish.name),
            slug: Confidential::new(of, wish.slug),
            domain: Confidential::new(of, wish.domain),
            plan: wish.plan,
            region: wish.region,
            trial_ends_at: match wish.trial {
                // The same wish a second later is the same wish: its trial began with the first.
                Trial::Standard => before
                    .and_then(|asked| asked.trial_ends_at)
                    .or_else(|| wish.now.checked_add_signed(TimeDelta::days(TRIAL_DAYS))),
                Trial::Until(end) => Some(end),
                Trial::None => None,
            },
            owner: wish.owner,
            owner_email: Personal::new(wish.owner, wish.owner_email),
            application: wish.application.map(|it| it.map_name(|name| Confidential::new(of, name))),
        };
        match before {
            Some(before) if *before == asked => Ok(Vec::new()),
            Some(_) => Err(TenantRejection::AlreadyExists),
            None => Ok(vec![TenantEvent::Provisioned(Box::new(asked))]),
        }
    }

    /// What an operator would provision, with the mark that only a stranger asked for it.
    pub(super) fn register(&self, wish: Provision) -> Result<Vec<TenantEvent>, TenantRejection> {
        let mut events = self.provision(wish)?;
        if !events.is_empty() {
            events.push(TenantEvent::Registered {});
        }
        Ok(events)
    }
}
