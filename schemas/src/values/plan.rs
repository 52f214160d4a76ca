//! Plans (REQUIREMENTS §5).

use std::collections::BTreeSet;

use super::{FlagKey, FlagValue, Module};

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
        let key = |module: &str| format!("plan.{module}").parse();
        self.offers()
            .into_iter()
            .map(|(module, on)| {
                (key(module).expect("these keys are valid, a test says so"), FlagValue::Boolean(on))
            })
            .collect()
    }

    /// The modules that any plan has, and whether this one does.
    fn offers(self) -> [(&'static str, bool); 5] {
        let paid = self >= Self::Pro;
        let enterprise = self == Self::Enterprise;
        [
            ("api-access", true),
            ("webhooks", paid),
            ("custom-roles", paid),
            ("sso", enterprise),
            ("audit-export", enterprise),
        ]
    }

    /// The modules that a tenant of this plan is entitled to, as long as no catalogue says otherwise.
    pub fn modules(self) -> BTreeSet<Module> {
        self.offered(true)
    }

    /// The modules that other plans have and this one has not.
    pub fn lacks(self) -> BTreeSet<Module> {
        self.offered(false)
    }

    fn offered(self, wanted: bool) -> BTreeSet<Module> {
        let offers = self.offers().into_iter().filter(|(_, on)| *on == wanted);
        offers.map(|(module, _)| module.parse().expect("these names are valid, a test says so")).collect()
    }

    /// True if an action such as `webhooks:create` belongs to a module that this plan has not.
    pub fn withholds(self, action: &str) -> bool {
        let step = action.split([':', '.']).next().unwrap_or_default();
        self.offers().into_iter().any(|(module, on)| !on && module == step)
    }
}
