//! Reads the store past the library: every acknowledged command is there once and no other, under the id that was told.
//!
//! The store has no versions. Each event says instead how many events of its tenant its decision has seen, and those that
//! had not seen all are counted: the library lets some pass (see ../README.md), and a figure is given with their number.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use disintegrate_postgres::PgEventId;
use futures::TryStreamExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, FromRow};
use uuid::Uuid;

use crate::load::{Worker, number_of};

/// A payload is one object, named by the type of the event.
const EVENTS: &str = "
    SELECT event_id, event_type, tenant, (body ->> 'tenant')::uuid AS named, body -> 'value' ->> 'value' AS value,
           coalesce((body ->> 'after')::bigint, 0) AS after
    FROM (SELECT *, convert_from(payload, 'UTF8')::jsonb -> event_type AS body FROM event) AS events
    ORDER BY event_id";

#[derive(FromRow)]
struct Stored {
    event_id: PgEventId,
    event_type: String,
    tenant: Uuid,
    named: Uuid,
    value: Option<String>,
    after: i64,
}

/// Gives how many events were decided on without all that their tenant had.
pub async fn verify(to: &PgConnectOptions, tenants: &[Uuid], workers: &[Worker]) -> Result<u64> {
    for worker in workers {
        ensure!(
            worker.acknowledged.is_sorted_by(|(_, one), (_, next)| one < next),
            "a command that was sent after another was answered has a lower event id"
        );
    }
    let mut expected: HashMap<u64, PgEventId> =
        workers.iter().flat_map(|worker| &worker.acknowledged).copied().collect();
    let acknowledged = expected.len();
    let mut events: HashMap<Uuid, i64> = tenants.iter().map(|tenant| (*tenant, 0)).collect();
    let mut connection = to.connect().await?;
    let mut rows = sqlx::query_as::<_, Stored>(EVENTS).fetch(&mut connection);
    let mut stale = 0;
    while let Some(row) = rows.try_next().await? {
        stale += u64::from(row.count_in(&mut events)?);
        if row.event_type == "FlagSet" {
            row.ensure_is_due(&mut expected)?;
        }
    }
    ensure!(
        expected.is_empty(),
        "{} of {acknowledged} acknowledged commands are not in the store, such as {}",
        expected.len(),
        expected.keys().min().context("there is one")?
    );
    let missing = events.values().filter(|count| **count == 0).count();
    ensure!(
        missing == 0,
        "{missing} of {} tenants that were provisioned are not in the store",
        tenants.len()
    );
    Ok(stale)
}

impl Stored {
    /// True if the decision had not seen all events of the tenant that are before.
    fn count_in(&self, events: &mut HashMap<Uuid, i64>) -> Result<bool> {
        let Self { event_id, tenant, named, after, .. } = self;
        ensure!(tenant == named, "event {event_id} lies with tenant {tenant} and is of {named}");
        let before = events.get_mut(tenant).with_context(|| format!("nobody provisioned tenant {tenant}"))?;
        let first = *before == 0;
        ensure!(
            first == (self.event_type == "TenantProvisioned"),
            "event {event_id} of tenant {tenant} is a {} as number {} of the tenant",
            self.event_type,
            *before + 1
        );
        let stale = after != before;
        *before += 1;
        Ok(stale)
    }

    fn ensure_is_due(&self, expected: &mut HashMap<u64, PgEventId>) -> Result<()> {
        let Self { event_id, tenant, .. } = self;
        let number = self.value.as_deref().and_then(number_of);
        let number =
            number.with_context(|| format!("event {event_id} of tenant {tenant} is no flag of ours"))?;
        let told = expected.remove(&number).with_context(|| {
            format!("the flag event {number} of tenant {tenant} is there twice, or nobody was told of it")
        })?;
        ensure!(told == *event_id, "the flag event {number} has the id {event_id}, and {told} was told");
        Ok(())
    }
}
