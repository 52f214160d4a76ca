//! Events that can't be folded: parked with their streams, reported, replayed in order; or stopped at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::feed::{Feed, FeedName};
use engine::projection::{
    DeadLetterReplay, Feeds, FollowerState, Projection, Projector, dead_letters, replay_dead_letters,
};
use kernel::Position;

use crate::db::TestDb;
use crate::feeds::{PATIENCE, TestFeed, eventually, fast};
use crate::projection_tally::{Tally, add, bad, rows};

async fn start(db: &TestDb, tally: &Arc<Tally>, feed: &Arc<TestFeed>) -> (Projector, Feeds) {
    tally.install(db).await;
    let projections: Vec<Arc<dyn Projection>> = vec![Arc::clone(tally) as Arc<dyn Projection>];
    let feeds = Feeds::new(vec![Arc::clone(feed) as Arc<dyn Feed>]);
    let projector = Projector::start(projections, &feeds, &db.server, fast()).await.unwrap();
    (projector, feeds)
}

async fn parked(db: &TestDb, tally: &Tally) -> Vec<(u64, String)> {
    let letters = dead_letters(&db.server, tally).await.unwrap();
    letters.into_iter().map(|letter| (letter.position.0, letter.reason)).collect()
}

#[tokio::test]
async fn an_event_that_cannot_be_folded_parks_its_stream_and_no_other() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    // Appended before the start, so that all of it is one batch and the bad ones must be found in it.
    let mut events: Vec<_> = (0..100).map(|n| add(n % 4, 1)).collect();
    events.insert(50, bad(1, "refuse"));
    events.insert(60, bad(2, "violate"));
    events.insert(70, bad(3, "panic"));
    feed.append(events);
    let (projector, _) = start(&db, &tally, &feed).await;
    projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();

    let totals: Vec<i64> = rows(&db.server).await.iter().map(|row| row.1).collect();
    assert_eq!(totals[0], 25, "a stream without a bad event has all of its events");
    let parked = parked(&db, &tally).await;
    let folded: i64 = totals.iter().sum();
    assert_eq!(folded + parked.len() as i64, 103, "every event is folded or parked");
    assert_eq!(parked[0], (51, "the test asked for a refusal".to_owned()));
    assert!(
        parked.iter().any(|(position, reason)| *position == 61 && reason.contains("23514")),
        "{parked:?}"
    );
    assert!(parked.contains(&(71, "the fold panicked".to_owned())));
    let later = "an earlier event of this stream is parked";
    assert!(parked.iter().filter(|(_, reason)| reason == later).count() > 10);

    let health = projector.health().remove(0);
    assert_eq!(health.dead_letters, parked.len() as u64);
    assert!(!health.is_healthy() && health.advice.unwrap().contains("replay dead-letters"));
    // Later ones follow into the dead letters, the others go on.
    projector.wait_for("tally", feed.append([add(1, 1), add(0, 1)]), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await[0].1, 26);
    assert_eq!(dead_letters(&db.server, &*tally).await.unwrap().len(), parked.len() + 1);
}

#[tokio::test]
async fn parked_events_are_replayed_in_order_once_the_fold_is_mended() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    feed.append([add(1, 1), bad(1, "refuse"), add(1, 2), add(2, 5), bad(3, "violate"), add(1, 3)]);
    let (projector, feeds) = start(&db, &tally, &feed).await;
    projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await, [(1, 1, vec![1]), (2, 5, vec![1])]);

    let before = parked(&db, &tally).await;
    let replay = replay_dead_letters(&db.server, &feeds, &*tally).await.unwrap();
    assert_eq!(replay, DeadLetterReplay { folded: 0, parked: 4 }, "nothing was mended yet");
    assert_eq!(parked(&db, &tally).await, before);

    tally.mended.store(true, Ordering::SeqCst);
    let replay = replay_dead_letters(&db.server, &feeds, &*tally).await.unwrap();
    assert_eq!(replay, DeadLetterReplay { folded: 4, parked: 0 });
    let expected = [(1, 1_006, vec![1, 2, 3, 4]), (2, 5, vec![1]), (3, 1_000, vec![1])];
    assert_eq!(rows(&db.server).await, expected);
    // The stream is followed again.
    projector.wait_for("tally", feed.append([add(1, 4)]), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await[0].2, [1, 2, 3, 4, 5]);
    eventually("it is healthy", async || projector.health()[0].is_healthy()).await;
}

#[tokio::test]
async fn an_event_that_cannot_even_be_decoded_is_parked_too() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    feed.append([add(1, 1), add(2, 2), add(3, 3), add(2, 4)]);
    feed.spoil(2);
    let (projector, feeds) = start(&db, &tally, &feed).await;
    projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await, [(1, 1, vec![1]), (3, 3, vec![1])]);
    feed.mend();
    let replay = replay_dead_letters(&db.server, &feeds, &*tally).await.unwrap();
    assert_eq!(replay, DeadLetterReplay { folded: 2, parked: 0 });
    assert_eq!(rows(&db.server).await[1], (2, 6, vec![1, 2]));
}

#[tokio::test]
async fn two_events_that_cannot_be_decoded_hold_nobody_up_whichever_is_complained_of_first() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    feed.append([add(1, 1), add(2, 2), add(3, 3), add(4, 4), add(5, 5)]);
    feed.tells_last_first.store(true, std::sync::atomic::Ordering::SeqCst);
    feed.spoil(2);
    feed.spoil(4);
    let (projector, _) = start(&db, &tally, &feed).await;
    projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();
    let folded: Vec<u128> = rows(&db.server).await.into_iter().map(|row| row.0).collect();
    assert_eq!((folded, parked(&db, &tally).await.len()), (vec![1, 3, 5], 2));
}

#[tokio::test]
async fn a_projection_that_fails_closed_stops_before_what_it_cannot_fold() {
    let (db, feed) = (TestDb::new().await, TestFeed::journal());
    let tally = Tally::with(true, &[FeedName::Journal]);
    feed.append([add(1, 1), bad(2, "refuse"), add(3, 3)]);
    let (projector, _) = start(&db, &tally, &feed).await;
    eventually("it says that it is stuck", async || projector.health()[0].state == FollowerState::Stuck)
        .await;
    let health = projector.health().remove(0);
    assert!(health.last_error.unwrap().contains("position 2"), "the position is named");
    assert_eq!(health.position, Position(1));
    assert_eq!(rows(&db.server).await, [(1, 1, vec![1])]);
    assert!(parked(&db, &tally).await.is_empty());

    tally.mended.store(true, Ordering::SeqCst);
    projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await.len(), 3);
}

#[tokio::test]
async fn a_database_error_parks_nothing() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let owner = db.owner.get().await.unwrap();
    owner.batch_execute("REVOKE INSERT ON read_model.tally_v1_1 FROM tenantry_server").await.unwrap();
    feed.append([add(1, 1)]);
    let (projector, _) = start(&db, &tally, &feed).await;
    eventually("it tries again", async || projector.health()[0].state == FollowerState::Retrying).await;
    assert!(parked(&db, &tally).await.is_empty());
    owner.batch_execute("GRANT INSERT ON read_model.tally_v1_1 TO tenantry_server").await.unwrap();
    projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await, [(1, 1, vec![1])]);
}
