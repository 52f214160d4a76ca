//! From a checked query to SQL: texts of ours, and bound parameters.

use kernel::TenantId;
use serde::de::DeserializeOwned;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{FieldType, ListQuery, Op, Page, QueryError, Sort, SortValue};

/// What a list reads.
pub(crate) struct From {
    /// The row as JSON, such as `row_to_json(t)`.
    pub row: &'static str,
    /// The tables, the main one called `t`, such as `read_model.flags_v1 AS t`.
    pub tables: String,
    /// What each `$?` in them stands for.
    pub values: Vec<SortValue>,
    /// The unique id that breaks ties, such as `t.id`.
    pub id: &'static str,
    /// Conditions that always hold (whose rows may be seen), with their values.
    pub conditions: Vec<(String, SortValue)>,
}

impl From {
    /// Every row of some tables, with the id `t.id`.
    pub fn all(row: &'static str, tables: String) -> Self {
        Self { row, tables, values: Vec::new(), id: "t.id", conditions: Vec::new() }
    }

    /// The tables, with their values bound.
    fn bound(&self, bound: &mut Bound) -> String {
        let bind = |tables: String, value| tables.replacen("$?", &bound.add(value), 1);
        self.values.iter().fold(self.tables.clone(), bind)
    }

    /// Those for which a condition on a tenant holds; `$?` stands for its id.
    pub fn only(mut self, condition: String, tenant: TenantId) -> Self {
        self.conditions.push((condition, SortValue::Uuid(tenant.0)));
        self
    }
}

/// Bound parameters, numbered from 1.
#[derive(Default)]
struct Bound {
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Bound {
    fn add(&mut self, value: &SortValue) -> String {
        match value {
            SortValue::Text(text) => self.push(text.clone(), Type::TEXT),
            SortValue::Uuid(id) => self.push(*id, Type::UUID),
            SortValue::Time(time) => self.push(*time, Type::TIMESTAMPTZ),
        }
    }

    fn push(&mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    fn list(&mut self, values: &[SortValue]) -> String {
        let list: Vec<String> = values.iter().map(|value| self.add(value)).collect();
        list.join(", ")
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}

/// The page of rows that a query asks for.
pub(crate) async fn list<R: DeserializeOwned>(
    client: &Client,
    from: From,
    query: &ListQuery,
) -> Result<Page<R>, QueryError> {
    let (sql, bound) = statement(&from, query);
    let found = client.query_typed(&sql, &bound.parameters()).await?;
    let mut rows = Vec::with_capacity(found.len());
    let limit = query.limit as usize;
    for row in found.iter().take(limit) {
        rows.push(serde_json::from_str(row.get(0))?);
    }
    let next = (found.len() > limit).then(|| place(&found[limit - 1], query));
    Ok(Page { rows, next })
}

/// One row by its id, if the conditions let it be seen.
pub(crate) async fn get<R: DeserializeOwned>(
    client: &Client,
    from: From,
    id: Uuid,
) -> Result<Option<R>, QueryError> {
    let mut bound = Bound::default();
    let tables = from.bound(&mut bound);
    let mut conditions = vec![format!("{} = {}", from.id, bound.add(&SortValue::Uuid(id)))];
    for (condition, value) in &from.conditions {
        let parameter = bound.add(value);
        conditions.push(condition.replace("$?", &parameter));
    }
    let sql = format!("SELECT {}::text FROM {tables} WHERE {}", from.row, conditions.join(" AND "));
    let row = client.query_typed_opt(&sql, &bound.parameters()).await?;
    row.map(|row| serde_json::from_str(row.get(0))).transpose().map_err(QueryError::from)
}

/// Where a row stands in the order.
fn place(row: &tokio_postgres::Row, query: &ListQuery) -> Vec<SortValue> {
    let mut place: Vec<SortValue> = query
        .sort
        .iter()
        .enumerate()
        .map(|(index, sort)| match sort.field.kind {
            FieldType::Text | FieldType::Word(_) => SortValue::Text(row.get(index + 1)),
            FieldType::Uuid => SortValue::Uuid(row.get(index + 1)),
            FieldType::Time => SortValue::Time(row.get(index + 1)),
        })
        .collect();
    place.push(SortValue::Uuid(row.get::<_, Uuid>(query.sort.len() + 1)));
    place
}

fn statement(from: &From, query: &ListQuery) -> (String, Bound) {
    let mut bound = Bound::default();
    let tables = from.bound(&mut bound);
    let mut conditions: Vec<String> = Vec::new();
    for (condition, value) in &from.conditions {
        let parameter = bound.add(value);
        conditions.push(condition.replace("$?", &parameter));
    }
    for filter in &query.filters {
        let column = filter.field.column;
        let values = bound.list(&filter.values);
        conditions.push(match filter.op {
            Op::Eq => format!("{column} = {values}"),
            Op::Ne => format!("{column} IS DISTINCT FROM {values}"),
            Op::Gt => format!("{column} > {values}"),
            Op::Lt => format!("{column} < {values}"),
            Op::In => format!("{column} IN ({values})"),
            // No escape character, so that no pattern is malformed.
            Op::Like => format!("{column} ILIKE {values} ESCAPE ''"),
        });
    }
    if let Some(after) = &query.after {
        conditions.push(beyond(from.id, &query.sort, after, &mut bound));
    }
    let selected: String = query.sort.iter().map(|sort| format!(", {}", sort.field.column)).collect();
    let filter =
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let order: String = query
        .sort
        .iter()
        .map(|sort| format!("{}{}, ", sort.field.column, direction(sort.descending)))
        .collect();
    let sql = format!(
        "SELECT {row}::text{selected}, {id} FROM {tables}{filter} ORDER BY {order}{id}{last} LIMIT {limit}",
        row = from.row,
        id = from.id,
        last = direction(ties_descend(&query.sort)),
        limit = query.limit + 1,
    );
    (sql, bound)
}

fn direction(descending: bool) -> &'static str {
    if descending { " DESC" } else { "" }
}

/// Ties are broken in the direction of the last field, so that one index serves both.
fn ties_descend(sort: &[Sort]) -> bool {
    sort.last().is_some_and(|sort| sort.descending)
}

/// The rows after a place. One direction: a row comparison, which an index answers. Mixed: the first field bounds
/// what is read, the rest is compared field by field.
fn beyond(id: &str, sort: &[Sort], after: &[SortValue], bound: &mut Bound) -> String {
    let mut places: Vec<(&str, bool, String)> = sort
        .iter()
        .zip(after)
        .map(|(sort, value)| (sort.field.column, sort.descending, bound.add(value)))
        .collect();
    places.push((id, ties_descend(sort), bound.add(&after[after.len() - 1])));
    let than = |descending: bool| if descending { "<" } else { ">" };
    let first_descends = places[0].1;
    if places.iter().all(|place| place.1 == first_descends) {
        let columns: Vec<&str> = places.iter().map(|place| place.0).collect();
        let values: Vec<&str> = places.iter().map(|place| place.2.as_str()).collect();
        return format!("({}) {} ({})", columns.join(", "), than(first_descends), values.join(", "));
    }
    let mut beyond = String::from("false");
    for (column, descending, value) in places.iter().rev() {
        beyond = format!("({column} {} {value} OR ({column} = {value} AND {beyond}))", than(*descending));
    }
    let (column, _, value) = &places[0];
    format!("{column} {}= {value} AND {beyond}", than(first_descends))
}

/// The plan of a list, for tests.
pub(crate) async fn explain(client: &Client, from: From, query: &ListQuery) -> Result<String, QueryError> {
    let (sql, bound) = statement(&from, query);
    let rows = client.query_typed(&format!("EXPLAIN {sql}"), &bound.parameters()).await?;
    Ok(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n"))
}
