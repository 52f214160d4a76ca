//! The audit ledger's entries: what happened at the gate that made no event. Refusals, failures, audited reads, no-ops.
//!
//! What did make events is in the journal already; the audit trail is folded from both.

use chrono::{DateTime, Utc};
use kernel::{Event, Metadata};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How an audited action ended (REQUIREMENTS §13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    Success,
    Failure,
    Denied,
}

impl AuditOutcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// What an entry says beside who and when. Nothing in it is personal: ids, route patterns and codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditFact {
    pub outcome: AuditOutcome,
    /// The HTTP status that was answered.
    pub status: u16,
    /// The error's code, such as `ERR-AUTH-403`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error's detail, such as `read_only`; of an unusual login that is asked for more, why it is (ERR-AUTH-461 has
    /// one detail only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What was acted on, such as `tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// How many like it this entry stands for: unauthenticated failures are counted per minute.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(count: &u64) -> bool {
    *count == 1
}

/// As the audit feed gives it: stream `audit/<entry id>`, sequence 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AuditEvent {
    Recorded(AuditFact),
}

impl Event for AuditEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Recorded(_) => "audit.recorded",
        }
    }
}

/// An entry about to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    pub entry_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    pub metadata: Metadata,
    pub fact: AuditFact,
}
