//! What holds whatever was killed, cut or contended for. Every test that breaks something asks these afterwards.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use aggregates::application::Application;
use aggregates::membership::Membership;
use aggregates::tenant::Tenant;
use aggregates::user::User;
use cluster::ConnectInfo;
use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::feed::{Feed, Interest, Live};
use engine::journal::PgFeed;
use engine::keyring::{Keyring, MASTER_KEY_FILE};
use gateway::keys::{KeyStore, MasterKey};
use kernel::{ClaimChange, CommandId, Decider, Envelope, Position, ShardId, StreamId, Upcaster};

use crate::caller::Acknowledged;
use crate::db::{connect, pool};
use crate::process::binary;

const SHARD: ShardId = ShardId(0);

/// A journal in which everything holds.
pub struct Sound {
    /// All its events, in order.
    pub events: Vec<Envelope>,
}

/// Positions are dense, sequences contiguous, time never goes backwards, no command was carried out twice, and the
/// claims are exactly those that the events say. `owner` reads; `codec` is the journal's own.
pub async fn hold(owner: &ConnectInfo, codec: &Codec) -> Sound {
    sound(owner).await;
    let mut client = connect(owner).await;
    // Claims and head in one snapshot, as somebody may be writing.
    let snapshot = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    let head: i64 = snapshot.query_one("SELECT last_position FROM journal_shard", &[]).await.unwrap().get(0);
    let rows = snapshot.query("SELECT kind, value_hash, aggregate_type, aggregate_id FROM claims", &[]).await;
    let held: BTreeSet<Held> =
        rows.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    drop(snapshot);
    let mut events = all(owner, codec).await;
    events.retain(|event| event.position.0 <= head.unsigned_abs());
    no_command_was_carried_out_twice(&events);
    assert_eq!(held, claims(&events, codec), "the claims are what the events say");
    Sound { events }
}

impl Sound {
    /// Each acknowledged answer is in the journal, where it said.
    pub fn holds(&self, acknowledged: &[Acknowledged]) {
        for answer in acknowledged {
            let place = usize::try_from(answer.position.0).unwrap();
            let event = self.events.get(place - 1).unwrap_or_else(|| panic!("{answer:?} is lost"));
            assert_eq!((event.position, event.stream.id), (answer.position, answer.tenant), "{answer:?}");
            match &answer.flag {
                Some((key, value)) => {
                    let set = &event.payload["FlagSet"];
                    let found = &set["value"]["$confidential"]["value"]["value"];
                    assert_eq!(
                        (&set["key"], found.as_i64()),
                        (&key.as_str().into(), Some(*value)),
                        "{answer:?}"
                    );
                }
                None => assert_eq!(event.event_type, "tenant.provisioned", "{answer:?}"),
            }
        }
    }
}

/// The codec of a server that has its data in `data`.
pub async fn codec_of(server: &ConnectInfo, data: &Path) -> Codec {
    codec_with(server, data, schemas::upcasters()).await
}

/// The same for a release that knows other old shapes.
pub async fn codec_with(server: &ConnectInfo, data: &Path, upcasters: Vec<Upcaster>) -> Codec {
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let data = data.to_owned();
    let master = Arc::new(move || MasterKey::of_data_dir(&data, false));
    let store = KeyStore::new(pool(server), master.clone(), clock.clone(), ids.clone());
    let (_, claim_key) = store.open("http://localhost").await.unwrap();
    let keyring = Keyring::open(pool(server), master, clock, ids, false).await.unwrap();
    Codec::sealing(Arc::new(keyring), upcasters, &claim_key)
}

/// The same of the journal alone, whoever's events they are; returns how many there are.
pub async fn sound(info: &ConnectInfo) -> i64 {
    let client = connect(info).await;
    let row = client
        .query_one(
            "SELECT count(*), coalesce(max(position), 0),
                    (SELECT last_position FROM journal_shard WHERE shard = 0),
                    (SELECT count(*) FROM (SELECT 1 FROM events GROUP BY aggregate_type, aggregate_id
                                           HAVING max(sequence) <> count(*) OR min(sequence) <> 1) AS gaps),
                    (SELECT count(*) FROM (SELECT recorded_at < lag(recorded_at) OVER (ORDER BY position) AS back FROM events) AS t WHERE back)
               FROM events",
            &[],
        )
        .await
        .unwrap();
    let [count, last, counter, gaps, back] = [0, 1, 2, 3, 4].map(|n| row.get::<_, i64>(n));
    assert_eq!((count, count, 0, 0), (last, counter, gaps, back), "dense, contiguous, in order");
    count
}

/// What projections made of it live is what replay makes of it from zero. The database must not be empty.
/// `data` holds the master key.
pub fn read_models_are_what_replay_makes(owner: &ConnectInfo, data: &Path) {
    let mut verify = Command::new(binary("replay"));
    verify.arg("verify").env("DATABASE_URL", owner.url());
    let verify = verify.env("TENANTRY_MASTER_KEY_FILE", data.join(MASTER_KEY_FILE)).output();
    let verify = verify.expect("it runs");
    let said = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    assert!(verify.status.success(), "{}{}", said(&verify.stdout), said(&verify.stderr));
}

async fn all(owner: &ConnectInfo, codec: &Codec) -> Vec<Envelope> {
    let feed = PgFeed::new(pool(owner), codec.clone(), SHARD, Live::default());
    let mut events: Vec<Envelope> = Vec::new();
    loop {
        let after = events.last().map_or(Position::ZERO, |event| event.position);
        let more = feed.read(after, 10_000, Interest::All).await.unwrap();
        if more.events.is_empty() {
            return events;
        }
        events.extend(more.events.into_iter().map(Arc::unwrap_or_clone));
    }
}

/// A command with an id has its events in one place, numbered from zero.
fn no_command_was_carried_out_twice(events: &[Envelope]) {
    let mut carried_out: HashMap<CommandId, &Envelope> = HashMap::new();
    for event in events {
        let Some(command) = event.metadata.command_id else { continue };
        if let Some(before) = carried_out.insert(command, event) {
            assert_eq!(
                (before.position.next(), before.index_in_command + 1),
                (event.position, event.index_in_command),
                "{command} was carried out twice"
            );
        } else {
            assert_eq!(event.index_in_command, 0, "{command} is there as a whole");
        }
    }
}

/// Kind, keyed hash, and the stream that holds it, as the database has them.
type Held = (String, Vec<u8>, String, String);

/// The claims that a fold of all events leaves.
fn claims(events: &[Envelope], codec: &Codec) -> BTreeSet<Held> {
    let mut streams: HashMap<&StreamId, Box<dyn Claims>> = HashMap::new();
    let mut held: HashMap<(&'static str, String), &StreamId> = HashMap::new();
    for event in events {
        let state = streams.entry(&event.stream).or_insert_with(|| of_type(&event.stream));
        let changes = state.apply(event);
        for change in &changes {
            if let ClaimChange::Free(claim) = change {
                let key = (claim.kind, claim.value.clone());
                if held.get(&key) == Some(&&event.stream) {
                    held.remove(&key);
                }
            }
        }
        for change in changes {
            if let ClaimChange::Take(claim) = change {
                let holder = held.insert((claim.kind, claim.value.clone()), &event.stream);
                assert_eq!(holder, None, "{} at {}: a held name was taken", event.stream, event.position);
            }
        }
    }
    let hash = |kind, value| codec.claim_hash(&kernel::Claim::new(kind, value));
    held.into_iter()
        .map(|((kind, value), stream)| {
            let id = stream.id.hyphenated().to_string();
            (kind.to_owned(), hash(kind, value), stream.aggregate_type.to_string(), id)
        })
        .collect()
}

trait Claims {
    fn apply(&mut self, event: &Envelope) -> Vec<ClaimChange>;
}

impl<D: Decider> Claims for D {
    fn apply(&mut self, event: &Envelope) -> Vec<ClaimChange> {
        let fact: D::Event = event.decode().unwrap();
        let changes = self.claims(&fact);
        self.evolve(&fact);
        changes
    }
}

fn of_type(stream: &StreamId) -> Box<dyn Claims> {
    match &*stream.aggregate_type {
        Tenant::TYPE => Box::new(Tenant::default()),
        User::TYPE => Box::new(User::default()),
        Membership::TYPE => Box::new(Membership::default()),
        Application::TYPE => Box::new(Application::default()),
        other => panic!("{other} is no aggregate that is known here"),
    }
}
