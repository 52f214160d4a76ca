//! What a plan allows and a tenant can count. Events per month and users beyond the owners are counted elsewhere.

use schemas::values::{Limits, Plan};
use serde::{Deserialize, Serialize};

use super::{Existing, TenantRejection};

/// What a plan limits and a tenant can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Of a tenant's users it sees the owners only.
    Users,
    Applications,
    Flags,
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Users => "users",
            Self::Applications => "applications",
            Self::Flags => "flags",
        })
    }
}

/// Refuses a plan that is too small for what the tenant has.
pub(super) fn fits(tenant: &Existing, plan: Plan) -> Result<(), TenantRejection> {
    let Limits { users, applications, flags, events_per_month: _ } = plan.limits();
    within(Resource::Users, tenant.owners.len(), users)?;
    within(Resource::Applications, tenant.applications.len(), applications)?;
    within(Resource::Flags, tenant.flags.len(), flags)
}

pub(super) fn within(resource: Resource, count: usize, limit: u32) -> Result<(), TenantRejection> {
    if u32::try_from(count).is_ok_and(|count| count <= limit) {
        Ok(())
    } else {
        Err(TenantRejection::Capacity { resource, limit })
    }
}
