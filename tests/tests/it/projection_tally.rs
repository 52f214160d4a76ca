//! A projection made for tests: it adds up numbers per stream, and can be told to stumble.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use deadpool_postgres::Pool;
use engine::feed::FeedName;
use engine::projection::{FoldError, Projection, Tables, Transaction, ensure_generations, view};
use kernel::Envelope;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::TestDb;
use crate::feeds::envelope;

/// Rows: (stream, total, how many events, in which order they came).
pub struct Tally {
    pub name: &'static str,
    pub feeds: &'static [FeedName],
    pub fails_closed: bool,
    /// Once true, it folds what it stumbled over before.
    pub mended: AtomicBool,
    /// Once true, it folds something else than it should: a bug that a rebuild mends.
    pub wrong: AtomicBool,
}

impl Tally {
    pub fn new() -> Arc<Self> {
        Self::with(false, &[FeedName::Journal])
    }

    pub fn with(fails_closed: bool, feeds: &'static [FeedName]) -> Arc<Self> {
        Arc::new(Self {
            name: "tally",
            feeds,
            fails_closed,
            mended: AtomicBool::new(false),
            wrong: AtomicBool::new(false),
        })
    }

    /// Its tables, as a migration makes them.
    pub async fn install(self: &Arc<Self>, db: &TestDb) {
        let mut owner = db.owner.get().await.unwrap();
        ensure_generations(&mut owner, [&**self as &dyn Projection]).await.unwrap();
    }
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// An event that adds `n` to a stream.
pub fn add(stream: u128, n: i64) -> Envelope {
    envelope("tally", id(stream), "tally.added", json!({ "Add": n }))
}

/// An event that can't be folded before the projection is mended; `how`: `refuse`, `violate` or `panic`; or `break off`,
/// for which the event is not to blame.
pub fn bad(stream: u128, how: &str) -> Envelope {
    envelope("tally", id(stream), "tally.bad", json!({ "Bad": how }))
}

/// An event that leaves nothing.
pub fn idle(stream: u128) -> Envelope {
    envelope("tally", id(stream), "tally.idle", json!({ "Idle": {} }))
}

/// What serves: (stream, total, the order of its events).
pub async fn rows(pool: &Pool) -> Vec<(u128, i64, Vec<i64>)> {
    let sql = format!("SELECT id, total, seen FROM {} ORDER BY id", view("tally", 1));
    let rows = pool.get().await.unwrap().query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get::<_, Uuid>(0).as_u128(), row.get(1), row.get(2))).collect()
}

/// The rows of one generation.
pub async fn rows_of(pool: &Pool, generation: i32) -> Vec<(u128, i64)> {
    let sql = format!("SELECT id, total FROM read_model.tally_v1_{generation} ORDER BY id");
    let rows = pool.get().await.unwrap().query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get::<_, Uuid>(0).as_u128(), row.get(1))).collect()
}

#[async_trait]
impl Projection for Tally {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> i32 {
        1
    }

    fn feeds(&self) -> &'static [FeedName] {
        self.feeds
    }

    fn tables(&self) -> &'static [&'static str] {
        &["tally"]
    }

    fn sql(&self) -> &'static str {
        "CREATE TABLE {tally} (id uuid PRIMARY KEY, total bigint NOT NULL CHECK (total >= 0), seen bigint[] NOT NULL); \
         CREATE INDEX {tally:total} ON {tally} (total);"
    }

    fn concerns(&self, event: &Envelope) -> bool {
        &*event.event_type != "tally.idle"
    }

    fn fails_closed(&self) -> bool {
        self.fails_closed
    }

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        tables: &Tables,
        events: &[std::sync::Arc<Envelope>],
    ) -> Result<(), FoldError> {
        let sql = tables.fill(
            "INSERT INTO {tally} AS t (id, total, seen) VALUES ($1, $2, ARRAY[$3::bigint]) \
             ON CONFLICT (id) DO UPDATE SET total = t.total + EXCLUDED.total, seen = t.seen || EXCLUDED.seen",
        );
        for event in events {
            let n = match (&event.payload["Add"], event.payload["Bad"].as_str()) {
                (Value::Number(n), _) => n.as_i64().unwrap(),
                (_, Some(_)) if self.mended.load(Ordering::SeqCst) => 1_000,
                (_, Some("break off")) => {
                    tx.execute("SELECT 1 FROM there_is_no_such_table", &[]).await?;
                    continue;
                }
                // Breaks the table's CHECK.
                (_, Some("violate")) => -1_000_000,
                (_, Some("panic")) => panic!("the test asked for a panic"),
                _ => return Err(FoldError::Event("the test asked for a refusal".to_owned())),
            };
            let n = if self.wrong.load(Ordering::SeqCst) { n + 1 } else { n };
            let (id, sequence) = (event.stream.id, event.sequence.cast_signed());
            let statement = tx.prepare_cached(&sql).await?;
            tx.execute_last(statement, vec![Box::new(id), Box::new(n), Box::new(sequence)]).await?;
        }
        Ok(())
    }
}
