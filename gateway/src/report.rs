//! What a handler did, told to the gate: so that what changed something is audited by its event, and nothing twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::command::Receipt;
use kernel::TenantId;

/// Shared by the gate and the handler of one request.
#[derive(Clone, Debug, Default)]
pub struct Report(Arc<Mutex<Told>>);

#[derive(Clone, Debug, Default)]
pub struct Told {
    /// True if an event of this very request is in the journal: it is the audit entry.
    pub changed: bool,
    /// The tenant it concerned after all, such as the one that was made.
    pub tenant: Option<TenantId>,
    /// What it acted on, where no path parameter says so.
    pub resource: Option<(&'static str, String)>,
    /// Why it is asked for more than a password.
    pub reasons: Option<String>,
}

impl Report {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command was carried out.
    pub fn receipt(&self, receipt: &Receipt) {
        if receipt.changed() && !receipt.replayed {
            self.lock().changed = true;
        }
    }

    pub fn tenant(&self, tenant: TenantId) {
        self.lock().tenant = Some(tenant);
    }

    pub fn resource(&self, kind: &'static str, id: impl ToString) {
        self.lock().resource = Some((kind, id.to_string()));
    }

    pub fn reasons(&self, reasons: String) {
        self.lock().reasons = Some(reasons);
    }

    pub fn no_resource(&self) {
        self.lock().resource = None;
    }

    pub fn told(&self) -> Told {
        self.lock().clone()
    }
}
