//! What a flood may take of the batches.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::task::JoinHandle;

use super::{dispatched, positions, until};
use crate::command::{DispatchError, Receipt};
use crate::journal::{Journal, MemoryJournal};
use crate::testing::{Counter, TooMuch, Wish, config, context, engine_with, id};
use crate::writer::WriterConfig;
use crate::{Engine, EngineConfig};

type Held = tokio::sync::OwnedMutexGuard<()>;
type Asked = JoinHandle<Result<Receipt, DispatchError<TooMuch>>>;

const FLOOD: u128 = 600;

/// What waits for a journal that is held: one append that was begun, behind it a flood, behind that another tenant.
struct Waiting {
    first: Asked,
    flooding: Vec<Asked>,
    polite: Asked,
}

async fn flooded(engine: &Engine, journal: &MemoryJournal) -> Waiting {
    let first = tokio::spawn(dispatched(engine, id(1), Wish::Add(1)));
    until(|| journal.begun() == 1).await;
    let flooding: Vec<_> =
        (0..FLOOD).map(|n| tokio::spawn(dispatched(engine, id(10 + n % 3), Wish::Add(1)))).collect();
    until(|| engine.health().writer_queue == flooding.len()).await;
    let mut polite = context();
    Arc::make_mut(&mut polite.metadata).tenant = Some(kernel::TenantId(id(78)));
    let asks = engine.clone();
    let polite = tokio::spawn(async move { asks.dispatch::<Counter>(id(2), Wish::Add(1), polite).await });
    until(|| engine.health().writer_queue == flooding.len() + 1).await;
    Waiting { first, flooding, polite }
}

/// Nothing is sent ahead, so that all of it gathers.
async fn patient(writer: WriterConfig) -> (Engine, Arc<MemoryJournal>) {
    let writer = WriterConfig { ahead_items_min: usize::MAX, ..writer };
    engine_with(EngineConfig { writer, ..config() }).await
}

/// One tenant's flood, already in the queue, does not go before all others.
#[tokio::test]
async fn a_polite_tenant_s_command_does_not_wait_for_all_of_another_s_flood() {
    let (engine, journal) = patient(config().writer).await;
    let held = journal.hold().await;
    let Waiting { first, flooding, polite } = flooded(&engine, &journal).await;
    drop(held);
    let share = config().writer.batch_tenant_items_max as u64;
    let position = polite.await.unwrap().unwrap().position.unwrap().position.0;
    assert!(position <= share + 2, "it stands at {position}, behind more than a share of {share}");
    first.await.unwrap().unwrap();
    for answer in join_all(flooding).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(positions(&*journal).await, (1..=FLOOD as u64 + 2).collect::<Vec<_>>());
    for n in 10..13 {
        let tail = journal.load(&kernel::StreamId::new("counter", id(n)), None).await.unwrap().tail;
        assert!(tail.iter().zip(1..).all(|(event, place)| event.sequence == place), "in order");
    }
}

/// Lets one append go on, and holds the next.
async fn step(journal: &MemoryJournal, held: Held) -> Held {
    let mut next = std::pin::pin!(journal.hold());
    // In line behind the append that waits.
    assert!(futures::poll!(next.as_mut()).is_pending());
    drop(held);
    next.await
}

/// A moment without anybody else's command doesn't give the flood a batch for itself: others would wait for it.
#[tokio::test]
async fn a_flood_keeps_to_its_share_for_a_while_after_others_waited() {
    let writer = WriterConfig { shares_last: Duration::from_secs(600), ..config().writer };
    let share = writer.batch_tenant_items_max;
    let (engine, journal) = patient(writer).await;
    let mut held = journal.hold().await;
    let Waiting { first, flooding, polite } = flooded(&engine, &journal).await;
    let (mut batches, mut known) = (Vec::new(), 0);
    while batches.len() < 3 {
        held = step(&journal, held).await;
        let now = positions(&*journal).await.len();
        if now > known {
            batches.push(now - known);
            known = now;
        }
    }
    assert_eq!(batches, [1, share + 1, share]);
    drop(held);
    for answer in join_all(flooding.into_iter().chain([first, polite])).await {
        answer.unwrap().unwrap();
    }
}
