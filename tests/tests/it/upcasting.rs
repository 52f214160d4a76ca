//! A release that splits an event and changes a state, on the journal of the release before.

use std::sync::Arc;

use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::feed::Live;
use engine::journal::{Journal, PgJournal};
use engine::writer::WriterConfig;
use engine::{Engine, EngineConfig};
use futures::future::join_all;
use kernel::{Decider, Event, Position, Rejection, RejectionKind, ShardId, Upcasted, Upcaster};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{TestDb, connect};
use crate::engine_postgres::context;

const AGGREGATES: u128 = 20;
const EACH: u64 = 30;

/// The release before: one event for what goes in and out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Before {
    total: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Moved {
    Moved { gone: i64, come: i64 },
}

impl Event for Moved {
    fn event_type(&self) -> &'static str {
        "purse.moved"
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Never;

impl std::fmt::Display for Never {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("another state than expected")
    }
}

impl std::error::Error for Never {}

impl Rejection for Never {
    fn kind(&self) -> RejectionKind {
        RejectionKind::Rule
    }

    fn detail(&self) -> &'static str {
        "another_state"
    }
}

impl Decider for Before {
    const TYPE: &'static str = "purse";
    const SNAPSHOT_VERSION: u32 = 1;
    type Command = (i64, i64);
    type Event = Moved;
    type Rejection = Never;

    fn decide(&self, (gone, come): (i64, i64)) -> Result<Vec<Moved>, Never> {
        Ok(vec![Moved::Moved { gone, come }])
    }

    fn evolve(&mut self, Moved::Moved { gone, come }: &Moved) {
        self.total += come - gone;
    }
}

/// The release after: an event for each, and a state that counts both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct After {
    gone: i64,
    come: i64,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Split {
    Gone {
        amount: i64,
    },
    /// Another name, and a field with a default.
    Arrived {
        amount: i64,
        note: String,
    },
}

fn split(payload: Value) -> Vec<Upcasted> {
    let amount = |field: &str| payload["Moved"][field].clone();
    let event = |event_type, payload| Upcasted { event_type, event_version: "1", payload };
    vec![
        event("purse.gone", json!({ "Gone": { "amount": amount("gone") } })),
        event("purse.arrived", json!({ "Arrived": { "amount": amount("come"), "note": "from before" } })),
    ]
}

impl Event for Split {
    const UPCASTERS: &'static [Upcaster] =
        &[Upcaster { event_type: "purse.moved", from_version: "1", upcast: split }];

    fn event_type(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "purse.gone",
            Self::Arrived { .. } => "purse.arrived",
        }
    }
}

impl Decider for After {
    const TYPE: &'static str = "purse";
    const SNAPSHOT_VERSION: u32 = 2;
    /// What the state must be; then one more arrives.
    type Command = (i64, i64, usize);
    type Event = Split;
    type Rejection = Never;

    fn decide(&self, (gone, come, notes): (i64, i64, usize)) -> Result<Vec<Split>, Never> {
        if (self.gone, self.come, self.notes.len()) != (gone, come, notes) {
            return Err(Never);
        }
        Ok(vec![Split::Arrived { amount: 1, note: "new".into() }])
    }

    fn evolve(&mut self, event: &Split) {
        match event {
            Split::Gone { amount } => self.gone += amount,
            Split::Arrived { amount, note } => {
                self.come += amount;
                self.notes.push(note.clone());
            }
        }
    }
}

fn journal(db: &TestDb, upcasters: &[Upcaster]) -> PgJournal {
    let codec = Codec::plain(upcasters.to_vec(), &[7; 32]);
    PgJournal::new(db.server_info.key_values().parse().unwrap(), db.server.clone(), codec).unwrap()
}

async fn engine(journal: PgJournal) -> Engine {
    let config = EngineConfig {
        snapshot_events_min: 8,
        ..EngineConfig::new(WriterConfig::new(ShardId(0), Uuid::from_u128(1)))
    };
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let engine = Engine::start(config, Arc::new(journal), Live::default(), clock, ids).await.unwrap();
    engine.owned().await;
    engine
}

async fn snapshots(db: &TestDb, version: i32) -> i64 {
    let sql =
        "SELECT count(*) FROM aggregate_snapshots WHERE aggregate_type = 'purse' AND snapshot_version = $1";
    connect(&db.owner_info).await.query_one(sql, &[&version]).await.unwrap().get(0)
}

/// Waits until there is a snapshot of a version: they are kept beside the work.
async fn kept(db: &TestDb, version: i32) {
    let there = async {
        while snapshots(db, version).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::app::PATIENCE, there).await.expect("a snapshot is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_event_and_a_changed_state_are_read_from_the_journal_of_the_release_before() {
    let db = TestDb::new().await;
    let before = engine(journal(&db, &[])).await;
    let orders = (1..=AGGREGATES).map(|n| {
        let before = before.clone();
        async move {
            for _ in 0..EACH {
                before.dispatch::<Before>(Uuid::from_u128(n), (1, 3), context(None)).await.unwrap();
            }
        }
    });
    join_all(orders).await;
    kept(&db, 1).await;
    before.drain().await;

    // Old snapshots are there and are not trusted; old events come in two, in one place.
    let (gone, come) = (EACH.cast_signed(), 3 * EACH.cast_signed());
    let after = engine(journal(&db, Split::UPCASTERS)).await;
    let orders = (1..=AGGREGATES).map(|n| {
        let after = after.clone();
        async move {
            let mut receipts = Vec::new();
            // Enough for a snapshot of the new state.
            for more in 0..20_u32 {
                let expected = (gone, come + i64::from(more), EACH as usize + more as usize);
                let done = after.dispatch::<After>(Uuid::from_u128(n), expected, context(None)).await;
                receipts.push(done.expect("the state is what all events make").sequence);
            }
            receipts
        }
    });
    for receipts in join_all(orders).await {
        assert_eq!(receipts, (EACH + 1..=EACH + 20).collect::<Vec<_>>(), "sequences go on");
    }
    kept(&db, 2).await;
    after.drain().await;

    let reading = journal(&db, Split::UPCASTERS);
    let old = reading.read(ShardId(0), Position(4), 1).await.unwrap();
    assert_eq!(old.iter().map(|event| event.part).collect::<Vec<_>>(), [0, 1], "parts are never torn apart");
    assert!(old.iter().all(|event| event.position == Position(5)));
    assert_eq!(old[1].decode::<Split>().unwrap(), Split::Arrived { amount: 3, note: "from before".into() });

    // From the new snapshots it goes on just so.
    let again = engine(reading).await;
    let expected = (gone, come + 20, EACH as usize + 20);
    let done = again.dispatch::<After>(Uuid::from_u128(1), expected, context(None)).await.unwrap();
    assert_eq!(done.sequence, EACH + 21);
    again.drain().await;
}
