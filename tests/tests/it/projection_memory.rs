//! Projections in memory: rebuilt at start, followed live, and what they answer when they can't know.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::feed::Feed;
use engine::projection::{
    Feeds, FoldError, FollowSettings, FollowerState, Freshness, Memories, MemoryHandle, MemoryProjection,
};
use kernel::{Envelope, ShardId};
use uuid::Uuid;

use crate::feeds::{PATIENCE, TestFeed, envelope, eventually, fast, never_polls};
use crate::projection_tally::{add, bad, id};

#[derive(Default)]
struct Sums {
    fails_closed: bool,
    sums: Mutex<HashMap<Uuid, i64>>,
    resets: Mutex<u32>,
}

impl Sums {
    fn of(&self, stream: u128) -> Option<i64> {
        self.sums.lock().unwrap().get(&id(stream)).copied()
    }
}

impl MemoryProjection for Sums {
    fn name(&self) -> &'static str {
        "sums"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["tally"]
    }

    fn fails_closed(&self) -> bool {
        self.fails_closed
    }

    fn reset(&self, _: ShardId) {
        *self.resets.lock().unwrap() += 1;
        self.sums.lock().unwrap().clear();
    }

    fn apply(&self, event: &Envelope) -> Result<(), FoldError> {
        let n = event.payload["Add"].as_i64().ok_or_else(|| FoldError::Event("no number".to_owned()))?;
        *self.sums.lock().unwrap().entry(event.stream.id).or_default() += n;
        Ok(())
    }
}

async fn start(sums: &Arc<Sums>, feed: &Arc<TestFeed>, settings: FollowSettings) -> (Memories, MemoryHandle) {
    let projections: Vec<Arc<dyn MemoryProjection>> = vec![Arc::clone(sums) as Arc<dyn MemoryProjection>];
    let feeds = Feeds::new(vec![Arc::clone(feed) as Arc<dyn Feed>]);
    let memories = Memories::start(projections, &feeds, settings).await.unwrap();
    let handle = memories.handle("sums").unwrap();
    (memories, handle)
}

#[tokio::test]
async fn memory_is_rebuilt_from_zero_and_followed_live() {
    let (sums, feed) = (Arc::new(Sums::default()), TestFeed::journal());
    feed.append((0..3_000).map(|n| add(n % 3, 1)));
    feed.append([envelope("other", id(1), "other.thing", serde_json::json!({"Odd": true}))]);
    let (memories, handle) = start(&sums, &feed, never_polls()).await;
    handle.wait_for(feed.token(), PATIENCE).await.unwrap();
    assert_eq!(sums.of(0), Some(1_000));
    eventually("it is ready", async || handle.is_ready()).await;
    handle.wait_for(feed.append([add(0, 5)]), PATIENCE).await.unwrap();
    assert_eq!(sums.of(0), Some(1_005));
    assert!(memories.are_ready(Duration::from_secs(2)));
    assert_eq!(handle.health()[0].dead_letters, 0, "streams of other types are not its concern");
}

/// What nobody told it is found at the next wake-up, and without one by looking.
#[tokio::test]
async fn a_lost_wake_up_loses_nothing() {
    let (sums, feed) = (Arc::new(Sums::default()), TestFeed::journal());
    let (_memories, handle) = start(&sums, &feed, never_polls()).await;
    handle.wait_for(feed.append([add(1, 1)]), PATIENCE).await.unwrap();
    eventually("it is ready", async || handle.is_ready()).await;
    feed.append_silently([add(1, 2)]);
    handle.wait_for(feed.append([add(1, 4)]), PATIENCE).await.unwrap();
    assert_eq!(sums.of(1), Some(7), "in order, none left out, none twice");
    let (sums, feed) = (Arc::new(Sums::default()), TestFeed::journal());
    let (_memories, handle) = start(&sums, &feed, fast()).await;
    eventually("it is ready", async || handle.is_ready()).await;
    handle.wait_for(feed.append_silently([add(1, 2)]), PATIENCE).await.unwrap();
    assert_eq!(sums.of(1), Some(2));
}

/// REQUIREMENTS §3: who knows that something is missing does not take itself for current, and so does not answer for long.
#[tokio::test]
async fn who_hears_of_something_beyond_a_gap_is_not_current() {
    let (sums, feed) = (Arc::new(Sums::default()), TestFeed::journal());
    let (_memories, handle) = start(&sums, &feed, never_polls()).await;
    handle.wait_for(feed.append([add(1, 1)]), PATIENCE).await.unwrap();
    eventually("it is ready", async || handle.is_ready()).await;
    feed.failures.store(u32::MAX, Ordering::SeqCst);
    let before = tokio::time::Instant::now();
    feed.append_with_a_gap([add(1, 2), add(1, 4), add(1, 8)]);
    eventually("it can't read what is missing", async || handle.health()[0].state == FollowerState::Retrying)
        .await;
    assert_eq!(sums.of(1), Some(3), "what came before the gap is folded");
    let known = before.elapsed();
    assert!(handle.age().unwrap() >= known, "it last knew itself complete before it heard of the gap");
    feed.failures.store(0, Ordering::SeqCst);
    handle.wait_for(feed.token(), PATIENCE).await.unwrap();
    assert_eq!(sums.of(1), Some(15));
}

#[tokio::test]
async fn before_it_has_caught_up_nothing_is_answered() {
    let (sums, feed) = (Arc::new(Sums::default()), TestFeed::journal());
    feed.failures.store(u32::MAX, Ordering::SeqCst);
    let (memories, handle) = start(&sums, &feed, fast()).await;
    eventually("it tries", async || handle.health()[0].state == FollowerState::Retrying).await;
    assert!(!handle.is_ready() && !memories.are_ready(PATIENCE));
    assert_eq!(handle.freshness(PATIENCE), Freshness::Unavailable);
}

#[tokio::test]
async fn without_knowing_itself_current_one_goes_on_with_its_age_and_the_other_fails_closed() {
    for fails_closed in [false, true] {
        let (sums, feed) = (Arc::new(Sums { fails_closed, ..Sums::default() }), TestFeed::journal());
        let (_memories, handle) = start(&sums, &feed, fast()).await;
        handle.wait_for(feed.append([add(1, 1)]), PATIENCE).await.unwrap();
        eventually("it is fresh", async || handle.freshness(PATIENCE) == Freshness::Fresh).await;
        feed.failures.store(u32::MAX, Ordering::SeqCst);
        let lease = Duration::from_millis(60);
        eventually("its lease has lapsed", async || handle.age().unwrap() > lease).await;
        match handle.freshness(lease) {
            Freshness::Stale { age } => assert!(!fails_closed && age > lease),
            Freshness::Unavailable => assert!(fails_closed),
            Freshness::Fresh => panic!("it can't know"),
        }
        assert_eq!(sums.of(1), Some(1), "what it holds is kept");
        feed.failures.store(0, Ordering::SeqCst);
        eventually("it is fresh again", async || handle.freshness(lease) == Freshness::Fresh).await;
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_folded_is_left_out_and_reported() {
    let (sums, feed) = (Arc::new(Sums::default()), TestFeed::journal());
    feed.append([add(1, 1), bad(1, "refuse"), add(1, 2), add(2, 5)]);
    let (_memories, handle) = start(&sums, &feed, fast()).await;
    handle.wait_for(feed.token(), PATIENCE).await.unwrap();
    assert_eq!((sums.of(1), sums.of(2)), (Some(1), Some(5)));
    eventually("it is reported", async || handle.health()[0].dead_letters == 2).await;
}

#[tokio::test]
async fn what_fails_closed_never_goes_past_an_event_it_cannot_fold() {
    let (sums, feed) = (Arc::new(Sums { fails_closed: true, ..Sums::default() }), TestFeed::journal());
    feed.append([add(1, 1), bad(1, "refuse"), add(2, 5)]);
    let (_memories, handle) = start(&sums, &feed, fast()).await;
    eventually("it is stuck", async || handle.health()[0].state == FollowerState::Stuck).await;
    assert_eq!((handle.position(ShardId(0)).unwrap().0, sums.of(2)), (1, None));
    assert_eq!(handle.freshness(PATIENCE), Freshness::Unavailable);
}

#[tokio::test]
async fn after_a_crash_it_starts_from_zero_and_counts_nothing_twice() {
    let (sums, feed) = (Arc::new(Sums::default()), TestFeed::journal());
    let (_memories, handle) = start(&sums, &feed, fast()).await;
    handle.wait_for(feed.append((0..10).map(|_| add(1, 1))), PATIENCE).await.unwrap();
    feed.panics.store(1, Ordering::SeqCst);
    eventually("it started again", async || *sums.resets.lock().unwrap() == 2).await;
    handle.wait_for(feed.append([add(1, 1)]), PATIENCE).await.unwrap();
    assert_eq!(sums.of(1), Some(11));
}
