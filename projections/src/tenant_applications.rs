//! Which applications a tenant uses, for lists of both. Who polls flags is looked up in [`crate::FlagMemory`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::feed::Interest;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
use kernel::{ApplicationId, Envelope, TenantId};
use schemas::events::TenantEvent;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::list::QueryError;

/// The first version was fed by the read model of flags.
pub(crate) const VERSION: i32 = 2;

/// Folds connections.
pub struct TenantApplications;

/// The tenant and application that an event connects, or parts (`false`).
fn connection(envelope: &Envelope) -> Result<Option<(Uuid, Uuid, bool)>, FoldError> {
    if envelope.stream.aggregate_type != "tenant" {
        return Ok(None);
    }
    let event: Arc<TenantEvent> = envelope.event()?;
    let (application, connected) = match &*event {
        TenantEvent::ApplicationConnected { application } => (application, true),
        TenantEvent::ApplicationDisconnected { application } => (application, false),
        TenantEvent::Provisioned(_)
        | TenantEvent::Updated { .. }
        | TenantEvent::TrialSet { .. }
        | TenantEvent::Suspended { .. }
        | TenantEvent::Reactivated { .. }
        | TenantEvent::PlanChanged { .. }
        | TenantEvent::AccessModeSet { .. }
        | TenantEvent::PasswordPolicyChanged { .. }
        | TenantEvent::SecurityChanged { .. }
        | TenantEvent::FlagSet { .. }
        | TenantEvent::FlagCleared { .. }
        | TenantEvent::OwnerAdded { .. }
        | TenantEvent::OwnerRemoved { .. }
        | TenantEvent::ProvisioningCompleted {}
        | TenantEvent::ProvisioningFailed { .. }
        | TenantEvent::Purged {}
        | TenantEvent::Registered {}
        | TenantEvent::Verified {}
        | TenantEvent::SsoConfigured(_)
        | TenantEvent::SsoUpdated { .. }
        | TenantEvent::SsoRemoved { .. } => return Ok(None),
    };
    Ok(Some((envelope.stream.id, application.0, connected)))
}

#[async_trait]
impl Projection for TenantApplications {
    fn name(&self) -> &'static str {
        "tenant_applications"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["tenant"])
    }

    fn concerns(&self, event: &Envelope) -> bool {
        connection(event).map_or(true, |connection| connection.is_some())
    }

    fn tables(&self) -> &'static [&'static str] {
        &["tenant_applications"]
    }

    fn sql(&self) -> &'static str {
        include_str!("tenant_applications.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        let table = tables.name("tenant_applications");
        // The last event of each decides: since when, or not at all.
        let mut left: BTreeMap<(Uuid, Uuid), Option<DateTime<Utc>>> = BTreeMap::new();
        for envelope in events {
            if let Some((tenant, application, connected)) = connection(envelope)? {
                left.insert((tenant, application), connected.then_some(envelope.recorded_at));
            }
        }
        let (connected, gone): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, since)| since.is_some());
        if !gone.is_empty() {
            let sql = format!(
                "DELETE FROM {table} AS t USING unnest($1::uuid[], $2::uuid[]) AS gone (tenant, application) \
                 WHERE t.tenant = gone.tenant AND t.application = gone.application"
            );
            let (tenants, applications): (Vec<Uuid>, Vec<Uuid>) =
                gone.into_iter().map(|(key, _)| key).unzip();
            let statement = tx.prepare_cached(&sql).await?;
            tx.execute(&statement, &[&tenants, &applications]).await?;
        }
        if !connected.is_empty() {
            let sql = format!(
                "INSERT INTO {table} (tenant, application, connected_at) \
                 SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) \
                 ON CONFLICT (tenant, application) DO UPDATE SET connected_at = EXCLUDED.connected_at"
            );
            let (tenants, applications): (Vec<Uuid>, Vec<Uuid>) =
                connected.iter().map(|(key, _)| *key).unzip();
            let since: Vec<_> = connected.into_iter().map(|(_, since)| since).collect();
            let statement = tx.prepare_cached(&sql).await?;
            tx.execute(&statement, &[&tenants, &applications, &since]).await?;
        }
        Ok(())
    }
}

impl TenantApplications {
    /// The applications a tenant is connected to.
    pub async fn of(client: &Client, tenant: TenantId) -> Result<Vec<ApplicationId>, QueryError> {
        let connections = view("tenant_applications", VERSION);
        let sql = format!("SELECT application FROM {connections} WHERE tenant = $1 ORDER BY application");
        let rows = client.query(&sql, &[&tenant.0]).await?;
        Ok(rows.iter().map(|row| ApplicationId(row.get(0))).collect())
    }
}
