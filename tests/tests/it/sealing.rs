//! Sealed fields in the journal: under which key, in which transaction, and what becomes of them when a key goes.

use std::sync::Arc;
use std::time::Duration;

use engine::codec::Codec;
use engine::feed::FeedError;
use engine::journal::{AppendError, AppendItem, Journal, Lease, PgJournal, Refusal, Snapshot};
use engine::keyring::{Keyring, KeyringError, MasterKey, rotate_master};
use kernel::{Claim, ClaimChange, Envelope, PersonId, Position, ShardId, Subject, TenantId};
use serde_json::{Value, json};

use crate::db::TestDb;
use crate::journal_contract::{at, id, item, keyring, stream};

const SHARD: ShardId = ShardId(0);

fn ann() -> Subject {
    Subject::Person(PersonId(id(60)))
}

fn acme() -> Subject {
    Subject::Tenant(TenantId(id(61)))
}

fn journal(db: &TestDb, keyring: &Arc<Keyring>) -> PgJournal {
    let codec = Codec::sealing(keyring.clone(), vec![], &[1; 32]);
    PgJournal::new(db.server_info.key_values().parse().unwrap(), db.server.clone(), codec).unwrap()
}

async fn lease(journal: &PgJournal) -> Lease {
    journal.acquire(SHARD, id(1), Duration::from_secs(60)).await.unwrap().unwrap()
}

/// An event of stream `n` that says something of Ann and something of Acme.
fn telling(n: u128, sequence: u64, text: &str) -> AppendItem {
    let mut item = item(n, sequence, 1);
    item.events[0].payload = json!({ "Told": {
        "mail": { "$personal": { "of": ann().id(), "value": text } },
        "all": [{ "$confidential": { "of": acme().id(), "value": { "deep": text } } }],
    } })
    .into();
    item
}

async fn ready(journal: &PgJournal, mut item: AppendItem) -> AppendItem {
    if !journal.prepare(&mut item).unwrap() {
        journal.prepare_slowly(&mut item).await.unwrap();
    }
    item
}

async fn append(journal: &PgJournal, lease: Lease, item: AppendItem) -> Result<(), AppendError> {
    let batch = item.events[0].event_id.0;
    journal.append(lease, batch, None, &[item], at(0)).await.map(|_| ())
}

/// Makes something known of Ann, so that she has a key.
pub async fn tell_of(db: &TestDb, keyring: &Arc<Keyring>) {
    let journal = journal(db, keyring);
    let lease = lease(&journal).await;
    append(&journal, lease, telling(1, 1, "ann@example.org")).await.unwrap();
}

async fn told(journal: &PgJournal) -> Vec<Value> {
    let events = journal.read(SHARD, Position::ZERO, 100).await.unwrap();
    events.into_iter().map(|event| event.payload["Told"]["mail"]["$personal"]["value"].clone()).collect()
}

async fn rows(db: &TestDb) -> Vec<(String, i32, bool)> {
    let client = db.owner.get().await.unwrap();
    let sql = "SELECT kind, version, wrapped IS NULL FROM subject_keys WHERE subject IN ($1, $2) ORDER BY kind, version";
    let rows = client.query(sql, &[&ann().id(), &acme().id()]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// NFR-SEC-002: what is sealed is bound to where it stands.
#[tokio::test]
async fn a_sealed_field_opens_where_it_was_sealed_and_nowhere_else() {
    let db = TestDb::new().await;
    let ring = keyring(&db.server).await;
    let journal = journal(&db, &ring);
    let lease = lease(&journal).await;
    for (n, sequence) in [(1, 1), (1, 2), (2, 1)] {
        append(&journal, lease, telling(n, sequence, "ann@example.org")).await.unwrap();
    }
    assert_eq!(told(&journal).await, ["ann@example.org"; 3]);
    let owner = db.owner.get().await.unwrap();
    let stored =
        "SELECT count(*) FROM events WHERE payload::text LIKE '%ann@%' OR payload::text NOT LIKE '%sealed%'";
    assert_eq!(owner.query_one(stored, &[]).await.unwrap().get::<_, i64>(0), 0);
    // The event after it, and the same event of another stream, do not take it.
    let moved = "ALTER TABLE events DISABLE TRIGGER ALL; \
                 UPDATE events e SET payload = o.payload FROM events o WHERE o.position = 1 AND e.position = 2";
    owner.batch_execute(moved).await.unwrap();
    let refused = journal.read(SHARD, Position(1), 1).await.unwrap_err();
    assert!(
        matches!(&refused, FeedError::Undecodable { reason, .. } if reason.contains("does not open")),
        "{refused}"
    );
    let moved =
        "UPDATE events e SET payload = o.payload FROM events o WHERE o.position = 1 AND e.position = 3";
    owner.batch_execute(moved).await.unwrap();
    assert!(journal.read(SHARD, Position(2), 1).await.is_err());
}

/// A field that says of nobody is its own event's trouble; what is sealed beside it opens.
#[tokio::test]
async fn a_field_that_names_nobody_makes_no_other_event_unreadable() {
    let db = TestDb::new().await;
    let ring = keyring(&db.server).await;
    let journal = journal(&db, &ring);
    let lease = lease(&journal).await;
    for n in 1..=3 {
        append(&journal, lease, telling(n, 1, "ann@example.org")).await.unwrap();
    }
    let damage = "ALTER TABLE events DISABLE TRIGGER ALL; \
                  UPDATE events SET payload = '{\"Told\": {\"$personal\": {\"value\": \"x\"}}}' WHERE position = 3";
    db.owner.get().await.unwrap().batch_execute(damage).await.unwrap();
    let refused = journal.read(SHARD, Position::ZERO, 100).await.unwrap_err();
    assert!(matches!(refused, FeedError::Undecodable { position: Position(3), .. }), "{refused}");
    assert_eq!(journal.read(SHARD, Position::ZERO, 2).await.unwrap().len(), 2);
}

/// The classic hole: an item is sealed under a key whose row was to come with another item, and that one is refused.
#[tokio::test]
async fn whoever_is_sealed_under_a_new_key_brings_it_along_also_if_the_first_is_refused() {
    let db = TestDb::new().await;
    let ring = keyring(&db.server).await;
    let journal = journal(&db, &ring);
    let lease = lease(&journal).await;
    let name = || vec![ClaimChange::Take(Claim::new("name", "acme"))];
    append(&journal, lease, AppendItem { claims: name(), ..item(9, 1, 1) }).await.unwrap();
    let first = ready(&journal, AppendItem { claims: name(), ..telling(1, 1, "first") }).await;
    let second = ready(&journal, telling(2, 1, "second")).await;
    let third = ready(&journal, telling(3, 1, "third")).await;
    assert!(rows(&db).await.is_empty(), "a key is not written before what it seals");
    // Together they are refused; each by itself is what the writer tries then.
    let refused = journal.append(lease, id(900), None, &[first.clone(), second.clone()], at(0)).await;
    assert!(matches!(refused, Err(AppendError::Refused(Refusal::Claim { .. }))), "{refused:?}");
    assert!(append(&journal, lease, first).await.is_err());
    assert!(rows(&db).await.is_empty());
    append(&journal, lease, second).await.unwrap();
    append(&journal, lease, third).await.unwrap();
    assert_eq!(rows(&db).await, [("person".into(), 1, false), ("tenant".into(), 1, false)]);
    let elsewhere = self::journal(&db, &keyring(&db.server).await);
    let read = elsewhere.read(SHARD, Position(1), 10).await.unwrap();
    assert_eq!(read[0].payload["Told"]["mail"]["$personal"]["value"], "second");
    assert_eq!(read[1].payload["Told"]["all"][0]["$confidential"]["value"]["deep"], "third");
}

/// A batch that is sent behind the one that brings a key need not bring it again; alone, it must.
#[tokio::test]
async fn a_key_is_brought_once_by_two_batches_that_are_under_way_together() {
    let db = TestDb::new().await;
    let journal = journal(&db, &keyring(&db.server).await);
    let lease = lease(&journal).await;
    let name = || vec![ClaimChange::Take(Claim::new("name", "acme"))];
    append(&journal, lease, AppendItem { claims: name(), ..item(9, 1, 1) }).await.unwrap();
    let spoiled = [ready(&journal, AppendItem { claims: name(), ..telling(1, 1, "spoiled") }).await];
    let (first, second) =
        ([ready(&journal, telling(1, 1, "a")).await], [ready(&journal, telling(2, 1, "b")).await]);
    let both = async |number: u128, first: &[AppendItem], second: &[AppendItem]| {
        let ahead = journal.append(lease, id(number), None, first, at(0));
        let behind = journal.append(lease, id(number + 1), Some(id(number)), second, at(0));
        tokio::join!(ahead, behind)
    };
    let (refused, behind) = both(900, &spoiled, &second).await;
    assert!(matches!(refused, Err(AppendError::Refused(Refusal::Claim { .. }))), "{refused:?}");
    assert!(matches!(behind, Err(AppendError::OutOfOrder)), "{behind:?}");
    assert!(rows(&db).await.is_empty(), "it was to come with what was refused");
    let (first, second) = both(902, &first, &second).await;
    first.unwrap();
    second.unwrap();
    assert_eq!(rows(&db).await, [("person".into(), 1, false), ("tenant".into(), 1, false)]);
    append(&journal, lease, ready(&journal, telling(3, 1, "c")).await).await.unwrap();
    let elsewhere = self::journal(&db, &keyring(&db.server).await);
    let read = elsewhere.read(SHARD, Position(1), 10).await.unwrap();
    let told: Vec<_> =
        read.iter().map(|event| event.payload["Told"]["mail"]["$personal"]["value"].clone()).collect();
    assert_eq!(told, ["a", "b", "c"]);
}

#[tokio::test]
async fn of_two_nodes_that_make_a_subjects_key_at_once_one_seals_anew_under_the_others() {
    let db = TestDb::new().await;
    let (one, two) = (journal(&db, &keyring(&db.server).await), journal(&db, &keyring(&db.server).await));
    let lease = lease(&one).await;
    let (a, b) = (ready(&one, telling(1, 1, "a")).await, ready(&two, telling(2, 1, "b")).await);
    append(&one, lease, a).await.unwrap();
    let lost = append(&two, lease, b).await;
    assert!(matches!(lost, Err(AppendError::Refused(Refusal::KeyTaken))), "{lost:?}");
    let again = ready(&two, telling(2, 1, "b")).await;
    append(&two, lease, again).await.unwrap();
    assert_eq!(
        (told(&one).await, told(&two).await),
        (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()])
    );
}

/// Many snapshots go together; one that can't be sealed any more takes no other along.
#[tokio::test]
async fn a_snapshot_of_somebody_forgotten_is_not_kept_and_those_beside_it_are() {
    let db = TestDb::new().await;
    let ring = keyring(&db.server).await;
    let journal = journal(&db, &ring);
    let lease = lease(&journal).await;
    append(&journal, lease, telling(1, 1, "ann@example.org")).await.unwrap();
    append(&journal, lease, item(2, 1, 1)).await.unwrap();
    let events = journal.read(SHARD, Position::ZERO, 2).await.unwrap();
    let of_ann = events[0].payload.clone().into_value();
    ring.forget(ann()).await.unwrap();
    let snapshot = |event: &Envelope, state| {
        (event.stream.clone(), Snapshot { version: 1, sequence: 1, event_id: event.event_id, state })
    };
    let both = [snapshot(&events[0], of_ann), snapshot(&events[1], json!({ "total": 1 }))];
    assert_eq!(journal.save_snapshots(&both, at(0)).await.unwrap(), 1);
    assert_eq!(journal.load(&stream(1), Some(1)).await.unwrap().snapshot, None);
    assert_eq!(
        journal.load(&stream(2), Some(1)).await.unwrap().snapshot.unwrap().state,
        json!({ "total": 1 })
    );
}

/// CON-COMP-001
#[tokio::test]
async fn a_forgotten_subject_reads_as_forgotten_everywhere_and_gets_no_key_again() {
    let db = TestDb::new().await;
    let ring = keyring(&db.server).await;
    let journal = journal(&db, &ring);
    let lease = lease(&journal).await;
    append(&journal, lease, telling(1, 1, "ann@example.org")).await.unwrap();
    let event = journal.read(SHARD, Position::ZERO, 1).await.unwrap().remove(0);
    let state = event.payload.into_value();
    let snapshot = Snapshot { version: 1, sequence: 1, event_id: event.event_id, state: state.clone() };
    journal.save_snapshots(&[(stream(1), snapshot)], at(0)).await.unwrap();
    assert_eq!(journal.load(&stream(1), Some(1)).await.unwrap().snapshot.unwrap().state, state);

    ring.forget(ann()).await.unwrap();
    ring.forget(ann()).await.unwrap();
    for journal in [&journal, &self::journal(&db, &keyring(&db.server).await)] {
        assert_eq!(told(journal).await, [Value::Null]);
        let snapshot = journal.load(&stream(1), Some(1)).await.unwrap().snapshot.unwrap();
        assert_eq!(snapshot.state["Told"]["mail"]["$personal"], json!({ "of": ann().id() }));
        let kept = &snapshot.state["Told"]["all"][0]["$confidential"]["value"]["deep"];
        assert_eq!(kept, "ann@example.org", "the tenant's own key is another one");
    }
    let refused = journal.prepare(&mut telling(1, 2, "again"));
    assert!(matches!(refused, Err(Refusal::Unstorable { .. })), "{refused:?}");
    let server = db.server.get().await.unwrap();
    let owner = db.owner.get().await.unwrap();
    for (client, revival) in [
        (&owner, "DELETE FROM subject_keys"),
        (&owner, "TRUNCATE subject_keys"),
        (&owner, "UPDATE subject_keys SET wrapped = 'x', forgotten_at = NULL WHERE wrapped IS NULL"),
        (
            &owner,
            "INSERT INTO subject_keys SELECT kind, subject, 2, 'x', 'y', now(), NULL FROM subject_keys WHERE wrapped IS NULL",
        ),
        (
            &server,
            "INSERT INTO subject_keys SELECT kind, subject, 2, 'x', 'y', now(), NULL FROM subject_keys WHERE wrapped IS NULL",
        ),
        (&server, "UPDATE subject_keys SET created_at = now()"),
    ] {
        assert!(client.batch_execute(revival).await.is_err(), "{revival}");
    }
    // Whoever never had a key can be forgotten too.
    let ben = Subject::Person(PersonId(id(62)));
    ring.forget(ben).await.unwrap();
    let mut late = telling(1, 2, "late");
    late.events[0].payload =
        json!({ "Told": { "mail": { "$personal": { "of": id(62), "value": "late" } } } }).into();
    assert!(journal.prepare_slowly(&mut late).await.is_err());
}

#[tokio::test]
async fn a_key_that_does_not_open_is_an_error_and_never_taken_for_forgotten() {
    let db = TestDb::new().await;
    let ring = keyring(&db.server).await;
    let journal = journal(&db, &ring);
    let lease = lease(&journal).await;
    append(&journal, lease, telling(1, 1, "ann@example.org")).await.unwrap();
    let owner = db.owner.get().await.unwrap();
    let swap = "UPDATE subject_keys SET wrapped = (SELECT wrapped FROM subject_keys WHERE kind = 'tenant') WHERE kind = 'person'";
    owner.batch_execute(swap).await.unwrap();
    let elsewhere = self::journal(&db, &keyring(&db.server).await);
    let refused = elsewhere.read(SHARD, Position::ZERO, 1).await;
    assert!(matches!(refused, Err(FeedError::Undecodable { .. })), "{refused:?}");
    assert!(elsewhere.load(&stream(1), None).await.is_err());
    // Without the key it was wrapped under nothing is skipped: that is no fault of one stream.
    owner.batch_execute("UPDATE subject_keys SET wrapped_under = 'nobody'").await.unwrap();
    let refused = self::journal(&db, &keyring(&db.server).await).read(SHARD, Position::ZERO, 1).await;
    assert!(matches!(refused, Err(FeedError::Keys(KeyringError::WrappingLost { .. }))), "{refused:?}");
}

#[tokio::test]
async fn what_was_stored_before_sealing_was_switched_on_is_read_as_it_is_until_it_is_forgotten() {
    let db = TestDb::new().await;
    let config = || db.server_info.key_values().parse().unwrap();
    let plain = PgJournal::new(config(), db.server.clone(), Codec::plain(vec![], &[1; 32])).unwrap();
    let lease = lease(&plain).await;
    append(&plain, lease, telling(1, 1, "before")).await.unwrap();
    let ring = keyring(&db.server).await;
    let sealing = journal(&db, &ring);
    append(&sealing, lease, telling(1, 2, "after")).await.unwrap();
    assert_eq!(told(&sealing).await, ["before", "after"]);
    ring.forget(ann()).await.unwrap();
    assert_eq!(told(&sealing).await, [Value::Null, Value::Null]);
}

/// NFR-SEC-004
#[tokio::test]
async fn keys_rotate_without_an_event_being_rewritten() {
    let db = TestDb::new().await;
    let directory = tempfile::tempdir().unwrap();
    MasterKey::of_data_dir(directory.path(), true).unwrap();
    let path = directory.path().join(engine::keyring::MASTER_KEY_FILE);
    let open = async || {
        let path = path.clone();
        let master = Arc::new(move || MasterKey::read(&path));
        let (clock, ids) = (Arc::new(engine::clock::SystemClock), Arc::new(engine::clock::SystemIds));
        Arc::new(Keyring::open(db.server.clone(), master, clock, ids, true).await.unwrap())
    };
    let ring = open().await;
    let journal = journal(&db, &ring);
    let lease = lease(&journal).await;
    append(&journal, lease, telling(1, 1, "first")).await.unwrap();
    let owner = db.owner.get().await.unwrap();
    let payload = "SELECT payload::text FROM events WHERE position = 1";
    let before: String = owner.query_one(payload, &[]).await.unwrap().get(0);

    assert_eq!(ring.rotate_tenant(TenantId(acme().id())).await.unwrap(), 2);
    append(&journal, lease, telling(1, 2, "second")).await.unwrap();
    // Ann's and Acme's two, and that of who sent the commands.
    assert!(ring.rotate_wrapping().await.unwrap() >= 3);
    assert_eq!(ring.rewrap().await.unwrap(), 0, "nothing is left");
    append(&journal, lease, telling(1, 3, "third")).await.unwrap();

    let mut client = crate::db::connect(&db.owner_info).await;
    let old = MasterKey::read(&path).unwrap();
    let wrapped = "SELECT kid, purpose, wrapped FROM wrapped_keys LIMIT 1";
    let row = client.query_one(wrapped, &[]).await.unwrap();
    assert!(old.unwrap_key(row.get(0), row.get(1), row.get(2)).is_ok());
    assert!(rotate_master(&mut client, &path).await.unwrap() >= 2);
    let row = client.query_one(wrapped, &[]).await.unwrap();
    assert!(old.unwrap_key(row.get(0), row.get(1), row.get(2)).is_err(), "the old key is worth nothing now");

    append(&journal, lease, telling(1, 4, "fourth")).await.unwrap();
    let elsewhere = self::journal(&db, &open().await);
    for journal in [&journal, &elsewhere] {
        assert_eq!(told(journal).await, ["first", "second", "third", "fourth"]);
    }
    assert_eq!(owner.query_one(payload, &[]).await.unwrap().get::<_, String>(0), before);
    ring.forget(acme()).await.unwrap();
    assert_eq!(
        rows(&db).await,
        [("person".into(), 1, false), ("tenant".into(), 1, true), ("tenant".into(), 2, true)]
    );
    assert!(ring.rotate_tenant(TenantId(acme().id())).await.is_err(), "what is forgotten gets no new key");
}
