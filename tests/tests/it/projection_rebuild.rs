//! Rebuild, swap, roll back, verify: while a server serves and writes go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use engine::feed::{Feed, FeedName};
use engine::projection::{
    Feeds, GenerationState, Phase, Progress, Projection, Projector, RebuildError, RebuildSettings,
    checkpoints, drop_former, generations, rebuild, rollback, verify,
};
use kernel::Position;

use crate::db::TestDb;
use crate::feeds::{PATIENCE, TestFeed, eventually, fast};
use crate::projection_tally::{Tally, add, bad, rows, rows_of};

const JOURNAL: &[FeedName] = &[FeedName::Journal];
const BOTH: &[FeedName] = &[FeedName::Journal, FeedName::Audit];

struct House {
    db: TestDb,
    tally: Arc<Tally>,
    journal: Arc<TestFeed>,
    feeds: Feeds,
}

impl House {
    async fn new(names: &'static [FeedName]) -> Self {
        let (db, tally, journal) = (TestDb::new().await, Tally::with(false, names), TestFeed::journal());
        tally.install(&db).await;
        let feeds = Feeds::new(vec![Arc::clone(&journal) as Arc<dyn Feed>]);
        Self { db, tally, journal, feeds }
    }

    async fn serve(&self) -> Projector {
        let projections: Vec<Arc<dyn Projection>> = vec![Arc::clone(&self.tally) as Arc<dyn Projection>];
        Projector::start(projections, &self.feeds, &self.db.server, fast()).await.unwrap()
    }

    async fn states(&self) -> Vec<(i32, GenerationState)> {
        let client = self.db.owner.get().await.unwrap();
        let all = generations(&**client, &*self.tally).await.unwrap();
        all.into_iter().map(|generation| (generation.number, generation.state)).collect()
    }

    async fn rebuild(&self, settings: RebuildSettings) -> Result<engine::projection::Rebuilt, RebuildError> {
        rebuild(&self.db.owner, &self.feeds, &*self.tally, settings, &|_| {}).await
    }
}

fn small() -> RebuildSettings {
    RebuildSettings { batch_events: 50, ..RebuildSettings::default() }
}

#[tokio::test]
async fn a_rebuild_while_writes_go_on_swaps_to_the_same_rows_and_can_be_rolled_back() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..1_000).map(|n| add(n % 7, 1)));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();

    let writing = Arc::new(AtomicBool::new(true));
    let written = Arc::new(AtomicU64::new(1_000));
    let writer = {
        let (journal, writing, written) =
            (Arc::clone(&house.journal), Arc::clone(&writing), Arc::clone(&written));
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(25));
        tokio::spawn(async move {
            while writing.load(Ordering::SeqCst) {
                journal.append((0..5).map(|n| add(n, 1)));
                written.fetch_add(5, Ordering::SeqCst);
                pace.tick().await;
            }
        })
    };
    let heard: Mutex<Vec<Progress>> = Mutex::default();
    let rebuilt = rebuild(&house.db.owner, &house.feeds, &*house.tally, small(), &|progress| {
        heard.lock().unwrap().push(progress);
    })
    .await
    .unwrap();
    assert_eq!((rebuilt.generation, rebuilt.former, rebuilt.continued), (2, 1, false));
    assert!(rebuilt.comparison.is_equal());
    assert!(rebuilt.comparison.tables[0].rows_serving > 0);
    assert_eq!(house.states().await, [(1, GenerationState::Former), (2, GenerationState::Serving)]);
    // The server goes on with the new one, and feeds the old one too.
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    writing.store(false, Ordering::SeqCst);
    writer.await.unwrap();
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    let total: i64 = rows(&house.db.server).await.iter().map(|row| row.1).sum();
    assert_eq!(total, written.load(Ordering::SeqCst).cast_signed(), "no event is lost or folded twice");

    let heard = heard.into_inner().unwrap();
    assert!(heard.len() > 10, "each batch is told");
    for phase in [Phase::Folding, Phase::Comparing, Phase::Swapping] {
        assert!(heard.iter().any(|progress| progress.phase == phase), "{phase:?} is told");
    }
    assert!(heard.iter().any(|p| p.events_per_second > 0.0 && p.percent() > 0.0));

    assert_eq!(rollback(&house.db.owner, &house.feeds, &*house.tally).await.unwrap(), 1);
    assert_eq!(house.states().await, [(1, GenerationState::Serving), (2, GenerationState::Former)]);
    projector.wait_for("tally", house.journal.append([add(1, 1)]), PATIENCE).await.unwrap();
    assert_eq!(rows(&house.db.server).await.iter().map(|row| row.1).sum::<i64>(), total + 1);

    assert_eq!(drop_former(&house.db.owner, &*house.tally).await.unwrap(), 1);
    assert_eq!(house.states().await, [(1, GenerationState::Serving)]);
    projector.wait_for("tally", house.journal.append([add(1, 1)]), PATIENCE).await.unwrap();
    let back = rollback(&house.db.owner, &house.feeds, &*house.tally).await;
    assert!(matches!(back, Err(RebuildError::NoFormer)));
}

#[tokio::test]
async fn a_write_that_was_waited_for_is_there_across_a_swap() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..200).map(|n| add(n % 7, 1)));
    let projector = house.serve().await;
    let done = AtomicBool::new(false);
    let rebuilding = async {
        for _ in 0..3 {
            house.rebuild(small()).await.unwrap();
        }
        done.store(true, Ordering::SeqCst);
    };
    let reading = async {
        let mut expected = 200;
        while !done.load(Ordering::SeqCst) {
            projector.wait_for("tally", house.journal.append([add(1, 1)]), PATIENCE).await.unwrap();
            expected += 1;
            let total: i64 = rows(&house.db.server).await.iter().map(|row| row.1).sum();
            assert_eq!(total, expected, "what was waited for is read, whichever generation serves");
        }
    };
    tokio::join!(rebuilding, reading);
    let last = house.states().await;
    assert_eq!(last, [(3, GenerationState::Former), (4, GenerationState::Serving)], "older ones are dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_between_compare_and_swap_of_a_rebuild_is_in_both_generations() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..200).map(|n| add(n % 7, 1)));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let committed = AtomicU64::new(0);
    let rebuilt = rebuild(&house.db.owner, &house.feeds, &*house.tally, small(), &|progress| {
        // Told after the comparison and before the swap: the one that serves folds it, the new one has not.
        if progress.phase == Phase::Swapping && committed.fetch_add(1, Ordering::SeqCst) == 0 {
            let token = house.journal.append([add(3, 100)]);
            tokio::task::block_in_place(|| {
                runtime.block_on(projector.wait_for("tally", token, PATIENCE)).unwrap();
            });
        }
    })
    .await
    .unwrap();
    assert_eq!((rebuilt.generation, committed.load(Ordering::SeqCst)), (2, 1));
    let total = async || rows(&house.db.server).await.iter().map(|row| row.1).sum::<i64>();
    assert_eq!(total().await, 300, "the new generation has it");
    rollback(&house.db.owner, &house.feeds, &*house.tally).await.unwrap();
    assert_eq!(total().await, 300, "and so has the former one");
}

#[tokio::test]
async fn an_interrupted_rebuild_is_continued_unless_a_fresh_one_is_asked_for() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..500).map(|n| add(n % 7, 1)));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    // Killed after the third batch.
    let batches = AtomicU64::new(0);
    let (killed, kill) = tokio::sync::oneshot::channel::<()>();
    let killed = Mutex::new(Some(killed));
    let interrupted = async {
        let stop = |_| {
            if batches.fetch_add(1, Ordering::SeqCst) == 2 {
                drop(killed.lock().unwrap().take());
            }
        };
        rebuild(&house.db.owner, &house.feeds, &*house.tally, small(), &stop).await
    };
    tokio::select! {
        biased;
        _ = kill => {}
        result = interrupted => panic!("it was to be killed: {result:?}"),
    }
    let client = house.db.owner.get().await.unwrap();
    let at = checkpoints(&**client, &*house.tally, 2).await.unwrap();
    assert!(at[0].position >= Position(150) && at[0].position < Position(500), "{at:?}");

    let first = Mutex::new(None);
    let rebuilt = rebuild(&house.db.owner, &house.feeds, &*house.tally, small(), &|progress| {
        first.lock().unwrap().get_or_insert(progress.done);
    })
    .await
    .unwrap();
    assert!(rebuilt.continued && rebuilt.generation == 2);
    assert!(first.into_inner().unwrap().unwrap() > 150, "it did not start from zero");
    assert_eq!(rows_of(&house.db.owner, 1).await, rows_of(&house.db.owner, 2).await);
}

#[tokio::test]
async fn what_differs_is_not_swapped_unless_that_is_accepted() {
    let house = House::new(JOURNAL).await;
    house.tally.wrong.store(true, Ordering::SeqCst);
    house.journal.append((0..100).map(|n| add(n % 3, 1)));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    house.tally.wrong.store(false, Ordering::SeqCst);

    let comparison = match house.rebuild(small()).await {
        Err(RebuildError::Different(comparison)) => comparison,
        other => panic!("it differs, yet: {other:?}"),
    };
    let table = &comparison.tables[0];
    assert_eq!((table.rows_serving, table.rows_other, table.only_serving, table.only_other), (3, 3, 3, 3));
    assert!(table.examples[0].contains("00000000-0000-0000-0000-000000000000"), "{:?}", table.examples);
    assert_eq!(house.states().await, [(1, GenerationState::Serving), (2, GenerationState::Building)]);
    assert_eq!(rows(&house.db.server).await[0].1, 68);

    let accepting = RebuildSettings { accept_differences: true, ..small() };
    let rebuilt = house.rebuild(accepting).await.unwrap();
    assert!(rebuilt.continued && !rebuilt.comparison.is_equal());
    assert_eq!(rows(&house.db.server).await[0].1, 34);
    drop(projector);
}

#[tokio::test]
async fn a_rebuild_works_while_no_server_runs_and_stops_where_the_serving_one_stands() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..100).map(|n| add(n % 3, 1)));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    projector.drain().await;
    house.journal.append([add(1, 1)]);
    let rebuilt = house.rebuild(small()).await.unwrap();
    assert_eq!(rebuilt.comparison.positions[0].position, Position(100));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    assert_eq!(rows(&house.db.server).await.iter().map(|row| row.1).sum::<i64>(), 101);
}

#[tokio::test]
async fn verify_finds_no_difference_where_there_is_none_and_leaves_nothing_behind() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..300).map(|n| add(n % 7, 1)));
    house.journal.append([bad(2, "refuse"), add(2, 1)]);
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    let verified = verify(&house.db.owner, &house.feeds, &*house.tally, small(), &|_| {}).await.unwrap();
    assert!(verified.comparison.is_equal());
    assert_eq!(verified.comparison.tables[0].rows_other, 7);
    assert_eq!((verified.comparison.dead_letters_serving, verified.comparison.dead_letters_other), (2, 2));
    assert_eq!(verified.comparison.positions[0].position, Position(302));
    assert_eq!(house.states().await, [(1, GenerationState::Serving)]);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'read_model' AND tablename LIKE 'tally%'";
    let count: i64 = house.db.owner.get().await.unwrap().query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
}

#[tokio::test]
async fn verify_names_the_rows_that_were_tampered_with() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..300).map(|n| add(n % 7, 1)));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    let tamper = "UPDATE read_model.tally_v1_1 SET total = total + 1 WHERE id = '00000000-0000-0000-0000-000000000003'; \
                  DELETE FROM read_model.tally_v1_1 WHERE id = '00000000-0000-0000-0000-000000000005'";
    house.db.owner.get().await.unwrap().batch_execute(tamper).await.unwrap();
    let verified = verify(&house.db.owner, &house.feeds, &*house.tally, small(), &|_| {}).await.unwrap();
    let table = &verified.comparison.tables[0];
    assert!(!verified.comparison.is_equal());
    assert_eq!((table.only_serving, table.only_other), (1, 2));
    assert_eq!((table.rows_serving, table.rows_other), (6, 7));
    assert_eq!(table.examples.len(), 2);
    assert!(table.examples.iter().any(|key| key.contains("000000000005")), "{:?}", table.examples);
    drop(projector);
}

#[tokio::test]
async fn two_feeds_are_compared_at_the_same_two_positions() {
    let house = House::new(BOTH).await;
    let audit = TestFeed::new(FeedName::Audit);
    let feeds =
        Feeds::new(vec![Arc::clone(&house.journal) as Arc<dyn Feed>, Arc::clone(&audit) as Arc<dyn Feed>]);
    house.journal.append((0..120).map(|n| add(n % 3, 1)));
    audit.append((0..80).map(|n| add(10 + n % 3, 1)));
    let projections: Vec<Arc<dyn Projection>> = vec![Arc::clone(&house.tally) as Arc<dyn Projection>];
    let projector = Projector::start(projections, &feeds, &house.db.server, fast()).await.unwrap();
    for (feed, name) in [(&house.journal, FeedName::Journal), (&audit, FeedName::Audit)] {
        projector.wait_for_feed("tally", name, feed.token(), PATIENCE).await.unwrap();
    }
    assert_eq!(projector.health().len(), 2);
    let rebuilt = rebuild(&house.db.owner, &feeds, &*house.tally, small(), &|_| {}).await.unwrap();
    let positions: Vec<(String, u64)> =
        rebuilt.comparison.positions.iter().map(|c| (c.feed.clone(), c.position.0)).collect();
    assert_eq!(positions, [("audit".to_owned(), 80), ("journal".to_owned(), 120)]);
    audit.append([add(10, 1)]);
    projector.wait_for_feed("tally", FeedName::Audit, audit.token(), PATIENCE).await.unwrap();
    assert_eq!(rows(&house.db.server).await.iter().map(|row| row.1).sum::<i64>(), 201);
}

#[tokio::test]
async fn a_former_generation_that_cannot_be_fed_holds_up_nobody_and_catches_up_later() {
    let house = House::new(JOURNAL).await;
    house.journal.append((0..100).map(|n| add(n % 3, 1)));
    let projector = house.serve().await;
    projector.wait_for("tally", house.journal.token(), PATIENCE).await.unwrap();
    house.rebuild(small()).await.unwrap();
    let owner = house.db.owner.get().await.unwrap();
    owner.batch_execute("REVOKE INSERT ON read_model.tally_v1_1 FROM tenantry_server").await.unwrap();
    for _ in 0..3 {
        let token = house.journal.append((0..1_000).map(|n| add(n % 3, 1)));
        projector.wait_for("tally", token, PATIENCE).await.unwrap();
    }
    assert_eq!(rows(&house.db.server).await.iter().map(|row| row.1).sum::<i64>(), 3_100);
    assert_eq!(rows_of(&house.db.owner, 1).await.iter().map(|row| row.1).sum::<i64>(), 100);

    owner.batch_execute("GRANT INSERT ON read_model.tally_v1_1 TO tenantry_server").await.unwrap();
    eventually("the former one has caught up", async || {
        let at = checkpoints(&**house.db.owner.get().await.unwrap(), &*house.tally, 1).await.unwrap();
        at[0].position == Position(3_100)
    })
    .await;
    assert_eq!(rows_of(&house.db.owner, 1).await, rows_of(&house.db.owner, 2).await);
}

#[tokio::test]
async fn the_servers_role_can_make_and_drop_no_generation() {
    let house = House::new(JOURNAL).await;
    let server = house.db.server.get().await.unwrap();
    for sql in [
        "CREATE TABLE read_model.mine (a int)",
        "DROP TABLE read_model.tally_v1_1",
        "CREATE OR REPLACE VIEW read_model.tally_v1 AS SELECT * FROM read_model.tally_v1_1",
        "INSERT INTO projection_generation (projection, version, generation, state) VALUES ('a', 1, 1, 'serving')",
        "TRUNCATE read_model.tally_v1_1",
    ] {
        let error = server.batch_execute(sql).await.expect_err(sql);
        assert_eq!(
            error.code(),
            Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE),
            "{sql}: {error}"
        );
    }
}
