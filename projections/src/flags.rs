//! Flags per tenant, in tables for operators' lists. Polling applications are answered by [`crate::FlagMemory`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, view};
use kernel::{ApplicationId, Envelope, TenantId};
use schemas::events::TenantEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::list::QueryError;

pub(crate) const VERSION: i32 = 1;

/// Folds flags and connections.
pub struct Flags;

/// A flag, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlagRow {
    pub tenant: TenantId,
    pub key: String,
    /// `boolean`, `string`, `number`, `json`, or `forgotten`.
    #[serde(rename = "type")]
    pub kind: String,
    pub value: Option<Value>,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

#[derive(Serialize)]
struct Connection {
    tenant: TenantId,
    application: ApplicationId,
    connected_at: DateTime<Utc>,
}

/// What a batch leaves of each flag and connection: the last event of each decides.
#[derive(Default)]
struct Outcome {
    flags: BTreeMap<(Uuid, String), Option<FlagRow>>,
    connections: BTreeMap<(Uuid, Uuid), Option<Connection>>,
    /// Tenants that have no flag any more, whatever was there before the batch.
    purged: BTreeSet<Uuid>,
}

impl Outcome {
    fn of(events: &[Arc<Envelope>]) -> Result<Self, FoldError> {
        let mut outcome = Self::default();
        for envelope in events.iter().filter(|envelope| envelope.stream.aggregate_type == "tenant") {
            outcome.fold(envelope, envelope.decode()?);
        }
        Ok(outcome)
    }

    fn fold(&mut self, envelope: &Envelope, event: TenantEvent) {
        let id = envelope.stream.id;
        let tenant = TenantId(id);
        match event {
            TenantEvent::FlagSet { key, value } => {
                let row = FlagRow {
                    tenant,
                    key: key.as_str().to_owned(),
                    kind: value.reveal().map_or("forgotten", |value| value.type_word()).to_owned(),
                    value: value.reveal().map(|value| value.to_json()),
                    updated_at: envelope.recorded_at,
                    updated_by: envelope.metadata.actor.id.clone(),
                };
                self.flags.insert((id, key.into()), Some(row));
            }
            TenantEvent::FlagCleared { key } => {
                self.flags.insert((id, key.into()), None);
            }
            TenantEvent::ApplicationConnected { application } => {
                let connected_at = envelope.recorded_at;
                let row = Connection { tenant, application, connected_at };
                self.connections.insert((id, application.0), Some(row));
            }
            TenantEvent::ApplicationDisconnected { application } => {
                self.connections.insert((id, application.0), None);
            }
            TenantEvent::Purged {} => {
                self.flags.retain(|(tenant, _), _| *tenant != id);
                self.purged.insert(id);
            }
            // The other events of a tenant say nothing about flags.
            TenantEvent::Provisioned(_)
            | TenantEvent::Updated { .. }
            | TenantEvent::TrialSet { .. }
            | TenantEvent::Suspended { .. }
            | TenantEvent::Reactivated { .. }
            | TenantEvent::PlanChanged { .. }
            | TenantEvent::AccessModeSet { .. }
            | TenantEvent::OwnerAdded { .. }
            | TenantEvent::OwnerRemoved { .. }
            | TenantEvent::ProvisioningCompleted {}
            | TenantEvent::ProvisioningFailed { .. } => {}
        }
    }
}

/// Deletes what is gone and upserts what is left, each in one statement.
async fn store<K: Serialize, R: Serialize>(
    tx: &Transaction<'_>,
    table: &str,
    key: [&str; 2],
    outcome: BTreeMap<K, Option<R>>,
) -> Result<(), FoldError> {
    let mut gone = Vec::new();
    let mut left = Vec::new();
    for (id, row) in outcome {
        match row {
            Some(row) => left.push(serde_json::to_value(row)?),
            None => gone.push(serde_json::to_value(id)?),
        }
    }
    let [first, second] = key;
    if !gone.is_empty() {
        let sql = format!(
            "DELETE FROM {table} AS t USING json_array_elements($1) AS gone \
             WHERE t.{first} = (gone ->> 0)::uuid AND t.{second}::text = gone ->> 1"
        );
        let statement = tx.prepare_cached(&sql).await?;
        tx.execute(&statement, &[&Value::Array(gone)]).await?;
    }
    let Some(columns) = left.first().and_then(Value::as_object) else { return Ok(()) };
    let columns: Vec<&str> = columns.keys().map(String::as_str).collect();
    let set: Vec<String> = columns.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
    let sql = format!(
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1) \
         ON CONFLICT ({first}, {second}) DO UPDATE SET {set}",
        columns = columns.join(", "),
        set = set.join(", "),
    );
    let statement = tx.prepare_cached(&sql).await?;
    tx.execute(&statement, &[&Value::Array(left)]).await?;
    Ok(())
}

#[async_trait]
impl Projection for Flags {
    fn name(&self) -> &'static str {
        "flags"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["tenant"])
    }

    fn tables(&self) -> &'static [&'static str] {
        &["flags", "tenant_applications"]
    }

    fn sql(&self) -> &'static str {
        include_str!("flags.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        let outcome = Outcome::of(events)?;
        if !outcome.purged.is_empty() {
            let purged: Vec<Uuid> = outcome.purged.into_iter().collect();
            let sql = format!("DELETE FROM {} WHERE tenant = ANY ($1)", tables.name("flags"));
            tx.execute(&sql, &[&purged]).await?;
        }
        store(tx, &tables.name("flags"), ["tenant", "key"], outcome.flags).await?;
        let connections = tables.name("tenant_applications");
        store(tx, &connections, ["tenant", "application"], outcome.connections).await
    }
}

impl Flags {
    /// The query behind [`Flags::list`]; a tenant's plan bounds how many rows it gives.
    fn list_sql() -> String {
        let flags = view("flags", VERSION);
        format!("SELECT row_to_json(t)::text FROM {flags} AS t WHERE tenant = $1 ORDER BY key")
    }

    /// All flags of a tenant, by key.
    pub async fn list(client: &Client, tenant: TenantId) -> Result<Vec<FlagRow>, QueryError> {
        let rows = client.query(&Self::list_sql(), &[&tenant.0]).await?;
        rows.iter().map(|row| serde_json::from_str(row.get(0)).map_err(QueryError::from)).collect()
    }

    /// One flag of a tenant.
    pub async fn get(client: &Client, tenant: TenantId, key: &str) -> Result<Option<FlagRow>, QueryError> {
        let flags = view("flags", VERSION);
        let sql = format!("SELECT row_to_json(t)::text FROM {flags} AS t WHERE tenant = $1 AND key = $2");
        let row = client.query_opt(&sql, &[&tenant.0, &key]).await?;
        row.map(|row| serde_json::from_str(row.get(0))).transpose().map_err(QueryError::from)
    }

    /// The applications a tenant is connected to.
    pub async fn applications(client: &Client, tenant: TenantId) -> Result<Vec<ApplicationId>, QueryError> {
        let connections = view("tenant_applications", VERSION);
        let sql = format!("SELECT application FROM {connections} WHERE tenant = $1 ORDER BY application");
        let rows = client.query(&sql, &[&tenant.0]).await?;
        Ok(rows.iter().map(|row| ApplicationId(row.get(0))).collect())
    }

    /// The plan of [`Flags::list`], for tests.
    pub async fn explain(client: &Client, tenant: TenantId) -> Result<String, QueryError> {
        let rows = client.query(&format!("EXPLAIN {}", Self::list_sql()), &[&tenant.0]).await?;
        Ok(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n"))
    }
}
