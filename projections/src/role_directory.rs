//! The roles that tenants made, for their lists. What a role gives is asked of [`crate::AccessMemory`].

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
use kernel::{Confidential, Envelope, RoleId, TenantId};
use schemas::events::RoleEvent;
use schemas::values::{Permission, RoleName};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::entity::{self, Entity, Stamp, missing};
use crate::list::{self, Field, From, ListQuery, ListSpec, Page, QueryError, SortValue};

const VERSION: i32 = 1;
/// The event after which a tenant's texts are nobody's to keep.
const PURGED: &str = "tenant.purged";

/// Folds roles.
pub struct RoleDirectory;

/// A role, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleRow {
    pub id: RoleId,
    pub tenant: TenantId,
    /// Empty when it was forgotten.
    pub name: String,
    pub description: Option<String>,
    pub permissions: BTreeSet<Permission>,
    deleted: bool,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    /// The stream's sequence: its `ETag`.
    pub sequence: i64,
}

fn shown(name: &Confidential<RoleName>) -> String {
    name.reveal().map(|name| name.as_str().to_owned()).unwrap_or_default()
}

impl Entity for RoleRow {
    type Event = RoleEvent;

    fn event(envelope: &Envelope) -> Result<Option<(Uuid, RoleEvent)>, FoldError> {
        if envelope.stream.aggregate_type != "role" {
            return Ok(None);
        }
        Ok(Some((envelope.stream.id, envelope.decode()?)))
    }

    fn fold(row: Option<Self>, event: RoleEvent, envelope: &Envelope) -> Result<Self, FoldError> {
        let stamp = Stamp::of(envelope);
        let mut row = match event {
            RoleEvent::Created { role, tenant, name, description, permissions } => Self {
                id: role,
                tenant,
                name: shown(&name),
                description: description.and_then(|text| text.reveal().map(|text| text.as_str().to_owned())),
                permissions,
                deleted: false,
                created_at: stamp.at,
                created_by: stamp.by.clone(),
                updated_at: stamp.at,
                updated_by: stamp.by.clone(),
                sequence: stamp.sequence,
            },
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

impl RoleRow {
    fn change(&mut self, event: RoleEvent) {
        match event {
            // The first event of the stream, folded by the caller.
            RoleEvent::Created { .. } => {}
            RoleEvent::Updated { name, description } => {
                if let Some(name) = name {
                    self.name = shown(&name);
                }
                if let Some(text) = description {
                    self.description = text.reveal().map(|text| text.as_str().to_owned());
                }
            }
            RoleEvent::PermissionsSet { permissions } => self.permissions = permissions,
            RoleEvent::Deleted {} => self.deleted = true,
        }
    }
}

#[async_trait]
impl Projection for RoleDirectory {
    fn name(&self) -> &'static str {
        "role_directory"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["role", "tenant"])
    }

    fn tables(&self) -> &'static [&'static str] {
        &["role_directory"]
    }

    fn sql(&self) -> &'static str {
        include_str!("role_directory.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        let table = tables.name("role_directory");
        entity::fold::<RoleRow>(tx, &table, events).await?;
        // Nobody makes or changes a role of a tenant that is purged, so it comes after all that is said of its roles.
        let purged = events.iter().filter(|envelope| envelope.event_type == PURGED);
        let purged: Vec<Uuid> = purged.map(|envelope| envelope.stream.id).collect();
        if !purged.is_empty() {
            tx.execute(&format!("DELETE FROM {table} WHERE tenant = ANY ($1)"), &[&purged]).await?;
        }
        Ok(())
    }
}

impl RoleDirectory {
    /// What may be listed, and how.
    pub const LIST: &'static ListSpec = &ListSpec {
        fields: &[
            Field::text("name", "t.name").sortable(),
            Field::time("created_at", "t.created_at").sortable(),
            Field::time("updated_at", "t.updated_at"),
        ],
        default_sort: "name",
    };

    fn from(tenant: TenantId) -> From {
        From {
            row: "row_to_json(t)",
            tables: format!("{} AS t", view("role_directory", VERSION)),
            values: Vec::new(),
            id: "t.id",
            conditions: vec![("t.tenant = $? AND NOT t.deleted".to_owned(), SortValue::Uuid(tenant.0))],
        }
    }

    /// A tenant's roles.
    pub async fn list(
        client: &Client,
        tenant: TenantId,
        query: &ListQuery,
    ) -> Result<Page<RoleRow>, QueryError> {
        list::list(client, Self::from(tenant), query).await
    }

    /// One of a tenant's roles.
    pub async fn get(client: &Client, tenant: TenantId, id: RoleId) -> Result<Option<RoleRow>, QueryError> {
        list::get(client, Self::from(tenant), id.0).await
    }

    /// The plan of a list, for tests.
    pub async fn explain(client: &Client, tenant: TenantId, query: &ListQuery) -> Result<String, QueryError> {
        list::explain(client, Self::from(tenant), query).await
    }
}
