//! Reading a feed at length: every event once and in order, whatever is in the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::feed::{Feed, FeedError, Interest};
use engine::follow::ReadAhead;
use kernel::{Envelope, Position};
use serde_json::json;
use uuid::Uuid;

use crate::feeds::{TestFeed, envelope};

fn events(count: u128) -> impl Iterator<Item = Envelope> {
    (0..count).map(|n| {
        let of = if n % 3 == 0 { "tenant" } else { "user" };
        envelope(of, Uuid::from_u128(n % 5), "test.happened", json!(n.to_string()))
    })
}

fn ahead(feed: &Arc<TestFeed>, of: Interest, window: usize, end: u64) -> ReadAhead {
    let feed: Arc<dyn Feed> = feed.clone();
    ReadAhead::new(feed, of, window, Position::ZERO, Position(end))
}

/// The positions it gives until it ends or fails.
async fn rest(ahead: &mut ReadAhead) -> (Vec<u64>, Result<(), FeedError>) {
    let mut positions = Vec::new();
    loop {
        match ahead.next().await {
            Ok(Some(read)) => {
                assert_eq!(read.through, ahead.position());
                positions.extend(read.events.iter().map(|event| event.position.0));
            }
            Ok(None) => return (positions, Ok(())),
            Err(error) => return (positions, Err(error)),
        }
    }
}

#[tokio::test]
async fn every_event_of_interest_comes_once_in_order_up_to_where_it_ends() {
    let feed = TestFeed::journal();
    feed.append(events(1_000));
    for window in [1, 7, 100, 5_000] {
        let (positions, end) = rest(&mut ahead(&feed, Interest::All, window, 900)).await;
        assert_eq!(positions, (1..=900).collect::<Vec<_>>(), "by {window}");
        end.unwrap();
        let (positions, end) = rest(&mut ahead(&feed, Interest::Only(&["tenant"]), window, 900)).await;
        assert_eq!(positions, (1..=900).step_by(3).collect::<Vec<_>>(), "by {window}");
        end.unwrap();
    }
}

#[tokio::test]
async fn at_the_head_it_ends_and_goes_on_when_there_is_more() {
    let feed = TestFeed::journal();
    feed.append(events(25));
    let mut ahead = ahead(&feed, Interest::All, 10, 60);
    assert_eq!(rest(&mut ahead).await.0, (1..=25).collect::<Vec<_>>());
    feed.append(events(35));
    assert_eq!(rest(&mut ahead).await.0, (26..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_comes_before_an_event_that_cannot_be_decoded_is_given_and_what_comes_after_it_too() {
    let feed = TestFeed::journal();
    feed.append(events(100));
    for spoilt in [1, 34, 40, 41, 100] {
        feed.spoil(spoilt);
        let mut ahead = ahead(&feed, Interest::All, 20, 100);
        let (before, end) = rest(&mut ahead).await;
        assert_eq!(before, (1..spoilt).collect::<Vec<_>>());
        let Err(FeedError::Undecodable { position, .. }) = end else { panic!("{end:?} at {spoilt}") };
        assert_eq!(position, Position(spoilt));
        ahead.restart(position);
        assert_eq!(rest(&mut ahead).await.0, (spoilt + 1..=100).collect::<Vec<_>>());
        feed.mend();
    }
}

/// Rows are parsed before they are opened, so that it is not always the first that is complained of.
#[tokio::test]
async fn of_several_that_cannot_be_decoded_the_first_is_told_first() {
    let feed = TestFeed::journal();
    feed.append(events(60));
    feed.tells_last_first.store(true, Ordering::SeqCst);
    [10, 11, 40].into_iter().for_each(|position| feed.spoil(position));
    let mut ahead = ahead(&feed, Interest::All, 50, 60);
    let mut given = Vec::new();
    for spoilt in [10, 11, 40] {
        let (positions, end) = rest(&mut ahead).await;
        given.extend(positions);
        let Err(FeedError::Undecodable { position, .. }) = end else { panic!("{end:?} at {spoilt}") };
        assert_eq!(position, Position(spoilt));
        ahead.restart(position);
    }
    given.extend(rest(&mut ahead).await.0);
    assert_eq!(given, (1..=60).filter(|position| ![10, 11, 40].contains(position)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_window_that_is_not_waited_for_is_not_lost() {
    let feed = TestFeed::journal();
    feed.append(events(40));
    let mut ahead = ahead(&feed, Interest::All, 10, 40);
    // Asked once, and dropped before it can be there.
    assert!(futures::poll!(std::pin::pin!(ahead.next())).is_pending());
    assert_eq!(rest(&mut ahead).await.0, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_window_that_cannot_be_read_now_is_read_again_by_who_asks_again() {
    let feed = TestFeed::journal();
    feed.append(events(50));
    let mut ahead = ahead(&feed, Interest::All, 10, 50);
    ahead.next().await.unwrap().unwrap();
    feed.failures.store(1, Ordering::SeqCst);
    let (mut given, mut failures) = (Vec::new(), 0);
    loop {
        let (positions, end) = rest(&mut ahead).await;
        given.extend(positions);
        match end {
            Ok(()) => break,
            Err(_) => failures += 1,
        }
    }
    assert_eq!((given, failures), ((11..=50).collect(), 1));
}
