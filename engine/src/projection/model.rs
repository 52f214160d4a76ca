//! What a projection is, and where its rows live.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{Envelope, ShardId};
use tokio_postgres::error::SqlState;

use super::transaction::Transaction;
use crate::feed::{Feed, FeedName, Interest};

/// The schema that holds every read model.
pub const SCHEMA: &str = "read_model";

/// A read model in PostgreSQL: tables, and a fold of events into rows.
///
/// Raise [`version`](Projection::version) when tables or fold change: each version has tables of its own, so an old
/// and a new binary run side by side.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Part of the storage format, such as `tenant_directory`.
    fn name(&self) -> &'static str;

    fn version(&self) -> i32;

    /// The feeds it folds. The order between two feeds is not defined, so rows of one must not depend on the other.
    fn feeds(&self) -> &'static [FeedName] {
        &[FeedName::Journal]
    }

    /// Which streams it folds. The events of all others cost it nothing: they are neither read nor decoded for it.
    fn interest(&self) -> Interest {
        Interest::All
    }

    /// False for events of those streams that leave nothing in its tables: passing them costs no transaction. It is asked
    /// by itself of each event, and true of what can't be decoded.
    fn concerns(&self, event: &Envelope) -> bool {
        let _ = event;
        true
    }

    /// The logical names of its tables; the first one is the projection's own.
    fn tables(&self) -> &'static [&'static str];

    /// Creates the tables. `{name}` stands for the qualified table of a generation,
    /// `{name:suffix}` for an unqualified name made of it, such as an index's.
    fn sql(&self) -> &'static str;

    /// True if security depends on it: then nothing is ever parked, and it stops at an event it can't fold.
    fn fails_closed(&self) -> bool {
        false
    }

    /// Folds events, in order, into the tables of one generation. Statements that work on sets make a rebuild fast.
    ///
    /// An event that concerns nothing here is no error. Everything happens in `tx`, and only there.
    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[Arc<Envelope>],
    ) -> Result<(), FoldError>;
}

/// The names of one generation's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    version: i32,
    generation: i32,
    names: &'static [&'static str],
}

impl Tables {
    pub fn of(projection: &dyn Projection, generation: i32) -> Self {
        Self { version: projection.version(), generation, names: projection.tables() }
    }

    /// The qualified name of a table, such as `read_model.flags_v1_3`.
    pub fn name(&self, logical: &str) -> String {
        format!("{SCHEMA}.{}", self.bare(logical))
    }

    fn bare(&self, logical: &str) -> String {
        format!("{logical}_v{}_{}", self.version, self.generation)
    }

    /// Puts the names in place of `{name}` and `{name:suffix}`.
    pub fn fill(&self, template: &str) -> String {
        let mut sql = template.to_owned();
        for logical in self.names {
            sql = sql.replace(&format!("{{{logical}}}"), &self.name(logical));
            sql = sql.replace(&format!("{{{logical}:"), &format!("{{:{}_", self.bare(logical)));
        }
        unbrace(&sql)
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        self.names.iter().map(|logical| (*logical, self.name(logical)))
    }
}

/// `{:index_name}` → `index_name`.
fn unbrace(sql: &str) -> String {
    let mut parts = sql.split("{:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((name, rest)) => {
                out.push_str(name);
                out.push_str(rest);
            }
            None => out.push_str(part),
        }
    }
    out
}

/// The view that queries read, such as `read_model.flags_v1`: it points at the generation that serves.
pub fn view(logical: &str, version: i32) -> String {
    format!("{SCHEMA}.{logical}_v{version}")
}

/// An event was not folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The event is to blame: it would fail again.
    #[error("{0}")]
    Event(String),
    /// The database is to blame, or so it says. See [`FoldError::is_the_events_fault`].
    #[error("the database refused: {0}")]
    Database(#[from] tokio_postgres::Error),
}

impl FoldError {
    /// True if the event can't be folded, and no disk, connection, lock or schema is to blame.
    pub fn is_the_events_fault(&self) -> bool {
        match self {
            Self::Event(_) => true,
            Self::Database(error) => error.code().is_some_and(|code| {
                // Data exceptions, broken constraints, and a value too large for an index row.
                code.code().starts_with("22")
                    || code.code().starts_with("23")
                    || *code == SqlState::PROGRAM_LIMIT_EXCEEDED
                    || *code == SqlState::RAISE_EXCEPTION
            }),
        }
    }

    /// What may be told in health and dead letters: never a value, only which rule was broken.
    pub fn reason(&self) -> String {
        match self {
            Self::Event(reason) => reason.clone(),
            Self::Database(error) => describe(error),
        }
    }
}

impl From<serde_json::Error> for FoldError {
    fn from(error: serde_json::Error) -> Self {
        // serde_json quotes the offending value: only where and what kind is told.
        Self::Event(format!("the payload has another shape than expected ({:?})", error.classify()))
    }
}

/// A database error in words, without the values that PostgreSQL quotes in its details.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(refusal) => {
            let place = [refusal.table(), refusal.column(), refusal.constraint()];
            let place: Vec<&str> = place.into_iter().flatten().collect();
            format!("SQLSTATE {} {}", refusal.code().code(), place.join(" ")).trim_end().to_owned()
        }
        None => error.to_string(),
    }
}

/// The feeds of all shards that are followed here.
#[derive(Clone, Default)]
pub struct Feeds(Vec<Arc<dyn Feed>>);

impl Feeds {
    pub fn new(feeds: Vec<Arc<dyn Feed>>) -> Self {
        Self(feeds)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Feed>> {
        self.0.iter()
    }

    pub fn get(&self, name: FeedName, shard: ShardId) -> Option<&Arc<dyn Feed>> {
        self.0.iter().find(|feed| feed.name() == name && feed.shard() == shard)
    }

    /// Those that a projection folds.
    pub fn of<'a>(&'a self, projection: &'a dyn Projection) -> impl Iterator<Item = &'a Arc<dyn Feed>> {
        self.0.iter().filter(|feed| projection.feeds().contains(&feed.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_the_names_of_its_generation() {
        let tables = Tables { version: 2, generation: 7, names: &["flags", "flag_tenants"] };
        let sql = tables
            .fill("CREATE TABLE {flags} (a int); CREATE INDEX {flags:by_a} ON {flags} (a) -- {flag_tenants}");
        assert_eq!(
            sql,
            "CREATE TABLE read_model.flags_v2_7 (a int); CREATE INDEX flags_v2_7_by_a ON read_model.flags_v2_7 (a) \
             -- read_model.flag_tenants_v2_7"
        );
    }

    #[test]
    fn a_payload_of_another_shape_is_told_without_its_values() {
        let error = serde_json::from_str::<u8>("\"ann@example.org\"").unwrap_err();
        let error = FoldError::from(error);
        assert!(error.is_the_events_fault());
        assert!(!error.reason().contains("ann"));
    }
}
