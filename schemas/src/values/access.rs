//! Access modes (REQUIREMENTS §4).

use chrono::{DateTime, Utc};

words! {
    /// What may be done in a tenant. Ordered from the freest to the strictest.
    AccessMode, "an access mode" {
        Active = "active",
        /// Mutations fail: 403 with detail `read_only`.
        ReadOnly = "read_only",
        /// Everything fails: 403 with detail `blocked`.
        Blocked = "blocked",
    }
}

words! {
    /// What a member is to the tenant.
    MembershipKind, "a membership kind" {
        /// One of the tenant's own people, a "worker".
        Staff = "staff",
        /// One from outside.
        Client = "client",
    }
}

/// What a member of `kind` may do at `now`: the strictest of what the operator set and what the lifecycle leaves
/// (suspended → blocked; trial expired → staff read-only, clients blocked). The trial ends at the instant
/// `trial_ends_at`, which whoever asks compares itself, so a late timer never grants anything.
pub fn effective_access(
    set: AccessMode,
    suspended: bool,
    trial_ends_at: Option<DateTime<Utc>>,
    kind: MembershipKind,
    now: DateTime<Utc>,
) -> AccessMode {
    let lifecycle = if suspended {
        AccessMode::Blocked
    } else if trial_ends_at.is_some_and(|end| end <= now) {
        match kind {
            MembershipKind::Staff => AccessMode::ReadOnly,
            MembershipKind::Client => AccessMode::Blocked,
        }
    } else {
        AccessMode::Active
    };
    set.max(lifecycle)
}
