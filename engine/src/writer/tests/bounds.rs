//! The engine's own bounds: whatever stands in front of it, no more gets in than it has room for.

use std::time::Duration;

use kernel::TenantId;
use tokio::task::JoinHandle;

use super::*;
use crate::command::Intake;
use crate::testing::metadata;

type Heard = Result<Receipt, DispatchError<TooMuch>>;

const NODE_MAX: usize = 60;
const TENANT_MAX: usize = 25;
const ACTOR_MAX: usize = 10;
/// How many times that is asked for.
const TIMES: usize = 10;

/// An engine with little room.
async fn cramped() -> (Engine, Arc<MemoryJournal>) {
    let mut config = config();
    config.node_in_flight_max = NODE_MAX;
    config.tenant_in_flight_max = TENANT_MAX;
    config.actor_in_flight_max = ACTOR_MAX;
    engine_with(config).await
}

/// A command of a tenant's, to one of the counters, as a task of its own.
fn asked(engine: &Engine, tenant: usize, counter: usize) -> JoinHandle<Heard> {
    let mut metadata = metadata();
    metadata.tenant = Some(TenantId(id(1_000 + tenant as u128)));
    let (engine, counter) = (engine.clone(), id(counter as u128));
    tokio::spawn(async move {
        engine.dispatch::<Counter>(counter, Wish::Add(1), CommandContext::new(metadata)).await
    })
}

/// What was refused of a storm, by whose room was taken; the rest goes on.
async fn refused(engine: &Engine, storm: Vec<JoinHandle<Heard>>) -> (Vec<Intake>, Vec<JoinHandle<Heard>>) {
    let over = || storm.iter().filter(|asked| asked.is_finished()).count();
    until(|| over() + engine.health().commands_under_way >= storm.len()).await;
    let (over, under_way): (Vec<_>, Vec<_>) = storm.into_iter().partition(JoinHandle::is_finished);
    let mut intakes = Vec::new();
    for answer in over {
        match answer.await.unwrap() {
            Err(DispatchError::Busy { intake, retry_after }) => {
                assert!(retry_after > Duration::ZERO, "when to come again");
                intakes.push(intake);
            }
            other => panic!("nothing can be durable yet: {other:?}"),
        }
    }
    (intakes, under_way)
}

/// A storm, whose commands each tell tenant and counter, of which `room` get in and the rest hears whose room is taken.
async fn storm(commands: impl Iterator<Item = (usize, usize)> + Clone, room: usize, whose: Intake) {
    let (engine, journal) = cramped().await;
    // Twice, for what is over must leave no trace.
    for _ in 0..2 {
        let before = positions(&*journal).await.len();
        let held = journal.hold().await;
        let all: Vec<_> = commands.clone().map(|(tenant, counter)| asked(&engine, tenant, counter)).collect();
        let expected = all.len() - room;
        let (intakes, under_way) = refused(&engine, all).await;
        assert_eq!(intakes, vec![whose; expected]);
        let health = engine.health();
        assert_eq!(health.commands_under_way, room);
        assert!(health.writer_queue <= room && health.actors_live <= room, "{health:?}");
        drop(held);
        for accepted in under_way {
            accepted.await.unwrap().unwrap();
        }
        assert_eq!(
            positions(&*journal).await.len() - before,
            room,
            "what got in is durable, and nothing else"
        );
        until(|| engine.health().commands_under_way == 0).await;
    }
}

/// NFR-PERF-003
#[tokio::test]
async fn a_node_takes_as_many_commands_as_it_has_room_for_and_refuses_the_rest_at_once() {
    storm((0..NODE_MAX * TIMES).map(|n| (n, n)), NODE_MAX, Intake::Node).await;
}

/// NFR-PERF-003
#[tokio::test]
async fn a_tenant_takes_its_part_of_the_room_and_leaves_the_rest() {
    storm((0..TENANT_MAX * TIMES).map(|n| (0, n)), TENANT_MAX, Intake::Tenant).await;
}

/// NFR-PERF-003
#[tokio::test]
async fn an_aggregate_takes_its_part_of_the_room_and_leaves_the_rest() {
    storm((0..ACTOR_MAX * TIMES).map(|n| (n, 0)), ACTOR_MAX, Intake::Actor).await;
}
