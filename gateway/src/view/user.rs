//! A person in a tenant, and the membership.

use chrono::{DateTime, Utc};
use projections::{MemberGrants, MembershipRow, UserRow};
use schemas::values::{MembershipKind, MembershipStatus, Role};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, MANAGERS, THEMSELF};
use super::fields::fields;
use super::{GrantsView, words};

/// A person, as the tenant they belong to sees them. The id is the person's; another tenant's people are not there.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = User, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12", "email": "ann@acme.example", "first_name": "Ann",
    "last_name": "Sato", "membership": {
        "id": "5b6bd2bb-58a4-5ba1-8d5b-4a17ec50d9d4", "role": "owner", "kind": "staff", "status": "active",
        "invitation_expires_at": null, "sequence": 2
    },
    "created_at": "2027-01-01T09:00:00Z", "updated_at": "2027-01-02T09:00:00Z"
}))]
pub struct UserView {
    pub id: Uuid,
    /// `null` once it was forgotten.
    pub email: Option<String>,
    /// `null` while the invitation is open and the name is not the inviting tenant's to know.
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub membership: UserMembership,
    /// When the person became a member, or was invited.
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

fields! { UserView {
    id: EVERYONE,
    email: EVERYONE,
    first_name: EVERYONE,
    last_name: EVERYONE,
    membership: EVERYONE,
    created_at: EVERYONE,
    updated_at: EVERYONE,
} }

/// What a person is in the tenant.
#[derive(Clone, Debug, ToSchema)]
pub struct UserMembership {
    pub id: Uuid,
    #[schema(schema_with = words::tenant_role)]
    pub role: Role,
    #[schema(schema_with = words::membership_kind)]
    pub kind: MembershipKind,
    #[schema(schema_with = words::membership_status)]
    pub status: MembershipStatus,
    /// `null` once it was accepted.
    pub invitation_expires_at: Option<DateTime<Utc>>,
    /// What `If-Match` compares for changes of role and status.
    pub sequence: i64,
}

fields! { UserMembership {
    id: EVERYONE,
    role: EVERYONE,
    kind: EVERYONE,
    status: EVERYONE,
    // When an invitation lapses is the business of who invites, and of the invited.
    invitation_expires_at: MANAGERS.or(THEMSELF),
    sequence: EVERYONE,
} }

impl UserView {
    /// Of the membership alone, which carries what is known of the person.
    pub fn of_membership(row: MembershipRow) -> Self {
        let hidden = is_hidden(&row);
        Self {
            id: row.person.0,
            email: row.email,
            first_name: row.first_name.filter(|_| !hidden),
            last_name: row.last_name.filter(|_| !hidden),
            membership: UserMembership {
                id: row.id.0,
                role: row.role,
                kind: row.kind,
                status: row.status,
                invitation_expires_at: row.invitation_expires_at,
                sequence: row.sequence,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    /// Of a person and their membership.
    pub fn of(person: UserRow, membership: MembershipRow) -> Self {
        let updated_at = person.updated_at.max(membership.updated_at);
        let membership = MembershipRow {
            email: person.email,
            first_name: person.first_name,
            last_name: person.last_name,
            person_status: Some(person.status),
            updated_at,
            ..membership
        };
        Self::of_membership(membership)
    }
}

/// An invitation goes to an address. Whose it is, a tenant learns when it is accepted, if another tenant knows the
/// person already: inviting must not be a way to look people up (CON-SEC-009).
fn is_hidden(row: &MembershipRow) -> bool {
    use schemas::values::UserStatus;
    row.status == MembershipStatus::Invited && row.person_status != Some(UserStatus::Invited)
}

/// A membership.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Membership, example = json!({
    "id": "5b6bd2bb-58a4-5ba1-8d5b-4a17ec50d9d4", "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11",
    "person": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12", "email": "ann@acme.example", "role": "owner", "kind": "staff",
    "status": "invited", "invitation_expires_at": "2027-01-08T09:00:00Z",
    "grants": {"custom_role": null, "permissions": [], "modules": [], "delegation": []},
    "mfa_required": false,
    "created_at": "2027-01-01T09:00:00Z", "updated_at": "2027-01-01T09:00:00Z"
}))]
pub struct MembershipView {
    pub id: Uuid,
    pub tenant: Uuid,
    pub person: Uuid,
    /// `null` once it was forgotten.
    pub email: Option<String>,
    #[schema(schema_with = words::tenant_role)]
    pub role: Role,
    #[schema(schema_with = words::membership_kind)]
    pub kind: MembershipKind,
    #[schema(schema_with = words::membership_status)]
    pub status: MembershipStatus,
    /// `null` once it was accepted.
    pub invitation_expires_at: Option<DateTime<Utc>>,
    pub grants: GrantsView,
    /// A second factor is asked of the member, whatever the tenant asks of all.
    pub mfa_required: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

fields! { MembershipView {
    id: EVERYONE,
    tenant: EVERYONE,
    person: EVERYONE,
    email: EVERYONE,
    role: EVERYONE,
    kind: EVERYONE,
    status: EVERYONE,
    // As in `UserMembership`.
    invitation_expires_at: MANAGERS,
    // What each may do tells whom to attack; one's own is at `GET /auth/me/access`.
    grants: MANAGERS,
    mfa_required: EVERYONE,
    created_at: EVERYONE,
    updated_at: EVERYONE,
} }

impl MembershipView {
    /// With what the member was given and is asked, as this node knows it now.
    pub fn of(row: MembershipRow, given: MemberGrants, mfa_required: bool) -> Self {
        Self {
            id: row.id.0,
            tenant: row.tenant.0,
            person: row.person.0,
            email: row.email,
            role: row.role,
            kind: row.kind,
            status: row.status,
            invitation_expires_at: row.invitation_expires_at,
            grants: given.into(),
            mfa_required,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
