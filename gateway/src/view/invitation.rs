//! An invitation that nobody has accepted yet.

use chrono::{DateTime, Utc};
use projections::MembershipRow;
use schemas::values::{MembershipKind, Role};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, MANAGERS};
use super::fields::fields;
use super::words;

/// An invitation. It went to an address; whose it is, nobody learns by it (CON-SEC-009).
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Invitation, example = json!({
    "id": "5b6bd2bb-58a4-5ba1-8d5b-4a17ec50d9d4", "user": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12",
    "email": "ben@acme.example", "role": "user", "kind": "staff", "status": "pending",
    "expires_at": "2027-01-08T09:00:00Z", "sequence": 1,
    "created_at": "2027-01-01T09:00:00Z", "updated_at": "2027-01-01T09:00:00Z"
}))]
pub struct InvitationView {
    /// The membership's.
    pub id: Uuid,
    /// Who is invited.
    pub user: Uuid,
    /// `null` once it was forgotten.
    pub email: Option<String>,
    #[schema(schema_with = words::tenant_role)]
    pub role: Role,
    #[schema(schema_with = words::membership_kind)]
    pub kind: MembershipKind,
    pub status: InvitationStatus,
    /// Until when it can be accepted.
    pub expires_at: Option<DateTime<Utc>>,
    /// What `If-Match` compares.
    pub sequence: i64,
    /// When the person was first invited.
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

fields! { InvitationView {
    id: EVERYONE,
    user: EVERYONE,
    email: EVERYONE,
    role: EVERYONE,
    kind: EVERYONE,
    status: EVERYONE,
    // `status` says whether it has to be sent anew, which is all that a helper must know.
    expires_at: MANAGERS,
    sequence: EVERYONE,
    created_at: EVERYONE,
    updated_at: EVERYONE,
} }

/// Whether it can be accepted as it is, or has to be sent anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationStatus {
    Pending,
    Expired,
}

impl InvitationView {
    pub fn of(row: MembershipRow, now: DateTime<Utc>) -> Self {
        let expired = row.invitation_expires_at.is_none_or(|expires_at| expires_at <= now);
        Self {
            id: row.id.0,
            user: row.person.0,
            email: row.email,
            role: row.role,
            kind: row.kind,
            status: if expired { InvitationStatus::Expired } else { InvitationStatus::Pending },
            expires_at: row.invitation_expires_at,
            sequence: row.sequence,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
