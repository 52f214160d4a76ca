//! The membership directory: one row per person in a tenant, shown with what is known of the person.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
use kernel::{Envelope, MembershipId, PersonId, TenantId};
use schemas::events::MembershipEvent;
use schemas::values::{MembershipKind, MembershipStatus, Role, UserStatus};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::entity::{self, Entity, Stamp, missing};
use crate::list::{self, Field, From, ListQuery, ListSpec, Page, QueryError, Scope, SortValue, words};
use crate::user_directory;

pub(crate) const VERSION: i32 = 1;

/// Folds memberships.
pub struct MembershipDirectory;

/// A membership as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stored {
    id: MembershipId,
    tenant: TenantId,
    person: PersonId,
    role: Role,
    kind: MembershipKind,
    status: MembershipStatus,
    invitation_expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    created_by: String,
    updated_at: DateTime<Utc>,
    updated_by: String,
    sequence: i64,
}

/// A membership with its person, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MembershipRow {
    pub id: MembershipId,
    pub tenant: TenantId,
    pub person: PersonId,
    pub role: Role,
    pub kind: MembershipKind,
    pub status: MembershipStatus,
    /// Until when the invitation can be accepted; `None` once it was.
    pub invitation_expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    /// The stream's sequence: its `ETag`.
    pub sequence: i64,
    /// What follows is the person's; `None` if it isn't known here yet, or forgotten.
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub person_status: Option<UserStatus>,
}

impl Entity for Stored {
    type Event = MembershipEvent;

    fn event(envelope: &Envelope) -> Result<Option<(Uuid, MembershipEvent)>, FoldError> {
        if envelope.stream.aggregate_type != "membership" {
            return Ok(None);
        }
        Ok(Some((envelope.stream.id, envelope.decode()?)))
    }

    fn fold(row: Option<Self>, event: MembershipEvent, envelope: &Envelope) -> Result<Self, FoldError> {
        let stamp = Stamp::of(envelope);
        let mut row = match event {
            MembershipEvent::Invited { tenant, person, role, kind, expires_at, .. } => {
                // Invited again after a removal, it is the same membership with the same beginning.
                let (created_at, created_by) =
                    row.map_or((stamp.at, stamp.by.clone()), |row| (row.created_at, row.created_by));
                Self {
                    id: MembershipId(envelope.stream.id),
                    tenant,
                    person,
                    role,
                    kind,
                    status: MembershipStatus::Invited,
                    invitation_expires_at: Some(expires_at),
                    created_at,
                    created_by,
                    updated_at: stamp.at,
                    updated_by: stamp.by.clone(),
                    sequence: stamp.sequence,
                }
            }
            event => {
                let mut row = missing(row, envelope)?;
                row.change(event);
                row
            }
        };
        row.updated_at = stamp.at;
        row.updated_by = stamp.by;
        row.sequence = stamp.sequence;
        Ok(row)
    }
}

impl Stored {
    fn change(&mut self, event: MembershipEvent) {
        match event {
            // The first event of the stream, folded by the caller.
            MembershipEvent::Invited { .. } => {}
            MembershipEvent::Resent { expires_at, .. } => self.invitation_expires_at = Some(expires_at),
            MembershipEvent::Accepted {} => {
                self.status = MembershipStatus::Active;
                self.invitation_expires_at = None;
            }
            MembershipEvent::RoleChanged { to, .. } => self.role = to,
            MembershipEvent::KindChanged { to, .. } => self.kind = to,
            MembershipEvent::Disabled {} => self.status = MembershipStatus::Disabled,
            // Enabled again, it is what it was before: an invitation has an expiry until it is accepted.
            MembershipEvent::Enabled {} => {
                self.status = match self.invitation_expires_at {
                    Some(_) => MembershipStatus::Invited,
                    None => MembershipStatus::Active,
                };
            }
            MembershipEvent::Removed {} => {
                self.status = MembershipStatus::Removed;
                self.invitation_expires_at = None;
            }
            // What a member was given is asked of the access memory, which knows what it is worth now.
            MembershipEvent::SecurityChanged { .. }
            | MembershipEvent::SsoLinked { .. }
            | MembershipEvent::CustomRoleSet { .. }
            | MembershipEvent::PermissionGranted { .. }
            | MembershipEvent::PermissionRevoked { .. }
            | MembershipEvent::ModuleGranted { .. }
            | MembershipEvent::ModuleRevoked { .. }
            | MembershipEvent::DelegationChanged { .. } => {}
        }
    }
}

#[async_trait]
impl Projection for MembershipDirectory {
    fn name(&self) -> &'static str {
        "membership_directory"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["membership"])
    }

    fn tables(&self) -> &'static [&'static str] {
        &["membership_directory"]
    }

    fn sql(&self) -> &'static str {
        include_str!("membership_directory.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        entity::fold::<Stored>(tx, &tables.name("membership_directory"), events).await
    }
}

impl MembershipDirectory {
    /// What may be listed, and how.
    pub const LIST: &'static ListSpec = &ListSpec {
        fields: &[
            Field::id("tenant", "t.tenant"),
            Field::id("person", "t.person"),
            Field::word("role", "t.role", &words!(Role)),
            Field::word("kind", "t.kind", &words!(MembershipKind)),
            Field::word("status", "t.status", &words!(MembershipStatus)),
            Field::text("email", "p.email"),
            Field::text("first_name", "p.first_name"),
            Field::text("last_name", "p.last_name"),
            Field::time("created_at", "t.created_at").sortable(),
            Field::time("updated_at", "t.updated_at"),
        ],
        default_sort: "-created_at",
    };

    /// What may be listed of invitations, and how. Not by name: whose an address is, an invitation doesn't tell.
    pub const INVITATIONS: &'static ListSpec = &ListSpec {
        fields: &[
            Field::word("role", "t.role", &words!(Role)),
            Field::word("kind", "t.kind", &words!(MembershipKind)),
            Field::text("email", "p.email"),
            Field::time("expires_at", "t.invitation_expires_at"),
            Field::time("created_at", "t.created_at").sortable(),
            Field::time("updated_at", "t.updated_at"),
        ],
        default_sort: "-created_at",
    };

    fn from(scope: Scope) -> From {
        From {
            row: "(to_jsonb(t) || jsonb_build_object('email', p.email, 'first_name', p.first_name, \
                  'last_name', p.last_name, 'person_status', p.status))",
            // People and memberships are written by different shards, so they are joined here.
            tables: format!(
                "{} AS t LEFT JOIN {} AS p ON p.id = t.person",
                view("membership_directory", VERSION),
                view("user_directory", user_directory::VERSION)
            ),
            values: Vec::new(),
            id: "t.id",
            conditions: match scope {
                Scope::Platform => Vec::new(),
                Scope::Tenant(tenant) => vec![("t.tenant = $?".to_owned(), SortValue::Uuid(tenant.0))],
            },
        }
    }

    pub async fn list(
        client: &Client,
        scope: Scope,
        query: &ListQuery,
    ) -> Result<Page<MembershipRow>, QueryError> {
        list::list(client, Self::from(scope), query).await
    }

    /// Those who are invited and have not accepted, in time or not.
    pub async fn invitations(
        client: &Client,
        scope: Scope,
        query: &ListQuery,
    ) -> Result<Page<MembershipRow>, QueryError> {
        list::list(client, Self::from_invitations(scope), query).await
    }

    fn from_invitations(scope: Scope) -> From {
        let mut from = Self::from(scope);
        let invited = SortValue::Text(MembershipStatus::Invited.as_str().to_owned());
        from.conditions.push(("t.status = $?".to_owned(), invited));
        from
    }

    /// One membership, if the scope may see it.
    pub async fn get(
        client: &Client,
        scope: Scope,
        id: MembershipId,
    ) -> Result<Option<MembershipRow>, QueryError> {
        list::get(client, Self::from(scope), id.0).await
    }

    /// A person's membership in a tenant, also a removed one.
    pub async fn of_person(
        client: &Client,
        tenant: TenantId,
        person: PersonId,
    ) -> Result<Option<MembershipRow>, QueryError> {
        let mut from = Self::from(Scope::Tenant(tenant));
        from.id = "t.person";
        list::get(client, from, person.0).await
    }

    /// How many people belong to a tenant, the invited and the disabled included; counts no further than `up_to`.
    pub async fn count(client: &Client, tenant: TenantId, up_to: u32) -> Result<u32, QueryError> {
        let memberships = view("membership_directory", VERSION);
        let sql = format!(
            "SELECT count(*) FROM (SELECT FROM {memberships} WHERE tenant = $1 AND status <> 'removed' LIMIT $2) AS m"
        );
        let row = client.query_one(&sql, &[&tenant.0, &i64::from(up_to)]).await?;
        Ok(u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX))
    }

    /// The plan of a list of invitations, for tests.
    pub async fn explain_invitations(
        client: &Client,
        scope: Scope,
        query: &ListQuery,
    ) -> Result<String, QueryError> {
        list::explain(client, Self::from_invitations(scope), query).await
    }

    /// The plan of a list, for tests.
    pub async fn explain(client: &Client, scope: Scope, query: &ListQuery) -> Result<String, QueryError> {
        list::explain(client, Self::from(scope), query).await
    }
}
