//! Lists: what may be filtered and sorted by, and the page after a given row.
//!
//! A field, an operator or a sort order that is not on a read model's allow-list never reaches SQL, and no value ever
//! does but as a bound parameter.

mod parse;
mod sql;

use chrono::{DateTime, Utc};
use kernel::TenantId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use sql::{From, explain, get, list};

/// The rows of a page, unless another number is asked for.
pub const LIMIT_DEFAULT: u32 = 50;
pub const LIMIT_MAX: u32 = 200;
/// How many filters, sort fields and values of an `in` one list takes.
pub const FILTERS_MAX: usize = 10;
pub const SORTS_MAX: usize = 3;
pub const IN_VALUES_MAX: usize = 100;
/// The longest value of a filter, in bytes.
pub const VALUE_BYTES_MAX: usize = 512;

/// Whose rows may be seen. Every query takes one; there is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All tenants', for platform roles.
    Platform,
    /// One tenant's.
    Tenant(TenantId),
}

/// What may be listed of a read model, and how.
#[derive(Debug)]
pub struct ListSpec {
    pub fields: &'static [Field],
    /// Used when no order is asked for, such as `-created_at`.
    pub default_sort: &'static str,
}

/// A field on an allow-list.
#[derive(Debug)]
pub struct Field {
    /// As it is called on the wire.
    pub name: &'static str,
    /// The expression it stands for, over the row `t`. Sortable ones are indexed and never null.
    pub column: &'static str,
    pub kind: FieldType,
    pub ops: &'static [Op],
    pub sortable: bool,
}

impl Field {
    pub(crate) const fn text(name: &'static str, column: &'static str) -> Self {
        let ops = &[Op::Eq, Op::Ne, Op::In, Op::Like];
        Self { name, column, kind: FieldType::Text, ops, sortable: false }
    }

    pub(crate) const fn word(
        name: &'static str,
        column: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        let ops = &[Op::Eq, Op::Ne, Op::In];
        Self { name, column, kind: FieldType::Word(words), ops, sortable: false }
    }

    pub(crate) const fn id(name: &'static str, column: &'static str) -> Self {
        let ops = &[Op::Eq, Op::Ne, Op::In];
        Self { name, column, kind: FieldType::Uuid, ops, sortable: false }
    }

    pub(crate) const fn time(name: &'static str, column: &'static str) -> Self {
        Self { name, column, kind: FieldType::Time, ops: &[Op::Gt, Op::Lt], sortable: false }
    }

    pub(crate) const fn sortable(self) -> Self {
        Self { sortable: true, ..self }
    }
}

/// The words of a closed set, for a [`FieldType::Word`].
macro_rules! words {
    ($set:ty) => {{
        const COUNT: usize = <$set>::ALL.len();
        const WORDS: [&str; COUNT] = {
            let mut words = [""; COUNT];
            let mut index = 0;
            while index < COUNT {
                words[index] = <$set>::ALL[index].as_str();
                index += 1;
            }
            words
        };
        WORDS
    }};
}
pub(crate) use words;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    Uuid,
    /// RFC 3339.
    Time,
}

/// Operators, as in `filter[name][like]=acme%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Gt,
    Lt,
    /// One of the values between the commas.
    In,
    /// `%` stands for any characters, `_` for one; case doesn't count.
    Like,
}

/// A value in a filter or a cursor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortValue {
    Text(String),
    Uuid(Uuid),
    Time(DateTime<Utc>),
}

/// One condition; all of a query's must hold.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(crate) field: &'static Field,
    pub(crate) op: Op,
    pub(crate) values: Vec<SortValue>,
}

#[derive(Clone, Copy, Debug)]
pub struct Sort {
    pub(crate) field: &'static Field,
    pub(crate) descending: bool,
}

/// A list as it is asked for. Made by [`ListSpec::query`], so that it holds nothing but what is allowed.
#[derive(Clone, Debug)]
pub struct ListQuery {
    pub(crate) filters: Vec<Filter>,
    pub(crate) sort: Vec<Sort>,
    pub(crate) limit: u32,
    pub(crate) after: Option<Vec<SortValue>>,
}

impl ListQuery {
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The names of the fields that it selects and sorts by.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        let filters = self.filters.iter().map(|filter| filter.field.name);
        filters.chain(self.sort.iter().map(|sort| sort.field.name))
    }

    /// The order as it was asked for, such as `-created_at,name`; goes into the cursor, which fits no other order.
    pub fn sort_text(&self) -> String {
        let part = |sort: &Sort| format!("{}{}", if sort.descending { "-" } else { "" }, sort.field.name);
        self.sort.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

/// A parameter that can't be used. The gateway makes ERR-VAL-400 of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter} {problem}")]
pub struct ListError {
    /// Such as `filter[name][like]`, `sort`, `limit` or `cursor`.
    pub parameter: String,
    /// Reads on from it, such as `is not a time`.
    pub problem: String,
}

impl ListError {
    pub(crate) fn new(parameter: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { parameter: parameter.into(), problem: problem.into() }
    }
}

/// Rows in order, and where the next page begins.
#[derive(Clone, Debug, Serialize)]
pub struct Page<R> {
    pub rows: Vec<R>,
    /// The last row's place, if there are more: the content of the next cursor.
    pub next: Option<Vec<SortValue>>,
}

/// A query could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("a row has another shape than its type: {0}")]
    Row(#[from] serde_json::Error),
}
