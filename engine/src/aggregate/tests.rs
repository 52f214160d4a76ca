use crate::command::DispatchError;
use crate::journal::Fault;
use crate::testing::{Counter, Wish, context, engine, id};
use kernel::ShardId;

/// What a live aggregate says of itself: its total and sequence.
async fn recalled(engine: &crate::Engine) -> Option<(u64, u64)> {
    let known = engine.directory::<Counter>().recall(id(1)).await;
    known.map(|(counter, sequence)| (counter.total, sequence))
}

async fn told(engine: &crate::Engine) -> (u64, u64) {
    let (counter, sequence) = engine.recall::<Counter>(id(1)).await.unwrap();
    (counter.total, sequence)
}

#[tokio::test]
async fn what_is_live_is_recalled_once_it_is_durable_and_not_before() {
    let (engine, journal) = engine().await;
    assert_eq!((recalled(&engine).await, told(&engine).await), (None, (0, 0)), "nobody is live");
    engine.dispatch::<Counter>(id(1), Wish::Add(5), context()).await.unwrap();
    assert_eq!((recalled(&engine).await, told(&engine).await), (Some((5, 1)), (5, 1)));

    let held = journal.hold().await;
    let adds = tokio::spawn({
        let engine = engine.clone();
        async move { engine.dispatch::<Counter>(id(1), Wish::Add(2), context()).await }
    });
    while engine.health().commands_under_way == 0 || engine.health().writer_queue > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((recalled(&engine).await, told(&engine).await), (None, (5, 1)), "it is being committed");
    drop(held);
    adds.await.unwrap().unwrap();
    assert_eq!((recalled(&engine).await, told(&engine).await), (Some((7, 2)), (7, 2)));
}

#[tokio::test]
async fn what_was_decided_on_what_never_was_is_not_recalled() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(5), context()).await.unwrap();
    journal.inject(Fault::Unavailable);
    let failed = engine.dispatch::<Counter>(id(1), Wish::Add(2), context()).await;
    assert!(matches!(failed, Err(DispatchError::Unavailable { .. })), "{failed:?}");
    assert_eq!((recalled(&engine).await, told(&engine).await), (None, (5, 1)));
}

#[tokio::test]
async fn a_node_that_lost_its_shard_recalls_nothing_once_it_knows() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(5), context()).await.unwrap();
    journal.usurp(ShardId(0));
    let _ = engine.dispatch::<Counter>(id(2), Wish::Add(1), context()).await;
    assert_eq!((recalled(&engine).await, told(&engine).await), (None, (5, 1)));
}
