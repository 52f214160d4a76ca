use std::sync::Arc;

use futures::future::join_all;
use kernel::{Claim, Position, ShardId};
use uuid::Uuid;

use super::{AppendFailure, Asker};
use crate::Engine;
use crate::command::{CommandContext, DispatchError, Receipt};
use crate::journal::{Fault, Journal, MemoryJournal};
use crate::testing::{
    Counter, NODE, TooMuch, Wish, config, context, engine, engine_on, engine_with, id, once,
};

mod ahead;
mod bounds;
mod shares;

const SHARD: ShardId = ShardId(0);

async fn positions(journal: &dyn Journal) -> Vec<u64> {
    journal.read(SHARD, Position::ZERO, 100_000).await.unwrap().iter().map(|e| e.position.0).collect()
}

/// A command as a task of its own.
fn dispatched(
    engine: &Engine,
    id: Uuid,
    wish: Wish,
) -> impl Future<Output = Result<Receipt, DispatchError<TooMuch>>> + use<> {
    let engine = engine.clone();
    async move { engine.dispatch::<Counter>(id, wish, context()).await }
}

/// A command to the first counter, sent again while there is no room.
async fn retried(
    engine: &Engine,
    wish: Wish,
    context: CommandContext,
) -> Result<Receipt, DispatchError<TooMuch>> {
    loop {
        match engine.dispatch::<Counter>(id(1), wish.clone(), context.clone()).await {
            Err(DispatchError::Busy { .. }) => tokio::task::yield_now().await,
            answer => return answer,
        }
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Every command's answer is in the journal, positions are dense, sequences contiguous.
#[tokio::test]
async fn what_is_answered_is_in_the_journal_in_dense_commit_order() {
    let (engine, journal) = engine().await;
    let all = (0..500_u128).map(|n| engine.dispatch::<Counter>(id(n % 7), Wish::Add(1), context()));
    let receipts = join_all(all).await;
    let mut told: Vec<u64> = receipts.into_iter().map(|r| r.unwrap().position.unwrap().position.0).collect();
    told.sort_unstable();
    assert_eq!(told, (1..=500).collect::<Vec<_>>());
    assert_eq!(positions(&*journal).await, told);
    for n in 0..7 {
        let stream = kernel::StreamId::new("counter", id(n));
        let tail = journal.load(&stream, None).await.unwrap().tail;
        assert!(tail.iter().zip(1..).all(|(event, place)| event.sequence == place));
    }
}

#[tokio::test]
async fn a_taken_name_refuses_one_command_and_none_of_its_neighbours() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Name("acme"), context()).await.unwrap();
    let second = id(2);
    let wishes = [Wish::Add(1), Wish::Name("acme"), Wish::Add(1), Wish::Reach(2), Wish::Add(1)];
    let mine = join_all(wishes.map(|wish| engine.dispatch::<Counter>(second, wish, context())));
    let others = join_all((10..200).map(|n| engine.dispatch::<Counter>(id(n), Wish::Add(1), context())));
    let (mine, others) = tokio::join!(mine, others);
    assert!(others.iter().all(Result::is_ok));
    assert_eq!(mine[1], Err(DispatchError::ClaimTaken { kind: "counter.name".into() }));
    // Commands behind it were decided on a state that never was: they are decided again, and hold.
    assert!([0, 2, 3, 4].iter().all(|&n| mine[n].is_ok()), "{mine:?}");
    let after = engine.dispatch::<Counter>(second, Wish::AtMost(0), context()).await.unwrap_err();
    assert!(
        matches!(after, DispatchError::Rejected { rejection, .. } if rejection.0 == 3),
        "three were added"
    );
    let found = positions(&*journal).await;
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_freed_name_can_be_taken_at_once_by_another() {
    let (engine, _) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Name("acme"), context()).await.unwrap();
    let frees = engine.dispatch::<Counter>(id(1), Wish::Name("other"), context());
    let takes = engine.dispatch::<Counter>(id(2), Wish::Name("acme"), context());
    let (freed, taken) = tokio::join!(frees, takes);
    assert!(freed.is_ok() && taken.is_ok(), "{freed:?} {taken:?}");
}

#[tokio::test]
async fn a_name_that_is_taken_and_freed_in_one_gathering_is_free() {
    let (engine, journal) = engine().await;
    let held = journal.hold().await;
    let first = tokio::spawn(dispatched(&engine, id(9), Wish::Add(1)));
    until(|| engine.health().commands_under_way == 1 && engine.health().writer_queue == 0).await;
    let takes = tokio::spawn(dispatched(&engine, id(1), Wish::Name("acme")));
    let frees = tokio::spawn(dispatched(&engine, id(1), Wish::Name("other")));
    until(|| engine.health().writer_queue == 2).await;
    drop(held);
    for answer in [first, takes, frees] {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(engine.claim_holder(&Claim::new("counter.name", "acme")).await.unwrap(), None);
    engine.dispatch::<Counter>(id(2), Wish::Name("acme"), context()).await.unwrap();
}

/// The gathering holds: taken, freed, retaken, freed, of two streams and one name.
#[tokio::test]
async fn a_name_that_is_freed_and_retaken_in_one_gathering_has_its_last_holder() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Name("acme"), context()).await.unwrap();
    let held = journal.hold().await;
    let first = tokio::spawn(dispatched(&engine, id(9), Wish::Add(1)));
    until(|| engine.health().commands_under_way == 1 && engine.health().writer_queue == 0).await;
    let mut answers = vec![first];
    for (n, name) in [(1, "other"), (2, "acme"), (2, "third"), (1, "acme")] {
        answers.push(tokio::spawn(dispatched(&engine, id(n), Wish::Name(name))));
        until(|| engine.health().writer_queue == answers.len() - 1).await;
    }
    drop(held);
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    for (name, holder) in [("acme", Some(1)), ("other", None), ("third", Some(2))] {
        let found = engine.claim_holder(&Claim::new("counter.name", name)).await.unwrap();
        assert_eq!(found, holder.map(|n| kernel::StreamId::new("counter", id(n))), "{name}");
    }
}

#[tokio::test]
async fn of_two_who_want_a_name_at_once_one_gets_it() {
    let (engine, _) = engine().await;
    let both =
        join_all([1, 2].map(|n| engine.dispatch::<Counter>(id(n), Wish::Name("acme"), context()))).await;
    assert_eq!(both.iter().filter(|r| r.is_ok()).count(), 1, "{both:?}");
    assert!(both.iter().any(|r| matches!(r, Err(DispatchError::ClaimTaken { .. }))));
}

#[tokio::test]
async fn a_lost_answer_to_a_commit_is_found_and_nothing_happens_twice() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    journal.inject(Fault::AnswerLost);
    let receipt = engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    assert_eq!(receipt.position.unwrap().position, Position(2));
    assert_eq!(positions(&*journal).await, [1, 2]);
    engine.dispatch::<Counter>(id(1), Wish::AtMost(2), context()).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_never_reached_the_database_is_sent_again() {
    let (engine, journal) = engine().await;
    journal.inject(Fault::NeverCommitted);
    journal.inject(Fault::Deadlock);
    let receipt = engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    assert_eq!(receipt.sequence, 1);
    assert_eq!(positions(&*journal).await, [1]);
}

#[tokio::test]
async fn a_no_op_decided_on_an_event_whose_batch_fails_is_not_answered_with_it() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Reach(1), context()).await.unwrap();
    journal.inject(Fault::Unavailable);
    let add = engine.dispatch::<Counter>(id(1), Wish::Reach(5), context());
    let no_op = engine.dispatch::<Counter>(id(1), Wish::AtMost(4), context());
    let (add, no_op) = tokio::join!(add, no_op);
    assert!(matches!(add, Err(DispatchError::Unavailable { .. })), "{add:?}");
    assert!(
        !matches!(no_op, Err(DispatchError::Rejected { .. })),
        "5 never happened, so nobody may be refused for it: {no_op:?}"
    );
    engine.dispatch::<Counter>(id(1), Wish::AtMost(1), context()).await.expect("the total is still 1");
}

#[tokio::test]
async fn a_fenced_owner_answers_nothing_from_memory() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    journal.usurp(SHARD);
    // Another node takes the shard and writes.
    let lease = journal.acquire(SHARD, id(0xB), std::time::Duration::from_secs(9)).await.unwrap().unwrap();
    let answer = engine.dispatch::<Counter>(id(1), Wish::AtMost(1), context()).await;
    assert!(matches!(answer, Err(DispatchError::Unavailable { reason: "not_owner", .. })), "{answer:?}");
    assert!(!engine.health().writes);
    // When the other gives it back, this node goes on, on what the journal says.
    journal.release(lease).await.unwrap();
    engine.owned().await;
    engine.dispatch::<Counter>(id(1), Wish::AtMost(1), context()).await.unwrap();
}

#[tokio::test]
async fn draining_appends_what_is_queued_and_gives_the_lease_back() {
    let (engine, journal) = engine().await;
    let all = (0..100).map(|n| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.dispatch::<Counter>(id(n), Wish::Add(1), context()).await })
    });
    let all: Vec<_> = all.collect();
    engine.drain().await;
    let answered = join_all(all).await.into_iter().filter(|r| matches!(r, Ok(Ok(_)))).count();
    assert_eq!(positions(&*journal).await.len(), answered);
    let next = journal.acquire(SHARD, id(0xB), std::time::Duration::from_secs(9)).await.unwrap();
    assert!(next.is_some(), "the next owner need not wait");
}

#[tokio::test]
async fn a_repeated_command_gets_the_stored_answer_whatever_it_was() {
    let (engine, journal) = engine().await;
    let first = engine.dispatch::<Counter>(id(1), Wish::Add(5), once(1)).await.unwrap();
    let again = engine.dispatch::<Counter>(id(1), Wish::Add(5), once(1)).await.unwrap();
    assert!(again.replayed && !first.replayed);
    assert_eq!((again.position, &again.event_ids), (first.position, &first.event_ids));
    // A refusal is an answer too, also after the reason for it is gone.
    let refused = engine.dispatch::<Counter>(id(1), Wish::AtMost(1), once(2)).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Rejected { replayed: false, .. }));
    let refused = engine.dispatch::<Counter>(id(1), Wish::AtMost(100), once(2)).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Rejected { replayed: true, .. }));
    // So is a taken name.
    engine.dispatch::<Counter>(id(1), Wish::Name("acme"), context()).await.unwrap();
    for _ in 0..2 {
        let taken = engine.dispatch::<Counter>(id(2), Wish::Name("acme"), once(3)).await.unwrap_err();
        assert!(matches!(taken, DispatchError::ClaimTaken { .. }));
        engine.dispatch::<Counter>(id(1), Wish::Name("freed"), context()).await.unwrap();
    }
    // The same key for something else is refused.
    let mut other = once(1);
    other.idempotency.as_mut().unwrap().fingerprint = [2; 32];
    let reused = engine.dispatch::<Counter>(id(1), Wish::Add(6), other).await;
    assert_eq!(reused, Err(DispatchError::KeyReused));
    assert_eq!(positions(&*journal).await.len(), 3);
}

#[tokio::test]
async fn the_same_command_twice_at_once_runs_once() {
    let (engine, journal) = engine().await;
    let both = join_all((0..20).map(|_| engine.dispatch::<Counter>(id(1), Wish::Add(1), once(9)))).await;
    assert_eq!(positions(&*journal).await.len(), 1);
    assert!(both.iter().any(Result::is_ok));
    assert!(both.iter().all(|r| matches!(r, Ok(_) | Err(DispatchError::InFlight))), "{both:?}");
}

#[tokio::test]
async fn a_retry_after_a_restart_gets_the_stored_answer() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(5), once(1)).await.unwrap();
    engine.drain().await;
    let engine = engine_on(config(), journal.clone()).await;
    assert!(engine.dispatch::<Counter>(id(1), Wish::Add(5), once(1)).await.unwrap().replayed);
    assert_eq!(positions(&*journal).await.len(), 1);
}

#[tokio::test]
async fn a_retry_after_passivation_gets_the_stored_answer_and_a_changed_body_none() {
    let mut config = config();
    config.actors_live_max = 1;
    let (engine, journal) = engine_with(config).await;
    let first = engine.dispatch::<Counter>(id(1), Wish::Add(5), once(1)).await.unwrap();
    // The next actor needs the room.
    while engine.dispatch::<Counter>(id(2), Wish::Add(1), context()).await.is_err()
        || engine.dispatch::<Counter>(id(3), Wish::Add(1), context()).await.is_err()
    {
        tokio::task::yield_now().await;
    }
    let again = retried(&engine, Wish::Add(5), once(1)).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.position, again.event_ids), (first.position, first.event_ids));
    let mut other = once(1);
    other.idempotency.as_mut().unwrap().fingerprint = [2; 32];
    assert_eq!(retried(&engine, Wish::Add(6), other).await, Err(DispatchError::KeyReused));
    let mine = journal.load(&kernel::StreamId::new("counter", id(1)), None).await.unwrap();
    assert_eq!(mine.tail.len(), 1);
}

#[tokio::test]
async fn a_retry_after_a_snapshot_gets_the_stored_answer() {
    let mut config = config();
    config.snapshot_events_min = 1;
    let (engine, journal) = engine_with(config.clone()).await;
    engine.dispatch::<Counter>(id(1), Wish::Add(5), once(1)).await.unwrap();
    engine.dispatch::<Counter>(id(1), Wish::Add(5), context()).await.unwrap();
    let stream = kernel::StreamId::new("counter", id(1));
    while journal.load(&stream, Some(1)).await.unwrap().snapshot.is_none() {
        tokio::task::yield_now().await;
    }
    engine.drain().await;
    let engine = engine_on(config, journal.clone()).await;
    engine.dispatch::<Counter>(id(1), Wish::AtMost(10), context()).await.unwrap();
    assert!(engine.dispatch::<Counter>(id(1), Wish::Add(5), once(1)).await.unwrap().replayed);
    engine.dispatch::<Counter>(id(1), Wish::AtMost(10), context()).await.unwrap();
}

#[tokio::test]
async fn that_a_name_was_taken_is_told_only_once_it_is_stored_for_a_retry() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Name("acme"), context()).await.unwrap();
    // The refusal is the database's; writing it down fails.
    journal.inject(Fault::None);
    journal.inject(Fault::Unavailable);
    let answer = engine.dispatch::<Counter>(id(2), Wish::Name("acme"), once(1)).await;
    assert!(matches!(answer, Err(DispatchError::Unavailable { .. })), "{answer:?}");
    engine.dispatch::<Counter>(id(1), Wish::Name("other"), context()).await.unwrap();
    engine.dispatch::<Counter>(id(2), Wish::Name("acme"), once(1)).await.unwrap();
}

#[tokio::test]
async fn a_stale_expectation_is_refused_with_what_was_found() {
    let (engine, _) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    let mut stale = context();
    stale.expected_sequence = Some(0);
    let answer = engine.dispatch::<Counter>(id(1), Wish::Add(1), stale).await;
    assert_eq!(answer, Err(DispatchError::PreconditionFailed { expected: 0, found: 1 }));
}

#[tokio::test]
async fn a_crash_loses_nothing_and_a_habit_of_crashing_is_quarantined() {
    let (engine, _) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(3), context()).await.unwrap();
    for _ in 0..3 {
        let crashed = engine.dispatch::<Counter>(id(1), Wish::Crash, context()).await;
        assert!(matches!(crashed, Err(DispatchError::Unavailable { reason: "crashed", .. })), "{crashed:?}");
        // Its neighbours don't notice.
        engine.dispatch::<Counter>(id(2), Wish::Add(1), context()).await.unwrap();
    }
    while engine.health().quarantined.is_empty() {
        tokio::task::yield_now().await;
    }
    let answer = engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await;
    assert_eq!(answer, Err(DispatchError::Quarantined));
    engine.dispatch::<Counter>(id(2), Wish::Add(1), context()).await.unwrap();
}

#[tokio::test]
async fn whoever_takes_over_from_a_crashed_actor_learns_of_what_was_being_committed() {
    let (engine, journal) = engine().await;
    engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    let held = journal.hold().await;
    let add = tokio::spawn(dispatched(&engine, id(1), Wish::Add(1)));
    until(|| engine.health().commands_under_way == 1 && engine.health().writer_queue == 0).await;
    let crashed = engine.dispatch::<Counter>(id(1), Wish::Crash, context()).await;
    assert!(matches!(crashed, Err(DispatchError::Unavailable { reason: "crashed", .. })), "{crashed:?}");
    // The next actor loads while the commit is under way, and can't see it.
    let early = tokio::spawn(dispatched(&engine, id(1), Wish::AtMost(1)));
    until(|| engine.health().writer_queue == 1).await;
    drop(held);
    assert_eq!(add.await.unwrap().unwrap().sequence, 2);
    let _ = early.await.unwrap();
    let late = engine.dispatch::<Counter>(id(1), Wish::AtMost(1), context()).await;
    assert!(matches!(&late, Err(DispatchError::Rejected { rejection, .. }) if rejection.0 == 2), "{late:?}");
}

#[tokio::test]
async fn the_cap_on_live_actors_holds_and_who_left_comes_back_as_it_was() {
    let mut config = config();
    config.actors_live_max = 50;
    let (engine, _) = engine_with(config).await;
    for n in 0..500_u128 {
        loop {
            match engine.dispatch::<Counter>(id(n), Wish::Add(u64::try_from(n).unwrap()), context()).await {
                Ok(_) => break,
                Err(DispatchError::Busy { .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(engine.health().actors_live <= 55, "{}", engine.health().actors_live);
    }
    let back = loop {
        match engine.dispatch::<Counter>(id(7), Wish::AtMost(6), context()).await {
            Err(DispatchError::Busy { .. }) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert!(matches!(back, Err(DispatchError::Rejected { rejection, .. }) if rejection.0 == 7));
}

#[tokio::test]
async fn a_full_actor_refuses_and_takes_again_when_it_has_answered() {
    let mut config = config();
    config.actor_in_flight_max = 4;
    let (engine, _) = engine_with(config).await;
    let many = join_all((0..50).map(|_| engine.dispatch::<Counter>(id(1), Wish::Add(1), context()))).await;
    assert!(many.iter().any(|r| matches!(r, Err(DispatchError::Busy { .. }))));
    assert!(many.iter().any(Result::is_ok));
    engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
    assert_eq!(engine.health().commands_under_way, 0);
}

#[tokio::test]
async fn a_snapshot_and_its_tail_give_what_all_events_give() {
    let mut config = config();
    config.snapshot_events_min = 10;
    let (engine, journal) = engine_with(config).await;
    for _ in 0..25 {
        engine.dispatch::<Counter>(id(1), Wish::Add(2), context()).await.unwrap();
    }
    let stream = kernel::StreamId::new("counter", id(1));
    let loaded = loop {
        let loaded = journal.load(&stream, Some(1)).await.unwrap();
        if loaded.snapshot.is_some() {
            break loaded;
        }
        tokio::task::yield_now().await;
    };
    let snapshot = loaded.snapshot.unwrap();
    assert_eq!(snapshot.state["total"], 2 * snapshot.sequence);
    assert_eq!(snapshot.sequence + loaded.tail.len() as u64, 25);
    assert!(
        journal.load(&stream, Some(2)).await.unwrap().snapshot.is_none(),
        "of another version: never trusted"
    );
    engine.drain().await;
    let engine = engine_on(super::super::testing::config(), journal.clone()).await;
    engine.dispatch::<Counter>(id(1), Wish::AtMost(50), context()).await.unwrap();
    let answer = engine.dispatch::<Counter>(id(1), Wish::AtMost(49), context()).await;
    assert!(matches!(answer, Err(DispatchError::Rejected { rejection, .. }) if rejection.0 == 50));
}

#[tokio::test]
async fn a_second_node_waits_while_the_first_holds_the_shard() {
    let (first, journal) = engine().await;
    let mut second = config();
    second.writer.node = id(0xB);
    assert_ne!(second.writer.node, NODE);
    let (clock, ids) = (Arc::new(crate::clock::SystemClock), Arc::new(crate::clock::SystemIds));
    let second = crate::Engine::start(second, journal.clone(), crate::feed::Live::default(), clock, ids)
        .await
        .unwrap();
    let answer = second.dispatch::<Counter>(id(1), Wish::Add(1), context()).await;
    assert!(matches!(answer, Err(DispatchError::Unavailable { reason: "not_owner", .. })));
    first.drain().await;
    second.owned().await;
    second.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
}

/// A writer that can tell nobody what became of commands must not hold the shard.
#[test]
fn a_writer_ends_with_the_runtime_of_those_who_ask_and_gives_its_lease_back() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let journal = Arc::new(MemoryJournal::default());
    let first = runtime();
    let engine = first.block_on(async {
        let engine = engine_on(config(), journal.clone()).await;
        engine.dispatch::<Counter>(id(1), Wish::Add(1), context()).await.unwrap();
        engine
    });
    // Neither drained nor let go.
    drop(first);
    let mut other = config();
    other.writer.node = id(99);
    runtime().block_on(async {
        let owned = engine_on(other, journal.clone());
        tokio::time::timeout(std::time::Duration::from_secs(30), owned).await.expect("it gets the shard");
    });
    drop(engine);
}

/// Whoever is dropped before anything is known hears just that, and whoever was told hears nothing more.
#[test]
fn whoever_asks_is_told_once_and_never_nothing() {
    let (told, hears) = std::sync::mpsc::channel();
    let asker = || {
        let told = told.clone();
        Asker::new(move |result| told.send(result).unwrap())
    };
    drop(asker());
    assert_eq!(hears.try_recv(), Ok(Err(AppendFailure::OutcomeUnknown)));
    asker().tell(Err(AppendFailure::Superseded));
    assert_eq!(hears.try_recv(), Ok(Err(AppendFailure::Superseded)));
    assert!(hears.try_recv().is_err());
}
