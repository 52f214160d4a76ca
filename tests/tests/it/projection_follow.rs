//! Projection actors: catching up, following live, waiting, and what a crash or a rival does to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::feed::{Feed, FeedName};
use engine::projection::{Feeds, FollowSettings, FollowerState, Projection, Projector, WaitError};
use kernel::{Position, PositionToken, ShardId};

use crate::db::TestDb;
use crate::feeds::{PATIENCE, TestFeed, eventually, fast, never_polls};
use crate::projection_tally::{Tally, add, bad, idle, rows};

async fn start(db: &TestDb, tally: &Arc<Tally>, feed: &Arc<TestFeed>, settings: FollowSettings) -> Projector {
    let projections: Vec<Arc<dyn Projection>> = vec![Arc::clone(tally) as Arc<dyn Projection>];
    let feeds = Feeds::new(vec![Arc::clone(feed) as Arc<dyn Feed>]);
    Projector::start(projections, &feeds, &db.server, settings).await.unwrap()
}

#[tokio::test]
async fn a_projection_catches_up_and_then_follows_live_without_polling() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    feed.append((0..2_500).map(|n| add(n % 10, 1)));
    let projector = start(&db, &tally, &feed, never_polls()).await;
    projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await.iter().map(|row| row.1).sum::<i64>(), 2_500);

    eventually("it is live", async || projector.health()[0].state == FollowerState::Live).await;
    let token = feed.append([add(1, 5), add(2, 6)]);
    projector.wait_for("tally", token, PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await[1].1, 255);
    let health = &projector.health()[0];
    assert_eq!((health.position, health.lag_events), (Position(2_502), 0));
    assert!(health.is_healthy());
}

#[tokio::test]
async fn what_comes_while_a_projection_rests_shares_a_transaction_unless_somebody_waits_for_it() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    // Nobody would see the end of such a rest; who catches up takes none.
    let settings = FollowSettings { rest: PATIENCE * 10, batch_events_max: 7, ..fast() };
    feed.append((0..50).map(|_| add(0, 1)));
    let projector = start(&db, &tally, &feed, settings).await;
    eventually("it is live", async || projector.health()[0].state == FollowerState::Live).await;
    let writers = async |streams: &str| -> i64 {
        let sql = format!(
            "SELECT count(DISTINCT xmin::text) FROM read_model.tally_v1_1 \
             WHERE id::text ~ '0000-00000000000[{streams}]$'"
        );
        db.server.get().await.unwrap().query_one(&sql, &[]).await.unwrap().get(0)
    };
    // One at a time, each waited for.
    for stream in 1..=3 {
        projector.wait_for("tally", feed.append([add(stream, 1)]), PATIENCE).await.unwrap();
    }
    assert_eq!(writers("123").await, 3);
    // A few that nobody waits for, and then one that somebody does.
    let tokens: Vec<_> = (4..=6).map(|stream| feed.append([add(stream, 1)])).collect();
    projector.wait_for("tally", tokens[2], PATIENCE).await.unwrap();
    assert_eq!(writers("456").await, 1);
}

/// The projection would stumble over such an event if it were shown one, and its checkpoint would move.
#[tokio::test]
async fn what_leaves_nothing_in_a_read_model_is_passed_without_a_transaction() {
    let (db, tally, feed) =
        (TestDb::new().await, Tally::with(true, &[FeedName::Journal]), TestFeed::journal());
    tally.install(&db).await;
    feed.append([add(1, 5), idle(1)]);
    // How far it passed is written down only now and then.
    let projector = start(&db, &tally, &feed, never_polls()).await;
    eventually("it is live", async || projector.health()[0].state == FollowerState::Live).await;
    let written = async || -> i64 {
        let sql = "SELECT position FROM projection_checkpoint WHERE projection = 'tally'";
        db.server.get().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    };
    for _ in 0..3 {
        projector.wait_for("tally", feed.append([idle(1), idle(2)]), PATIENCE).await.unwrap();
    }
    assert_eq!(written().await, 2);
    // Of a batch with some that concern it, it is shown those.
    projector.wait_for("tally", feed.append([idle(2), add(1, 7), idle(1)]), PATIENCE).await.unwrap();
    assert_eq!(written().await, 11);
    assert_eq!(rows(&db.server).await.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(), [(1, 12)]);
}

#[tokio::test]
async fn a_transaction_that_broke_off_leaves_nothing_behind_and_its_connection_serves_on() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let projector = start(&db, &tally, &feed, fast()).await;
    let token = feed.append([add(1, 5), bad(2, "break off"), add(1, 7)]);
    eventually("it tries again", async || projector.health()[0].state == FollowerState::Retrying).await;
    // All its attempts and these readers share a pool.
    for _ in 0..20 {
        assert_eq!(rows(&db.server).await, []);
    }
    tally.mended.store(true, Ordering::SeqCst);
    projector.wait_for("tally", token, PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await, [(1, 12, vec![1, 2]), (2, 1_000, vec![1])]);
}

#[tokio::test]
async fn a_lost_wake_up_loses_nothing() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let projector = start(&db, &tally, &feed, never_polls()).await;
    let token = feed.append([add(1, 1)]);
    projector.wait_for("tally", token, PATIENCE).await.unwrap();
    eventually("it is live", async || projector.health()[0].state == FollowerState::Live).await;
    // Another process appends and tells nobody here; the next wake-up shows a gap.
    feed.append_silently([add(1, 2), add(1, 3)]);
    let token = feed.append([add(1, 4)]);
    projector.wait_for("tally", token, PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await, [(1, 10, vec![1, 2, 3, 4])]);
}

#[tokio::test]
async fn what_other_processes_append_is_found_by_polling() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let projector = start(&db, &tally, &feed, fast()).await;
    let token = feed.append_silently([add(1, 7)]);
    projector.wait_for("tally", token, PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await[0].1, 7);
}

#[tokio::test]
async fn waiting_for_what_does_not_come_ends_and_says_where_it_stands() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let projector = start(&db, &tally, &feed, fast()).await;
    let token = feed.append([add(1, 1)]);
    projector.wait_for("tally", token, PATIENCE).await.unwrap();
    let wanted = PositionToken { shard: ShardId(0), position: Position(2) };
    assert_eq!(
        projector.wait_for("tally", wanted, Duration::from_millis(10)).await,
        Err(WaitError::TimedOut { wanted: Position(2), found: Position(1) })
    );
    let nowhere = PositionToken { shard: ShardId(9), position: Position(1) };
    assert_eq!(projector.wait_for("tally", nowhere, PATIENCE).await, Err(WaitError::UnknownShard));
}

#[tokio::test]
async fn two_servers_on_one_database_fold_each_event_once() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let settings = FollowSettings { batch_events_max: 7, ..fast() };
    let first = start(&db, &tally, &feed, settings).await;
    let second = start(&db, &tally, &feed, settings).await;
    for n in 0..100 {
        feed.append((0..5).map(|m| add(m, n)));
    }
    for projector in [&first, &second] {
        projector.wait_for("tally", feed.token(), PATIENCE).await.unwrap();
    }
    let expected: Vec<(u128, i64, Vec<i64>)> =
        (0..5).map(|m| (m, (0..100).sum(), (1..=100).collect())).collect();
    assert_eq!(rows(&db.server).await, expected);
}

#[tokio::test]
async fn an_actor_that_crashes_is_started_again_and_goes_on_where_it_was() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let projector = start(&db, &tally, &feed, fast()).await;
    projector.wait_for("tally", feed.append([add(1, 1)]), PATIENCE).await.unwrap();
    feed.panics.store(1, Ordering::SeqCst);
    eventually("it crashes", async || feed.panics.load(Ordering::SeqCst) == 0).await;
    projector.wait_for("tally", feed.append([add(1, 2)]), PATIENCE).await.unwrap();
    assert_eq!(rows(&db.server).await, [(1, 3, vec![1, 2])]);
}

#[tokio::test]
async fn a_feed_that_cannot_be_read_is_reported_and_read_again() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    feed.failures.store(3, Ordering::SeqCst);
    let projector =
        start(&db, &tally, &feed, FollowSettings { retry_min: Duration::from_millis(100), ..fast() }).await;
    eventually("it says so", async || {
        let health = &projector.health()[0];
        health.state == FollowerState::Retrying && health.last_error.is_some() && health.advice.is_some()
    })
    .await;
    projector.wait_for("tally", feed.append([add(1, 1)]), PATIENCE).await.unwrap();
    eventually("it is well", async || projector.health()[0].last_error.is_none()).await;
}

#[tokio::test]
async fn without_tables_it_says_what_to_do() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    let projector = start(&db, &tally, &feed, fast()).await;
    eventually("it says so", async || {
        let health = &projector.health()[0];
        health.state == FollowerState::Stuck
            && health.advice.as_deref() == Some("run the migrations with this binary")
    })
    .await;
    tally.install(&db).await;
    projector.wait_for("tally", feed.append([add(1, 1)]), PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_drained_projector_has_stopped_and_moves_no_more() {
    let (db, tally, feed) = (TestDb::new().await, Tally::new(), TestFeed::journal());
    tally.install(&db).await;
    let projector = start(&db, &tally, &feed, never_polls()).await;
    projector.wait_for("tally", feed.append([add(1, 1)]), PATIENCE).await.unwrap();
    tokio::time::timeout(PATIENCE, projector.drain()).await.unwrap();
    assert_eq!(projector.health()[0].state, FollowerState::Stopped);
    assert!(!feed.is_heard());
    feed.append([add(1, 2)]);
    assert_eq!(projector.position("tally", FeedName::Journal, ShardId(0)), Some(Position(1)));
    assert_eq!(rows(&db.server).await[0].1, 1);
}
