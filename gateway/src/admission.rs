//! Which requests are let in: a bounded number at once, and of these a bounded share for each tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies that are larger count as large.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;
/// Large bodies in memory at once.
const LARGE_BODIES_MAX: usize = 64;

/// What lets requests in.
#[derive(Debug)]
pub struct Admission {
    node: Arc<Semaphore>,
    tenant_max: usize,
    tenants: Arc<Mutex<HashMap<TenantId, usize>>>,
    large_bodies: Arc<Semaphore>,
}

/// A tenant has its share of requests under way already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareIsFull;

impl Admission {
    /// `node_max`: requests at once; `tenant_max`: those that concern one tenant.
    pub fn new(node_max: usize, tenant_max: usize) -> Self {
        Self {
            node: Arc::new(Semaphore::new(node_max.min(Semaphore::MAX_PERMITS))),
            tenant_max,
            tenants: Arc::default(),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
        }
    }

    /// Lets a request in, of which nothing is known yet. `None`: the node is full.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.node).try_acquire_owned().ok()
    }

    /// Its tenant is known now.
    ///
    /// # Errors
    /// As many requests of that tenant are under way as may be, so that there is room for its neighbours.
    pub fn share_of(&self, tenant: TenantId) -> Result<Share, ShareIsFull> {
        let mut tenants = lock(&self.tenants);
        let count = tenants.entry(tenant).or_default();
        if *count >= self.tenant_max {
            return Err(ShareIsFull);
        }
        *count += 1;
        Ok(Share { tenant, tenants: Arc::clone(&self.tenants) })
    }

    /// Room for a body that is larger than [`SMALL_BODY_BYTES_MAX`], while it is held. `None`: there is none now.
    pub fn large_body(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.large_bodies).try_acquire_owned().ok()
    }

    /// How many more requests would be let in now.
    pub fn room(&self) -> usize {
        self.node.available_permits()
    }
}

/// A tenant's request under way.
#[derive(Debug)]
pub struct Share {
    tenant: TenantId,
    tenants: Arc<Mutex<HashMap<TenantId, usize>>>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants);
        if let Some(count) = tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

fn lock(tenants: &Mutex<HashMap<TenantId, usize>>) -> MutexGuard<'_, HashMap<TenantId, usize>> {
    tenants.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_tenant_gets_its_share_and_its_neighbour_another() {
        let admission = Admission::new(10, 2);
        let tenant = |n| TenantId(Uuid::from_u128(n));
        let held = [admission.share_of(tenant(1)).unwrap(), admission.share_of(tenant(1)).unwrap()];
        assert_eq!(admission.share_of(tenant(1)).unwrap_err(), ShareIsFull);
        let _neighbour = admission.share_of(tenant(2)).unwrap();
        drop(held);
        drop(admission.share_of(tenant(1)).unwrap());
        assert_eq!(lock(&admission.tenants).len(), 1, "who has nothing under way takes no room");
    }
}
