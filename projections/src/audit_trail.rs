//! The audit trail, folded from both feeds: what changed something from the journal, what was refused, failed or only
//! read from the audit ledger (FR-LOG-003).

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use engine::audit::{AuditEvent, AuditOutcome};
use engine::feed::FeedName;
use engine::projection::{FoldError, Projection, Tables, Transaction, view};
use futures::Stream;
use futures::stream;
use kernel::{ActorKind, CorrelationId, Envelope, EventId, TenantId};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::list::{self, Field, Filter, From, ListQuery, ListSpec, Op, Page, QueryError, Scope, SortValue};

const VERSION: i32 = 4;
/// How many rows an export holds in memory at a time.
const EXPORT_ROWS: u32 = 1_000;
/// The aggregate type under which the audit feed gives its entries.
const LEDGER: &str = "audit";
/// The event by which a person is forgotten.
const FORGOTTEN: &str = "user.subject_forgotten";
/// The events that say why a login was unusual (NFR-SEC-006). No other one is decoded.
const LOGINS: [&str; 2] = ["user.login_succeeded", "user.login_challenged"];

/// Folds the audit trail.
pub struct AuditTrail;

/// An entry, as the API shows it (REQUIREMENTS §13).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    pub id: Uuid,
    pub recorded_at: DateTime<Utc>,
    pub actor: String,
    pub actor_kind: ActorKind,
    pub role: String,
    pub scopes: Vec<String>,
    pub tenant: Option<TenantId>,
    pub action: String,
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    pub outcome: AuditOutcome,
    /// The HTTP status, of what made no event.
    pub status: Option<u16>,
    pub code: Option<String>,
    /// Of an unusual login: why it was, such as `new_device,odd_hour`.
    pub detail: Option<String>,
    /// How many like it this entry stands for.
    pub count: u64,
    /// The first event of the command.
    pub event_id: Option<EventId>,
    pub event_type: Option<String>,
    pub correlation_id: CorrelationId,
    pub address: Option<String>,
    pub user_agent: Option<String>,
}

impl AuditRow {
    /// One entry for each command and each entry of the ledger; `None` for a command's further events.
    fn of(envelope: &Envelope) -> Result<Option<Self>, FoldError> {
        let metadata = &envelope.metadata;
        let mut row = Self {
            id: envelope.event_id.0,
            recorded_at: envelope.recorded_at,
            actor: metadata.actor.id.clone(),
            actor_kind: metadata.actor.kind,
            role: metadata.role.clone(),
            scopes: metadata.scopes.clone(),
            tenant: metadata.tenant,
            action: metadata.action.clone(),
            resource_type: Some(envelope.stream.aggregate_type.to_string()),
            resource_id: Some(envelope.stream.id.to_string()),
            outcome: AuditOutcome::Success,
            status: None,
            code: None,
            detail: None,
            count: 1,
            event_id: Some(envelope.event_id),
            event_type: Some(envelope.event_type.to_string()),
            correlation_id: metadata.correlation_id,
            address: metadata.origin.address.clone(),
            user_agent: metadata.origin.user_agent.clone(),
        };
        if envelope.stream.aggregate_type == LEDGER {
            let AuditEvent::Recorded(fact) = envelope.decode()?;
            row.id = envelope.stream.id;
            row.resource_type = fact.resource_type;
            row.resource_id = fact.resource_id;
            row.outcome = fact.outcome;
            row.status = Some(fact.status);
            row.code = fact.code;
            row.detail = fact.detail;
            row.count = fact.count;
            row.event_id = None;
            row.event_type = None;
            return Ok(Some(row));
        }
        let begins_a_command = envelope.index_in_command == 0 && envelope.part == 0;
        Ok(begins_a_command.then_some(row))
    }
}

#[async_trait]
impl Projection for AuditTrail {
    fn name(&self) -> &'static str {
        "audit_trail"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn feeds(&self) -> &'static [FeedName] {
        &[FeedName::Journal, FeedName::Audit]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["audit_trail"]
    }

    fn sql(&self) -> &'static str {
        include_str!("audit_trail.sql")
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError> {
        let table = tables.name("audit_trail");
        let mut rows = Vec::with_capacity(events.len());
        let mut forgotten = BTreeSet::new();
        for envelope in events {
            if envelope.event_type == FORGOTTEN {
                forgotten.insert(envelope.stream.id.to_string());
            }
            let reasons = reasons(envelope)?;
            match (AuditRow::of(envelope)?, reasons) {
                (Some(row), reasons) => rows.push(AuditRow { detail: reasons.or(row.detail), ..row }),
                (None, Some(reasons)) => {
                    explain_command(tx, &table, &mut rows, envelope, reasons).await?;
                }
                (None, None) => {}
            }
        }
        store::forget(tx, &table, forgotten, &mut rows).await?;
        store::store(tx, &table, rows).await
    }
}

/// As much of a login's event as is told: its reasons, whichever words they are.
#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    risk: Vec<String>,
}

/// Why a login was unusual.
fn reasons(envelope: &Envelope) -> Result<Option<String>, FoldError> {
    if !LOGINS.contains(&&*envelope.event_type) {
        return Ok(None);
    }
    let event: BTreeMap<String, Login> = envelope.payload.decode()?;
    Ok(event.into_values().map(|login| login.risk.join(",")).find(|reasons| !reasons.is_empty()))
}

/// Where the second factor is used up first, a login is a further event of its command: then the reasons belong to the
/// entry that the command has, among these or already in the table.
async fn explain_command(
    tx: &Transaction<'_>,
    table: &str,
    rows: &mut [AuditRow],
    login: &Envelope,
    reasons: String,
) -> Result<(), FoldError> {
    let (correlation, stream) = (login.metadata.correlation_id, login.stream.id.to_string());
    // A stream's events of one command follow each other.
    let of_command = |row: &&mut AuditRow| {
        row.event_id.is_some()
            && row.correlation_id == correlation
            && row.resource_id.as_deref() == Some(stream.as_str())
    };
    if let Some(row) = rows.iter_mut().rev().find(of_command) {
        row.detail = Some(reasons);
        return Ok(());
    }
    let sql = format!(
        "UPDATE {table} SET detail = $3 WHERE id = (SELECT id FROM {table} \
          WHERE correlation_id = $1 AND resource_id = $2 AND event_id IS NOT NULL ORDER BY recorded_at DESC LIMIT 1)"
    );
    tx.execute(&sql, &[&correlation.0, &stream, &reasons]).await?;
    Ok(())
}

/// From when until when, the end excluded. A side that is `None` is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditRange {
    pub from: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

impl AuditTrail {
    /// What may be listed, and how.
    pub const LIST: &'static ListSpec = &ListSpec {
        fields: &[
            Field::time("recorded_at", "t.recorded_at").sortable(),
            Field::text("actor", "t.actor"),
            Field::word(
                "actor_kind",
                "t.actor_kind",
                &["user", "operator", "system", "application", "anonymous"],
            ),
            Field::text("role", "t.role"),
            Field::id("tenant", "t.tenant"),
            Field::text("action", "t.action"),
            Field::text("resource_type", "t.resource_type"),
            Field::text("resource_id", "t.resource_id"),
            Field::word("outcome", "t.outcome", &["success", "failure", "denied"]),
            Field::text("code", "t.code"),
            Field::text("event_type", "t.event_type"),
            Field::id("event_id", "t.event_id"),
            Field::id("correlation_id", "t.correlation_id"),
            Field::text("address", "t.address"),
        ],
        default_sort: "-recorded_at",
    };

    /// The rows that a query is about. Those of certain resources are looked up as what they are: in the index of resources,
    /// and, as far as they are tenants themselves, in that of tenants.
    fn of_query(query: &mut ListQuery) -> (String, Vec<SortValue>) {
        let rows = view("audit_trail", VERSION);
        let certain =
            |filter: &Filter| filter.field.name == "resource_id" && matches!(filter.op, Op::Eq | Op::In);
        let Some(at) = query.filters.iter().position(certain) else {
            return (format!("{rows} AS t"), Vec::new());
        };
        let resources = query.filters.remove(at).values;
        let tenant = |resource: &SortValue| match resource {
            // A tenant's id is written in one way only.
            SortValue::Text(text) => Uuid::try_parse(text).ok().filter(|id| id.to_string() == *text),
            SortValue::Uuid(_) | SortValue::Time(_) => None,
        };
        let tenants: Vec<SortValue> = resources.iter().filter_map(tenant).map(SortValue::Uuid).collect();
        let any = |count: usize| vec!["$?"; count].join(", ");
        let others = format!(
            "SELECT * FROM {rows} WHERE resource_id IN ({}) AND resource_id IS DISTINCT FROM tenant::text",
            any(resources.len())
        );
        let themselves = format!(
            "SELECT * FROM {rows} WHERE tenant IN ({}) AND resource_id = tenant::text",
            any(tenants.len())
        );
        let tables = if tenants.is_empty() {
            format!("({others}) AS t")
        } else {
            format!("({others} UNION ALL {themselves}) AS t")
        };
        (tables, resources.into_iter().chain(tenants).collect())
    }

    fn from(scope: Scope, range: AuditRange, (tables, values): (String, Vec<SortValue>)) -> From {
        let mut conditions = Vec::new();
        if let Scope::Tenant(tenant) = scope {
            conditions.push(("t.tenant = $?".to_owned(), SortValue::Uuid(tenant.0)));
        }
        if let Some(from) = range.from {
            conditions.push(("t.recorded_at >= $?".to_owned(), SortValue::Time(from)));
        }
        if let Some(until) = range.until {
            conditions.push(("t.recorded_at < $?".to_owned(), SortValue::Time(until)));
        }
        From { row: "row_to_json(t)", tables, values, id: "t.id", conditions }
    }

    pub async fn list(
        client: &Client,
        scope: Scope,
        range: AuditRange,
        query: &ListQuery,
    ) -> Result<Page<AuditRow>, QueryError> {
        let mut query = query.clone();
        let of = Self::of_query(&mut query);
        list::list(client, Self::from(scope, range, of), &query).await
    }

    /// One entry, if the scope may see it.
    pub async fn get(client: &Client, scope: Scope, id: Uuid) -> Result<Option<AuditRow>, QueryError> {
        let all = (format!("{} AS t", view("audit_trail", VERSION)), Vec::new());
        list::get(client, Self::from(scope, AuditRange::default(), all), id).await
    }

    /// All entries of a query, in its order and however many, for an export (FR-LOG-002).
    ///
    /// Read page by page, so that neither memory nor an open transaction grows with the export, and a slow reader
    /// holds nothing up. The query's own limit and place don't count. It ends after the first error.
    pub fn stream(
        pool: Pool,
        scope: Scope,
        range: AuditRange,
        mut query: ListQuery,
    ) -> impl Stream<Item = Result<AuditRow, ExportError>> + Send {
        query.limit = EXPORT_ROWS;
        query.after = None;
        let pages = stream::try_unfold(Some(query), move |query| {
            let pool = pool.clone();
            async move {
                let Some(mut query) = query else { return Ok::<_, ExportError>(None) };
                let client = pool.get().await?;
                let page = Self::list(&client, scope, range, &query).await?;
                let next = page.next.map(|next| {
                    query.after = Some(next);
                    query
                });
                Ok(Some((stream::iter(page.rows.into_iter().map(Ok)), next)))
            }
        });
        futures::TryStreamExt::try_flatten(pages)
    }

    /// The plan of a list, for tests.
    pub async fn explain(
        client: &Client,
        scope: Scope,
        range: AuditRange,
        query: &ListQuery,
    ) -> Result<String, QueryError> {
        let mut query = query.clone();
        let of = Self::of_query(&mut query);
        list::explain(client, Self::from(scope, range, of), &query).await
    }
}

/// An export can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
}
