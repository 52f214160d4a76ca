//! How entries are written: there is one for each command, so that this is the dearest write of all read models.

use std::collections::BTreeSet;
use std::mem::take;

use engine::projection::{FoldError, Parameters, Transaction};
use tokio_postgres::types::ToSql;

use super::{AuditRow, FORGOTTEN};

/// Writes entries, column by column, at the transaction's end. Where people who were forgotten came from is left out, also
/// of what comes after the event that forgot them: a request that was under way then may be told of later.
pub(super) async fn store(tx: &Transaction<'_>, table: &str, rows: Vec<AuditRow>) -> Result<(), FoldError> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "WITH forgotten AS (SELECT DISTINCT resource_id FROM {table} \
         WHERE event_type = '{FORGOTTEN}' AND resource_id = ANY ($21)) \
         INSERT INTO {table} (id, recorded_at, actor, actor_kind, role, scopes, tenant, action, resource_type, resource_id, \
         outcome, status, code, detail, count, event_id, event_type, correlation_id, address, user_agent) \
         SELECT t.id, recorded_at, actor, actor_kind, role, string_to_array(scopes, ' '), tenant, action, resource_type, \
         t.resource_id, outcome, status, code, detail, count, event_id, event_type, correlation_id, \
         CASE WHEN f.resource_id IS NULL THEN address END, CASE WHEN f.resource_id IS NULL THEN user_agent END \
         FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[], \
         $9::text[], $10::text[], $11::text[], $12::integer[], $13::text[], $14::text[], $15::bigint[], $16::uuid[], \
         $17::text[], $18::uuid[], $19::text[], $20::text[]) \
         AS t (id, recorded_at, actor, actor_kind, role, scopes, tenant, action, resource_type, resource_id, outcome, status, \
         code, detail, count, event_id, event_type, correlation_id, address, user_agent) \
         LEFT JOIN forgotten AS f ON f.resource_id = t.actor"
    );
    let statement = tx.prepare_cached(&sql).await?;
    Ok(tx.execute_last(statement, columns(rows)).await?)
}

/// The columns of the rows, in the order of their parameters, and of whom it is told where they came from.
fn columns(mut rows: Vec<AuditRow>) -> Parameters {
    let told = rows.iter().filter(|row| row.address.is_some() || row.user_agent.is_some());
    let told: BTreeSet<&String> = told.map(|row| &row.actor).collect();
    let told: Vec<String> = told.into_iter().cloned().collect();
    let rows = &mut rows;
    vec![
        column(rows, |row| row.id),
        column(rows, |row| row.recorded_at),
        column(rows, |row| take(&mut row.actor)),
        column(rows, |row| row.actor_kind.as_str()),
        column(rows, |row| take(&mut row.role)),
        // A scope holds no blank: that is how events keep them too.
        column(rows, |row| row.scopes.join(" ")),
        column(rows, |row| row.tenant.map(|tenant| tenant.0)),
        column(rows, |row| take(&mut row.action)),
        column(rows, |row| row.resource_type.take()),
        column(rows, |row| row.resource_id.take()),
        column(rows, |row| row.outcome.as_str()),
        column(rows, |row| row.status.map(i32::from)),
        column(rows, |row| row.code.take()),
        column(rows, |row| row.detail.take()),
        column(rows, |row| row.count.cast_signed()),
        column(rows, |row| row.event_id.map(|event| event.0)),
        column(rows, |row| row.event_type.take()),
        column(rows, |row| row.correlation_id.0),
        column(rows, |row| row.address.take()),
        column(rows, |row| row.user_agent.take()),
        Box::new(told),
    ]
}

fn column<T>(rows: &mut [AuditRow], value: impl FnMut(&mut AuditRow) -> T) -> Box<dyn ToSql + Sync + Send>
where
    Vec<T>: ToSql + Sync + Send + 'static,
{
    Box::new(rows.iter_mut().map(value).collect::<Vec<T>>())
}

/// Takes from where they came out of the entries of people whom a batch forgets, those in the table and those among it.
pub(super) async fn forget(
    tx: &Transaction<'_>,
    table: &str,
    forgotten: BTreeSet<String>,
    rows: &mut [AuditRow],
) -> Result<(), FoldError> {
    if forgotten.is_empty() {
        return Ok(());
    }
    for row in rows.iter_mut().filter(|row| forgotten.contains(&row.actor)) {
        (row.address, row.user_agent) = (None, None);
    }
    let sql = format!(
        "UPDATE {table} SET address = NULL, user_agent = NULL \
          WHERE actor = ANY ($1) AND (address IS NOT NULL OR user_agent IS NOT NULL)"
    );
    let actors: Vec<String> = forgotten.into_iter().collect();
    tx.execute(&sql, &[&actors]).await?;
    Ok(())
}
