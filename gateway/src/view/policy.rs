//! A published policy, as operators see it.

use chrono::{DateTime, Utc};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, OPERATOR};
use super::fields::fields;
use crate::policy::PublishedPolicy;

/// A published policy.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Policy, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b16",
    "text": "forbid (principal is Person, action in Action::\"tenant:people\", resource)\nwhen { principal.kind == Kind::\"client\" };",
    "effect": "forbid", "faults": [], "published_at": "2027-01-01T09:00:00Z", "published_by": "local:0"
}))]
pub struct PolicyView {
    pub id: Uuid,
    pub text: String,
    /// `permit` or `forbid`; `unreadable` if this server can't read it: then it refuses what it names.
    pub effect: String,
    /// Why it can't be read.
    pub faults: Vec<String>,
    pub published_at: DateTime<Utc>,
    pub published_by: String,
}

fields! { PolicyView {
    id: EVERYONE,
    // A policy's text says how to get around it.
    text: OPERATOR,
    effect: EVERYONE,
    faults: OPERATOR,
    published_at: EVERYONE,
    published_by: OPERATOR,
} }

impl From<PublishedPolicy> for PolicyView {
    fn from(policy: PublishedPolicy) -> Self {
        let effect = match policy.permits() {
            Some(true) => "permit",
            Some(false) => "forbid",
            None => "unreadable",
        };
        let faults = policy.read.err().map(|faults| faults.0).unwrap_or_default();
        Self {
            id: policy.id,
            text: policy.text.into(),
            effect: effect.to_owned(),
            faults: faults.iter().map(ToString::to_string).collect(),
            published_at: policy.published_at,
            published_by: policy.published_by,
        }
    }
}
