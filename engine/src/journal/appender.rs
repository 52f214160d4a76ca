//! The connection over which a journal appends.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::Position;
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Config, Error, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::statement::{Columns, unsigned};
use super::{AppendError, Appended, Lease};

/// How long opening it may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The append connection with its prepared statements.
pub(super) struct Appender {
    pub(super) client: Client,
    connection: AbortHandle,
    events: Statement,
    all: Statement,
}

impl Appender {
    pub(super) async fn open(config: &Config, tls: &MakeRustlsConnect) -> Result<Self, Error> {
        let mut config = config.clone();
        config.connect_timeout(CONNECT_TIMEOUT).application_name("tenantry journal");
        let (client, connection) = config.connect(tls.clone()).await?;
        // An error shows in the client's next call.
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = %error, "the journal's connection ended");
            }
        })
        .abort_handle();
        client
            .batch_execute(
                "SET synchronous_commit = on; SET jit = off; SET plan_cache_mode = force_generic_plan",
            )
            .await?;
        let (events, all) = futures::try_join!(
            client.prepare(include_str!("sql/append_events.sql")),
            client.prepare(include_str!("sql/append_all.sql"))
        )?;
        Ok(Self { client, connection, events, all })
    }

    pub(super) async fn append(
        &self,
        lease: Lease,
        batch: Uuid,
        after: Option<Uuid>,
        columns: &Columns<'_>,
        now: DateTime<Utc>,
    ) -> Result<Appended, Error> {
        let events = columns.events();
        let mut parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            vec![&lease.shard.0, &lease.epoch, &events, &batch, &now, &after];
        parameters.extend(columns.event_parameters());
        let statement = if columns.is_plain() {
            &self.events
        } else {
            parameters.extend(columns.other_parameters());
            &self.all
        };
        let row = self.client.query_one(statement, &parameters).await?;
        Ok(Appended { base: Position(unsigned(row.get(0))), recorded_at: row.get(1) })
    }

    /// Whether the epoch still stands, and the batch before is the last one.
    pub(super) async fn still_owned(
        &self,
        lease: Lease,
        after: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        let sql = "SELECT epoch, last_position, last_batch_id FROM journal_shard WHERE shard = $1";
        let row = self.client.query_one(sql, &[&lease.shard.0]).await;
        let row = row.map_err(|error| AppendError::Unavailable(error.to_string()))?;
        if row.get::<_, i64>(0) != lease.epoch {
            return Err(AppendError::Fenced { shard: lease.shard, epoch: lease.epoch });
        }
        if after.is_some() && row.get::<_, Option<Uuid>>(2) != after {
            return Err(AppendError::OutOfOrder);
        }
        Ok(Appended { base: Position(unsigned(row.get(1))), recorded_at: now })
    }
}

impl Drop for Appender {
    /// Without this, a connection that has gone silent would stay open until it answers.
    fn drop(&mut self) {
        self.connection.abort();
    }
}
