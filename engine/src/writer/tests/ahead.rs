//! Batches that are sent before the one before them is answered.

use tokio::task::JoinHandle;

use super::*;
use crate::EngineConfig;
use crate::writer::WriterConfig;

type Asked = JoinHandle<Result<Receipt, DispatchError<TooMuch>>>;

/// How many must wait to be sent ahead.
const ENOUGH: usize = 5;

async fn eager() -> (Engine, Arc<MemoryJournal>) {
    let writer = WriterConfig { ahead_items_min: ENOUGH, ..config().writer };
    engine_with(EngineConfig { writer, ..config() }).await
}

/// While the journal is held: a command that is being committed alone.
async fn alone(engine: &Engine, journal: &MemoryJournal, wish: Wish) -> Asked {
    let begun = journal.begun();
    let asked = tokio::spawn(dispatched(engine, id(1), wish));
    until(|| journal.begun() > begun).await;
    asked
}

/// While the journal is held: a first command that is being committed alone, and so many others, to streams from 10 on.
async fn behind(engine: &Engine, journal: &MemoryJournal, first: Wish, others: usize) -> (Asked, Vec<Asked>) {
    let first = alone(engine, journal, first).await;
    let others: Vec<_> =
        (0..others).map(|n| tokio::spawn(dispatched(engine, id(10 + n as u128), Wish::Add(1)))).collect();
    until(|| engine.health().commands_under_way == others.len() + 1).await;
    (first, others)
}

/// So many batches were sent, answered or not.
async fn sent(journal: &MemoryJournal, batches: usize) {
    until(|| journal.begun() == batches).await;
}

async fn all_stand(journal: &MemoryJournal, first: Asked, others: Vec<Asked>) {
    let count = others.len() as u64 + 1;
    for answer in join_all(others.into_iter().chain([first])).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(positions(journal).await, (1..=count).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_waits_is_sent_before_the_batch_under_way_is_answered() {
    let (engine, journal) = eager().await;
    let held = journal.hold().await;
    let (first, others) = behind(&engine, &journal, Wish::Add(1), ENOUGH).await;
    sent(&journal, 2).await;
    assert!(others.iter().all(|asked| !asked.is_finished()), "nothing is durable yet");
    drop(held);
    all_stand(&journal, first, others).await;
}

/// Small batches would cost more than they save; and no more than one is sent ahead.
#[tokio::test]
async fn what_is_too_little_waits_for_the_answer_and_so_does_what_comes_behind_two() {
    let (engine, journal) = eager().await;
    let held = journal.hold().await;
    let (first, mut others) = behind(&engine, &journal, Wish::Add(1), ENOUGH - 1).await;
    until(|| engine.health().writer_queue == ENOUGH - 1).await;
    assert_eq!(journal.begun(), 1);
    others.push(tokio::spawn(dispatched(&engine, id(100), Wish::Add(1))));
    sent(&journal, 2).await;
    let more = (0..ENOUGH * 2).map(|n| tokio::spawn(dispatched(&engine, id(200 + n as u128), Wish::Add(1))));
    others.extend(more);
    until(|| engine.health().writer_queue == ENOUGH * 2).await;
    assert_eq!(journal.begun(), 2);
    drop(held);
    all_stand(&journal, first, others).await;
}

#[tokio::test]
async fn behind_a_batch_that_is_refused_nothing_is_lost_and_nothing_else_refused() {
    let (engine, journal) = eager().await;
    engine.dispatch::<Counter>(id(2), Wish::Name("acme"), context()).await.unwrap();
    let held = journal.hold().await;
    let (first, others) = behind(&engine, &journal, Wish::Name("acme"), ENOUGH).await;
    sent(&journal, 3).await;
    drop(held);
    assert_eq!(first.await.unwrap(), Err(DispatchError::ClaimTaken { kind: "counter.name".into() }));
    for answer in join_all(others).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(positions(&*journal).await, (1..=ENOUGH as u64 + 1).collect::<Vec<_>>());
}

/// Each as often as it takes, in whatever way the first of two fails.
#[tokio::test]
async fn behind_a_batch_that_ends_unclear_each_command_is_carried_out_once() {
    for fault in [Fault::AnswerLost, Fault::NeverCommitted, Fault::Deadlock] {
        let (engine, journal) = eager().await;
        journal.inject(fault);
        let held = journal.hold().await;
        let (first, others) = behind(&engine, &journal, Wish::Add(1), ENOUGH).await;
        sent(&journal, 2).await;
        drop(held);
        all_stand(&journal, first, others).await;
    }
}

/// What was decided on a state that never was must not be written, also if it was sent by then.
#[tokio::test]
async fn what_was_decided_on_what_a_refused_batch_would_have_made_is_decided_again() {
    let (engine, journal) = eager().await;
    engine.dispatch::<Counter>(id(2), Wish::Name("acme"), context()).await.unwrap();
    let held = journal.hold().await;
    let first = alone(&engine, &journal, Wish::Name("acme")).await;
    let wishes =
        [Wish::Add(1), Wish::Reach(1), Wish::AtMost(1), Wish::Add(1), Wish::Name("acme"), Wish::Add(1)];
    let mut asked = Vec::new();
    for wish in wishes {
        asked.push(tokio::spawn(dispatched(&engine, id(1), wish)));
        until(|| engine.health().commands_under_way == asked.len() + 1).await;
    }
    sent(&journal, 3).await;
    drop(held);
    let taken = Err(DispatchError::ClaimTaken { kind: "counter.name".into() });
    assert_eq!(first.await.unwrap(), taken);
    for (n, answer) in join_all(asked).await.into_iter().enumerate() {
        let answer = answer.unwrap();
        // The name it thought it had already is another's.
        assert!(if n == 4 { answer == taken } else { answer.is_ok() }, "{n}: {answer:?}");
    }
    let tail = journal.load(&kernel::StreamId::new("counter", id(1)), None).await.unwrap().tail;
    assert_eq!(tail.len(), 3, "three were added");
    assert!(tail.iter().zip(1..).all(|(event, place)| event.sequence == place));
}

/// Whoever loads an aggregate while a former life of it is being committed may have missed that.
#[tokio::test]
async fn another_life_of_an_aggregate_is_not_sent_ahead_of_what_the_former_one_has_under_way() {
    let (engine, journal) = eager().await;
    let held = journal.hold().await;
    let first = alone(&engine, &journal, Wish::Add(1)).await;
    engine.dispatch::<Counter>(id(1), Wish::Crash, context()).await.unwrap_err();
    let second_life = tokio::spawn(dispatched(&engine, id(1), Wish::AtMost(0)));
    until(|| engine.health().writer_queue == 1).await;
    // With it, just enough to be sent ahead.
    let others: Vec<_> =
        (1..ENOUGH as u128).map(|n| tokio::spawn(dispatched(&engine, id(10 + n), Wish::Add(1)))).collect();
    // All was looked at, and waits.
    until(|| engine.health().commands_under_way == ENOUGH + 1 && engine.health().writer_queue == 0).await;
    drop(held);
    let answer = second_life.await.unwrap();
    assert!(
        matches!(&answer, Err(DispatchError::Rejected { rejection, .. }) if rejection.0 == 1),
        "{answer:?}"
    );
    first.await.unwrap().unwrap();
    for answer in join_all(others).await {
        answer.unwrap().unwrap();
    }
}
