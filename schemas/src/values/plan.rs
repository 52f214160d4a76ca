//! Plans (REQUIREMENTS §5).

use super::{FlagKey, FlagValue};

/// How long a trial lasts from provisioning unless the operator says otherwise, in days.
pub const TRIAL_DAYS: i64 = 14;

words! {
    /// What a tenant has bought.
    Plan, "a plan" {
        Free = "free",
        Pro = "pro",
        Enterprise = "enterprise",
    }
}

/// What a plan allows. Going beyond is ERR-VAL-422 with detail `capacity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub users: u32,
    pub applications: u32,
    /// Flags set for the tenant, the plan's own included.
    pub flags: u32,
    /// Billable usage events in a calendar month.
    pub events_per_month: u64,
}

impl Plan {
    pub const fn limits(self) -> Limits {
        match self {
            Self::Free => Limits { users: 5, applications: 1, flags: 20, events_per_month: 10_000 },
            Self::Pro => Limits { users: 500, applications: 10, flags: 200, events_per_month: 1_000_000 },
            // NFR-CAP-002 aims at ten times 10,000 users.
            Self::Enterprise => {
                Limits { users: 100_000, applications: 100, flags: 2_000, events_per_month: 100_000_000 }
            }
        }
    }

    /// The flags that a tenant of this plan starts with. Every plan has the same keys, so that a change of plan
    /// never changes how many flags there are.
    pub fn default_flags(self) -> Vec<(FlagKey, FlagValue)> {
        let paid = self >= Self::Pro;
        let enterprise = self == Self::Enterprise;
        [
            ("plan.api-access", true),
            ("plan.webhooks", paid),
            ("plan.custom-roles", paid),
            ("plan.sso", enterprise),
            ("plan.audit-export", enterprise),
        ]
        .into_iter()
        .map(|(key, on)| (key.parse().expect("these keys are valid, a test says so"), FlagValue::Boolean(on)))
        .collect()
    }
}
