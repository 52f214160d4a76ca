//! Bounded intake. Mailboxes have no bound of their own, so every order carries a permit from start to answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernel::TenantId;

use crate::command::Intake;

/// How many orders may be under way at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub node_max: usize,
    /// For one tenant (what concerns no tenant counts as one), so that a flood leaves room for its neighbours.
    pub tenant_max: usize,
    /// For one aggregate.
    pub actor_max: usize,
}

/// Too many are under way; how long to stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub intake: Intake,
    pub retry_after: Duration,
}

impl Full {
    pub(crate) fn of(intake: Intake) -> Self {
        Self { intake, retry_after: Duration::from_secs(1) }
    }
}

/// The gate of a node.
#[derive(Debug)]
pub(crate) struct IntakeGate {
    limits: Limits,
    node: AtomicUsize,
    tenants: [Mutex<HashMap<Option<TenantId>, usize>>; 16],
}

impl IntakeGate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, node: AtomicUsize::new(0), tenants: Default::default() })
    }

    /// Lets an order in, or says whose intake is full. The permit is given back when it is dropped.
    pub(crate) fn enter(self: &Arc<Self>, tenant: Option<TenantId>) -> Result<Permit, Full> {
        if self.node.fetch_add(1, Ordering::AcqRel) >= self.limits.node_max {
            self.node.fetch_sub(1, Ordering::AcqRel);
            return Err(Full::of(Intake::Node));
        }
        {
            let mut tenants = self.slot(tenant).lock().unwrap_or_else(PoisonError::into_inner);
            let count = tenants.entry(tenant).or_default();
            if *count >= self.limits.tenant_max {
                drop(tenants);
                self.node.fetch_sub(1, Ordering::AcqRel);
                return Err(Full::of(Intake::Tenant));
            }
            *count += 1;
        }
        Ok(Permit { gate: self.clone(), tenant })
    }

    pub(crate) fn actor_max(&self) -> usize {
        self.limits.actor_max
    }

    /// Orders under way.
    pub(crate) fn under_way(&self) -> usize {
        self.node.load(Ordering::Acquire)
    }

    fn slot(&self, tenant: Option<TenantId>) -> &Mutex<HashMap<Option<TenantId>, usize>> {
        let index = tenant.map_or(0, |tenant| usize::from(tenant.0.as_bytes()[15] & 15));
        &self.tenants[index]
    }
}

/// The right of one order to be under way.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<IntakeGate>,
    tenant: Option<TenantId>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut tenants = self.gate.slot(self.tenant).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                tenants.remove(&self.tenant);
            }
        }
        drop(tenants);
        self.gate.node.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn gate() -> Arc<IntakeGate> {
        IntakeGate::new(Limits { node_max: 3, tenant_max: 2, actor_max: 2 })
    }
    fn tenant(n: u128) -> Option<TenantId> {
        Some(TenantId(Uuid::from_u128(n)))
    }

    #[test]
    fn one_tenant_cannot_take_all_the_room() {
        let gate = gate();
        let _held = [gate.enter(tenant(1)).unwrap(), gate.enter(tenant(1)).unwrap()];
        assert_eq!(gate.enter(tenant(1)).unwrap_err().intake, Intake::Tenant);
        let _other = gate.enter(tenant(2)).unwrap();
        assert_eq!(gate.enter(tenant(3)).unwrap_err().intake, Intake::Node);
    }

    #[test]
    fn a_permit_is_given_back_when_dropped() {
        let gate = gate();
        for _ in 0..10 {
            drop((gate.enter(tenant(1)).unwrap(), gate.enter(tenant(1)).unwrap()));
            assert!(gate.enter(tenant(1)).is_ok());
        }
        assert_eq!(gate.under_way(), 0);
        assert!(gate.slot(tenant(1)).lock().unwrap().is_empty());
    }
}
