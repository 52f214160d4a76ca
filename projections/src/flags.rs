//! Flags per tenant, in tables for operators' lists. Polling applications are answered by [`crate::FlagMemory`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
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

/// What a batch leaves of each flag and connection: the last event of each decides.
#[derive(Default)]
struct Outcome {
    flags: BTreeMap<(Uuid, String), Option<FlagRow>>,
    /// Since when, by tenant and application.
    connections: BTreeMap<(Uuid, Uuid), Option<DateTime<Utc>>>,
    /// Tenants that have no flag any more, whatever was there before the batch.
    purged: BTreeSet<Uuid>,
}

impl Outcome {
    fn of(events: &[Arc<Envelope>]) -> Result<Self, FoldError> {
        let mut outcome = Self::default();
        for envelope in events.iter().filter(|envelope| envelope.stream.aggregate_type == "tenant") {
            outcome.fold(envelope, &*envelope.event()?);
        }
        Ok(outcome)
    }

    fn fold(&mut self, envelope: &Envelope, event: &TenantEvent) {
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
                self.flags.insert((id, key.as_str().to_owned()), Some(row));
            }
            TenantEvent::FlagCleared { key } => {
                self.flags.insert((id, key.as_str().to_owned()), None);
            }
            TenantEvent::ApplicationConnected { application } => {
                self.connections.insert((id, application.0), Some(envelope.recorded_at));
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
            | TenantEvent::PasswordPolicyChanged { .. }
            | TenantEvent::SecurityChanged { .. }
            | TenantEvent::OwnerAdded { .. }
            | TenantEvent::OwnerRemoved { .. }
            | TenantEvent::ProvisioningCompleted {}
            | TenantEvent::ProvisioningFailed { .. }
            | TenantEvent::Registered {}
            | TenantEvent::Verified {}
            | TenantEvent::SsoConfigured(_)
            | TenantEvent::SsoUpdated { .. }
            | TenantEvent::SsoRemoved { .. } => {}
        }
    }
}

/// The keys of what is gone, and what is left.
fn split<K, R>(outcome: BTreeMap<K, Option<R>>) -> (Vec<K>, Vec<(K, R)>) {
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    for (key, row) in outcome {
        match row {
            Some(row) => left.push((key, row)),
            None => gone.push(key),
        }
    }
    (gone, left)
}

fn column<'a, R, T>(rows: &'a [R], value: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

async fn store_flags(
    tx: &Transaction<'_>,
    table: &str,
    outcome: BTreeMap<(Uuid, String), Option<FlagRow>>,
) -> Result<(), FoldError> {
    let (gone, left) = split(outcome);
    if !gone.is_empty() {
        let sql = format!(
            "DELETE FROM {table} AS t USING unnest($1::uuid[], $2::text[]) AS gone (tenant, key) \
             WHERE t.tenant = gone.tenant AND t.key = gone.key"
        );
        let statement = tx.prepare_cached(&sql).await?;
        tx.execute(&statement, &[&column(&gone, |key| key.0), &column(&gone, |key| &key.1)]).await?;
    }
    if !left.is_empty() {
        let sql = format!(
            "INSERT INTO {table} (tenant, key, type, value, updated_at, updated_by) \
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::timestamptz[], $6::text[]) \
             ON CONFLICT (tenant, key) DO UPDATE SET type = EXCLUDED.type, value = EXCLUDED.value, \
             updated_at = EXCLUDED.updated_at, updated_by = EXCLUDED.updated_by"
        );
        let statement = tx.prepare_cached(&sql).await?;
        tx.execute(
            &statement,
            &[
                &column(&left, |(_, row)| row.tenant.0),
                &column(&left, |(_, row)| &row.key),
                &column(&left, |(_, row)| &row.kind),
                // A flag of JSON's null has no value either.
                &column(&left, |(_, row)| row.value.as_ref().filter(|value| !value.is_null())),
                &column(&left, |(_, row)| row.updated_at),
                &column(&left, |(_, row)| &row.updated_by),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn store_connections(
    tx: &Transaction<'_>,
    table: &str,
    outcome: BTreeMap<(Uuid, Uuid), Option<DateTime<Utc>>>,
) -> Result<(), FoldError> {
    let (gone, left) = split(outcome);
    if !gone.is_empty() {
        let sql = format!(
            "DELETE FROM {table} AS t USING unnest($1::uuid[], $2::uuid[]) AS gone (tenant, application) \
             WHERE t.tenant = gone.tenant AND t.application = gone.application"
        );
        let (tenants, applications): (Vec<Uuid>, Vec<Uuid>) = gone.into_iter().unzip();
        let statement = tx.prepare_cached(&sql).await?;
        tx.execute(&statement, &[&tenants, &applications]).await?;
    }
    if !left.is_empty() {
        let sql = format!(
            "INSERT INTO {table} (tenant, application, connected_at) \
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) \
             ON CONFLICT (tenant, application) DO UPDATE SET connected_at = EXCLUDED.connected_at"
        );
        let (tenants, applications): (Vec<Uuid>, Vec<Uuid>) = left.iter().map(|(key, _)| *key).unzip();
        let statement = tx.prepare_cached(&sql).await?;
        tx.execute(&statement, &[&tenants, &applications, &column(&left, |(_, since)| *since)]).await?;
    }
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
        store_flags(tx, &tables.name("flags"), outcome.flags).await?;
        store_connections(tx, &tables.name("tenant_applications"), outcome.connections).await
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
