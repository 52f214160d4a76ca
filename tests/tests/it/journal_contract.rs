//! One contract, every journal: what a writer may rely on, whichever journal it writes to.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use engine::clock::{SystemClock, SystemIds};
use engine::codec::Codec;
use engine::journal::{
    AppendError, AppendItem, Journal, Lease, MemoryJournal, NewEvent, NewOutcome, PgJournal, Refusal,
    Resolution, Sent, Snapshot,
};
use engine::keyring::{Keyring, MasterKey};
use kernel::{
    Actor, ActorKind, Claim, ClaimChange, CommandId, CorrelationId, Envelope, EventId, Metadata, Origin,
    Position, ShardId, StreamId, TenantId,
};
use serde_json::json;
use uuid::Uuid;

use crate::db::TestDb;

const SHARD: ShardId = ShardId(0);
const TTL: Duration = Duration::from_secs(60);

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn stream(n: u128) -> StreamId {
    StreamId::new("thing", id(n))
}

pub fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

/// The keys of a database's subjects, under a master key of the tests' own.
pub async fn keyring(pool: &Pool) -> Arc<Keyring> {
    let master = || MasterKey::parse(&"7".repeat(64), "the test's");
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    Arc::new(Keyring::open(pool.clone(), Arc::new(master), clock, ids, true).await.unwrap())
}

pub fn codec() -> Codec {
    Codec::plain(vec![], &[9; 32])
}

/// An item of `count` events from sequence `first` on.
pub fn item(of: u128, first: u64, count: u64) -> AppendItem {
    let events = (first..first + count).map(|sequence| NewEvent {
        sequence,
        event_id: EventId(Uuid::from_u128(of << 64 | u128::from(sequence))),
        event_type: "thing.happened".into(),
        event_version: "1".into(),
        payload: json!({ "Happened": sequence }).into(),
    });
    AppendItem {
        stream: stream(of),
        metadata: Arc::new(Metadata {
            tenant: Some(TenantId(id(5))),
            actor: Actor { kind: ActorKind::User, id: id(6).to_string() },
            role: "owner".into(),
            scopes: vec!["a:read".into(), "b:write".into()],
            action: "things:happen".into(),
            correlation_id: CorrelationId(id(7)),
            causation_id: Some(EventId(id(8))),
            command_id: Some(CommandId(id(9))),
            origin: Origin { address: Some("192.0.2.7".into()), user_agent: Some("curl".into()) },
        }),
        events: events.collect(),
        claims: vec![],
        outcome: None,
        prepared: None,
    }
}

fn outcome(command: u128) -> Option<NewOutcome> {
    Some(NewOutcome {
        command_id: CommandId(id(command)),
        fingerprint: [3; 32],
        body: json!({ "done": command as u64 }),
    })
}

async fn both() -> Vec<(&'static str, Arc<dyn Journal>, Option<TestDb>)> {
    let db = TestDb::new().await;
    let config = db.server_info.key_values().parse().unwrap();
    let postgres = PgJournal::new(config, db.server.clone(), codec()).unwrap();
    vec![("memory", Arc::new(MemoryJournal::default()), None), ("postgres", Arc::new(postgres), Some(db))]
}

async fn lease(journal: &dyn Journal) -> Lease {
    journal.acquire(SHARD, id(1), TTL).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_appended_is_read_back_as_it_was_with_dense_positions() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        let items = [item(1, 1, 2), item(2, 1, 1), item(1, 3, 1)];
        let appended = journal.append(lease, id(100), None, &items, at(0)).await.unwrap();
        assert_eq!((appended.base, appended.recorded_at), (Position(0), at(0)), "{which}");
        let read = journal.read(SHARD, Position::ZERO, 10).await.unwrap();
        assert_eq!(read.iter().map(|e| e.position.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(read.iter().map(|e| e.index_in_command).collect::<Vec<_>>(), [0, 1, 0, 0]);
        assert_eq!(read[1].stream, stream(1));
        assert_eq!(read[1].payload, json!({ "Happened": 2 }));
        assert_eq!(read[1].metadata, items[0].metadata, "{which}: who, why and from where are kept");
        let loaded = journal.load(&stream(1), None).await.unwrap().tail;
        assert_eq!(loaded.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(journal.head(SHARD).await.unwrap(), Position(4));
        assert_eq!(journal.read(SHARD, Position(3), 10).await.unwrap().len(), 1);
        assert_eq!(journal.read(SHARD, Position::ZERO, 2).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_stream_is_read_in_pages_and_up_to_a_position() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        journal.append(lease, id(100), None, &[item(1, 1, 2), item(2, 1, 1)], at(0)).await.unwrap();
        journal.append(lease, id(101), None, &[item(1, 3, 2)], at(1)).await.unwrap();
        let page = async |after: u64, until: u64, limit: usize| -> Vec<u64> {
            let page = journal.page(&stream(1), after, Position(until), limit).await.unwrap();
            assert!(page.iter().all(|event| event.stream == stream(1)), "{which}");
            page.iter().map(|event| event.sequence).collect()
        };
        assert_eq!(page(0, 5, 3).await, [1, 2, 3], "{which}");
        assert_eq!(page(3, 5, 3).await, [4], "{which}");
        assert_eq!(page(0, 4, 3).await, [1, 2, 3], "{which}");
        assert_eq!(page(0, 3, 3).await, [1, 2], "{which}: another stream's is at 3");
        assert_eq!(page(4, 5, 3).await, [] as [u64; 0], "{which}");
        let streams = async |after, until: u64, limit| {
            journal.streams("thing", after, Position(until), limit).await.unwrap()
        };
        assert_eq!(streams(None, 5, 10).await, [stream(1), stream(2)], "{which}");
        assert_eq!(streams(None, 5, 1).await, [stream(1)], "{which}");
        assert_eq!(streams(Some(id(1)), 5, 10).await, [stream(2)], "{which}");
        assert_eq!(streams(None, 2, 10).await, [stream(1)], "{which}: the other began later");
        assert_eq!(journal.streams("none", None, Position(5), 10).await.unwrap(), [], "{which}");
        let taken = async |position| journal.recorded_at(SHARD, Position(position)).await.unwrap();
        assert_eq!((taken(3).await, taken(4).await), (Some(at(0)), Some(at(1))), "{which}");
        assert_eq!((taken(0).await, taken(6).await), (None, None), "{which}");
    }
}

/// `as_of` a time is defined only if time never runs backwards with the position.
#[tokio::test]
async fn the_recorded_time_never_decreases_with_the_position() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        journal.append(lease, id(100), None, &[item(1, 1, 1)], at(10)).await.unwrap();
        let earlier = journal.append(lease, id(101), None, &[item(1, 2, 1)], at(5)).await.unwrap();
        assert_eq!(earlier.recorded_at, at(10), "{which}");
    }
}

#[tokio::test]
async fn a_sequence_that_stands_refuses_the_whole_batch() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        journal.append(lease, id(100), None, &[item(1, 1, 1)], at(0)).await.unwrap();
        let refused = journal.append(lease, id(101), None, &[item(2, 1, 1), item(1, 1, 1)], at(0)).await;
        assert!(matches!(refused, Err(AppendError::Refused(Refusal::Sequence))), "{which}: {refused:?}");
        assert_eq!(journal.head(SHARD).await.unwrap(), Position(1), "{which}: no hole is left");
        assert!(journal.load(&stream(2), None).await.unwrap().tail.is_empty());
    }
}

#[tokio::test]
async fn a_name_is_held_by_one_stream_until_that_stream_frees_it() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        let name = Claim::new("thing.name", "acme");
        let takes =
            |of, first| AppendItem { claims: vec![ClaimChange::Take(name.clone())], ..item(of, first, 1) };
        let frees =
            |of, first| AppendItem { claims: vec![ClaimChange::Free(name.clone())], ..item(of, first, 1) };
        journal.append(lease, id(100), None, &[takes(1, 1)], at(0)).await.unwrap();
        assert_eq!(journal.claim_holder(&name).await.unwrap(), Some(stream(1)), "{which}");
        let refused = journal.append(lease, id(101), None, &[takes(2, 1)], at(0)).await;
        assert!(matches!(refused, Err(AppendError::Refused(Refusal::Claim { .. }))), "{which}: {refused:?}");
        // Nobody frees what another holds.
        journal.append(lease, id(102), None, &[frees(3, 1)], at(0)).await.unwrap();
        assert_eq!(journal.claim_holder(&name).await.unwrap(), Some(stream(1)));
        journal.append(lease, id(103), None, &[frees(1, 2)], at(0)).await.unwrap();
        journal.append(lease, id(104), None, &[takes(2, 1)], at(0)).await.unwrap();
        assert_eq!(journal.claim_holder(&name).await.unwrap(), Some(stream(2)));
    }
}

/// CC-DAT-001
#[tokio::test]
async fn an_outcome_is_stored_with_its_events_once() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        let answered = AppendItem { outcome: outcome(50), ..item(1, 1, 2) };
        journal.append(lease, id(100), None, &[item(2, 1, 1), answered], at(0)).await.unwrap();
        let stored = journal.outcome(CommandId(id(50))).await.unwrap().unwrap();
        assert_eq!(stored.position, Some(Position(3)), "{which}: its last event");
        assert_eq!((stored.body, stored.fingerprint), (json!({ "done": 50 }), vec![3; 32]));
        let again = AppendItem { outcome: outcome(50), ..item(1, 3, 1) };
        let refused = journal.append(lease, id(101), None, &[again], at(0)).await;
        assert!(
            matches!(refused, Err(AppendError::Refused(Refusal::DuplicateCommand))),
            "{which}: {refused:?}"
        );
        let no_op = AppendItem { outcome: outcome(51), ..item(1, 3, 0) };
        journal.append(lease, id(102), None, &[no_op], at(0)).await.unwrap();
        assert_eq!(journal.outcome(CommandId(id(51))).await.unwrap().unwrap().position, None);
        assert_eq!(journal.outcome(CommandId(id(52))).await.unwrap(), None);
    }
}

#[tokio::test]
async fn answers_are_forgotten_after_their_time_and_no_sooner() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        for (n, second) in [(1, 0), (2, 10), (3, 20)] {
            let answered = AppendItem { outcome: outcome(n), ..item(n, 1, 1) };
            journal.append(lease, id(100 + n), None, &[answered], at(second)).await.unwrap();
        }
        assert_eq!(
            journal.expire_outcomes(at(20), 1).await.unwrap(),
            1,
            "{which}: a bounded number at a time"
        );
        assert_eq!(journal.expire_outcomes(at(20), 100).await.unwrap(), 1, "{which}");
        assert_eq!(journal.outcome(CommandId(id(1))).await.unwrap(), None);
        assert!(journal.outcome(CommandId(id(3))).await.unwrap().is_some(), "{which}");
        assert_eq!(journal.head(SHARD).await.unwrap(), Position(3), "{which}: events stay for ever");
    }
}

#[tokio::test]
async fn a_fenced_owner_writes_nothing_not_even_an_answer() {
    for (which, journal, _db) in both().await {
        let old = lease(&*journal).await;
        journal.append(old, id(100), None, &[item(1, 1, 1)], at(0)).await.unwrap();
        assert!(journal.acquire(SHARD, id(2), TTL).await.unwrap().is_none(), "{which}: the lease holds");
        let new = lease(&*journal).await;
        assert!(new.epoch > old.epoch);
        for batch in [
            vec![item(1, 2, 1)],
            vec![item(1, 2, 0)],
            vec![AppendItem { outcome: outcome(60), ..item(1, 2, 0) }],
        ] {
            let fenced = journal.append(old, id(101), None, &batch, at(0)).await;
            assert!(matches!(fenced, Err(AppendError::Fenced { .. })), "{which}: {fenced:?}");
        }
        assert!(!journal.renew(old, TTL).await.unwrap());
        assert!(journal.renew(new, TTL).await.unwrap());
        assert_eq!(journal.outcome(CommandId(id(60))).await.unwrap(), None);
        assert_eq!(journal.head(SHARD).await.unwrap(), Position(1));
        journal.release(new).await.unwrap();
        assert!(journal.acquire(SHARD, id(2), TTL).await.unwrap().is_some(), "{which}: given back");
    }
}

/// A batch that is sent before the one before it is answered must not be written without it.
#[tokio::test]
async fn a_batch_that_names_the_one_before_it_stands_right_behind_it_or_nowhere() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        let append = async |batch, after: Option<u128>, item: AppendItem| {
            journal
                .append(lease, id(batch), after.map(id), &[item], at(0))
                .await
                .map(|appended| appended.base.0)
        };
        assert_eq!(append(100, None, item(1, 1, 1)).await.unwrap(), 0, "{which}");
        assert_eq!(append(101, Some(100), item(2, 1, 2)).await.unwrap(), 1, "{which}");
        assert_eq!(append(102, Some(101), item(2, 3, 0)).await.unwrap(), 3, "{which}: it asks for nothing");
        let answered = || AppendItem { outcome: outcome(70), ..item(2, 3, 0) };
        for late in [item(2, 3, 1), item(2, 3, 0), answered()] {
            let refused = append(103, Some(100), late).await;
            assert!(matches!(refused, Err(AppendError::OutOfOrder)), "{which}: {refused:?}");
        }
        assert_eq!(journal.head(SHARD).await.unwrap(), Position(3), "{which}");
        assert_eq!(journal.outcome(CommandId(id(70))).await.unwrap(), None, "{which}");
        assert_eq!(append(104, Some(101), item(2, 3, 1)).await.unwrap(), 3, "{which}: nothing came between");
        // Who is no longer the owner hears that first.
        self::lease(&*journal).await;
        let fenced = append(105, Some(100), item(2, 4, 1)).await;
        assert!(matches!(fenced, Err(AppendError::Fenced { .. })), "{which}: {fenced:?}");
    }
}

/// Sent one behind the other, they are written in their order, whoever waits for which answer.
#[tokio::test]
async fn of_two_batches_under_way_the_second_is_written_behind_the_first() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        let (items, more) = ([item(1, 1, 1)], [item(1, 2, 1)]);
        let first = journal.append(lease, id(100), None, &items, at(0));
        let second = journal.append(lease, id(101), Some(id(100)), &more, at(1));
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.unwrap().base, second.unwrap().base), (Position(0), Position(1)), "{which}");
        // The second of two is refused with the first, and stands nowhere.
        let (bad, more) = ([item(1, 1, 1)], [item(2, 1, 1)]);
        let first = journal.append(lease, id(102), None, &bad, at(0));
        let second = journal.append(lease, id(103), Some(id(102)), &more, at(1));
        let (first, second) = tokio::join!(first, second);
        assert!(matches!(first, Err(AppendError::Refused(Refusal::Sequence))), "{which}: {first:?}");
        assert!(matches!(second, Err(AppendError::OutOfOrder)), "{which}: {second:?}");
        assert_eq!(journal.head(SHARD).await.unwrap(), Position(2), "{which}");
    }
}

fn sent(batch: u128, events: u64) -> Sent {
    Sent { batch: id(batch), events }
}

#[tokio::test]
async fn an_unclear_commit_is_settled_either_way() {
    for (which, journal, _db) in both().await {
        let first = lease(&*journal).await;
        let appended = journal.append(first, id(100), None, &[item(1, 1, 3)], at(0)).await.unwrap();
        let kept = journal.resolve(first, &[sent(100, 3)]).await.unwrap();
        let Resolution::Kept { lease, committed } = kept else { panic!("{which}: {kept:?}") };
        assert_eq!(committed, [appended], "{which}");
        assert!(lease.epoch > first.epoch, "{which}: a commit still unread is fenced");
        assert!(matches!(
            journal.append(first, id(101), None, &[item(1, 4, 1)], at(0)).await,
            Err(AppendError::Fenced { .. })
        ));
        let Resolution::Kept { committed, .. } = journal.resolve(lease, &[sent(101, 1)]).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(committed, [], "{which}: it never happened");
        assert_eq!(journal.resolve(first, &[sent(101, 1)]).await.unwrap(), Resolution::Lost, "{which}");
    }
}

/// Of two batches sent one behind the other both, the first or none may have been written; each has its own time.
#[tokio::test]
async fn of_two_unclear_commits_as_many_are_settled_as_were_written() {
    for (which, journal, _db) in both().await {
        let mut lease = lease(&*journal).await;
        let settled = async |lease: &mut Lease, batches: &[Sent]| {
            let Resolution::Kept { lease: next, committed } = journal.resolve(*lease, batches).await.unwrap()
            else {
                panic!("{which}: nobody else came");
            };
            *lease = next;
            committed
        };
        let one = journal.append(lease, id(100), None, &[item(1, 1, 3)], at(0)).await.unwrap();
        assert_eq!(settled(&mut lease, &[sent(100, 3), sent(101, 2)]).await, [one], "{which}");
        let two = journal.append(lease, id(101), None, &[item(1, 4, 2)], at(7)).await.unwrap();
        let three = journal.append(lease, id(102), Some(id(101)), &[item(2, 1, 1)], at(9)).await.unwrap();
        assert_eq!(settled(&mut lease, &[sent(101, 2), sent(102, 1)]).await, [two, three], "{which}");
        let answer = AppendItem { outcome: outcome(80), ..item(1, 6, 0) };
        let four = journal.append(lease, id(103), Some(id(102)), &[answer], at(11)).await.unwrap();
        assert_eq!(settled(&mut lease, &[sent(102, 1), sent(103, 0)]).await, [three, four], "{which}");
        assert_eq!(settled(&mut lease, &[sent(104, 1), sent(105, 1)]).await, [], "{which}");
    }
}

#[tokio::test]
async fn of_snapshots_that_are_kept_together_each_stream_has_its_newest() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        let items = [item(1, 1, 5), item(2, 1, 5), item(3, 1, 5)];
        journal.append(lease, id(100), None, &items, at(0)).await.unwrap();
        let events = journal.read(SHARD, Position::ZERO, 100).await.unwrap();
        let snapshot = |of: u128, sequence| {
            let ends_at = |event: &&Envelope| event.stream == stream(of) && event.sequence == sequence;
            let event_id = events.iter().find(ends_at).unwrap().event_id;
            let state = json!({ "of": of as u64, "at": sequence });
            (stream(of), Snapshot { version: 4, sequence, event_id, state })
        };
        let kept = async |of| {
            let loaded = journal.load(&stream(of), Some(4)).await.unwrap();
            loaded.snapshot.map(|snapshot| (snapshot.state["of"].clone(), snapshot.sequence))
        };
        let first = [snapshot(2, 3), snapshot(1, 2), snapshot(2, 4), snapshot(2, 1)];
        journal.save_snapshots(&first, at(0)).await.unwrap();
        journal.save_snapshots(&[snapshot(3, 5), snapshot(1, 5), snapshot(2, 2)], at(0)).await.unwrap();
        for (of, sequence) in [(1, 5), (2, 4), (3, 5)] {
            assert_eq!(kept(of).await, Some((json!(of as u64), sequence)), "{which}");
        }
    }
}

#[tokio::test]
async fn a_snapshot_shortens_the_tail_and_is_trusted_only_in_its_version() {
    for (which, journal, _db) in both().await {
        let lease = lease(&*journal).await;
        journal.append(lease, id(100), None, &[item(1, 1, 5)], at(0)).await.unwrap();
        let event_id = journal.load(&stream(1), None).await.unwrap().tail[2].event_id;
        let snapshot = |sequence, total: u64| Snapshot {
            version: 4,
            sequence,
            event_id,
            state: json!({ "total": total }),
        };
        journal.save_snapshots(&[(stream(1), snapshot(3, 30))], at(0)).await.unwrap();
        let loaded = journal.load(&stream(1), Some(4)).await.unwrap();
        assert_eq!(loaded.snapshot, Some(snapshot(3, 30)), "{which}");
        assert_eq!(loaded.tail.iter().map(|e| e.sequence).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(
            journal.load(&stream(1), Some(5)).await.unwrap().tail.len(),
            5,
            "{which}: another version"
        );
        journal.save_snapshots(&[(stream(1), snapshot(2, 20))], at(0)).await.unwrap();
        assert_eq!(
            journal.load(&stream(1), Some(4)).await.unwrap().snapshot,
            Some(snapshot(3, 30)),
            "{which}: newer stays"
        );
    }
}
