//! Process managers: each event at least once, in order, never skipped, from where they stopped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use engine::feed::Feed;
use engine::process::{ProcessManager, Processes, Retry, derived_command_id};
use engine::projection::{Feeds, FollowerState};
use kernel::{CommandId, Envelope};

use crate::db::TestDb;
use crate::feeds::{PATIENCE, TestFeed, envelope, eventually, fast};
use crate::projection_tally::{add, id};

#[derive(Default)]
struct Clerk {
    sent: Mutex<Vec<(u64, CommandId)>>,
    refusals: AtomicU32,
}

impl Clerk {
    fn positions(&self) -> Vec<u64> {
        self.sent.lock().unwrap().iter().map(|sent| sent.0).collect()
    }
}

#[async_trait]
impl ProcessManager for Clerk {
    fn name(&self) -> &'static str {
        "clerk"
    }

    fn concerns(&self, event: &Envelope) -> bool {
        event.stream.aggregate_type == "tally"
    }

    async fn react(&self, event: &Envelope) -> Result<(), Retry> {
        let refused = self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        if refused {
            return Err(Retry::new("nobody answers"));
        }
        self.sent.lock().unwrap().push((event.position.0, derived_command_id(event.event_id, "clerk.file")));
        Ok(())
    }
}

async fn start(db: &TestDb, clerk: &Arc<Clerk>, feed: &Arc<TestFeed>) -> Processes {
    let managers: Vec<Arc<dyn ProcessManager>> = vec![Arc::clone(clerk) as Arc<dyn ProcessManager>];
    let feeds = Feeds::new(vec![Arc::clone(feed) as Arc<dyn Feed>]);
    Processes::start(managers, &feeds, &db.server, fast()).await.unwrap()
}

#[tokio::test]
async fn it_reacts_to_each_event_in_order_and_goes_on_where_it_stopped() {
    let (db, feed, clerk) = (TestDb::new().await, TestFeed::journal(), Arc::new(Clerk::default()));
    feed.append((0..20).map(|n| add(n, 1)));
    let processes = start(&db, &clerk, &feed).await;
    processes.wait_for("clerk", feed.token(), PATIENCE).await.unwrap();
    processes.drain().await;
    assert_eq!(clerk.positions(), (1..=20).collect::<Vec<_>>());

    feed.append([add(1, 1), envelope("other", id(1), "other.thing", serde_json::json!({})), add(2, 2)]);
    feed.append([envelope("other", id(1), "other.thing", serde_json::json!({}))]);
    let processes = start(&db, &clerk, &feed).await;
    processes.wait_for("clerk", feed.token(), PATIENCE).await.unwrap();
    assert_eq!(
        clerk.positions()[20..],
        [21, 23],
        "what was done is not done again, what is of no concern never"
    );
}

#[tokio::test]
async fn what_it_cannot_do_yet_it_tries_until_it_can_and_says_so() {
    let (db, feed, clerk) = (TestDb::new().await, TestFeed::journal(), Arc::new(Clerk::default()));
    clerk.refusals.store(1_000_000, Ordering::SeqCst);
    feed.append([add(1, 1), add(2, 2)]);
    let processes = start(&db, &clerk, &feed).await;
    eventually("it says so", async || {
        let health = &processes.health()[0];
        health.state == FollowerState::Retrying
            && health.last_error.as_deref().unwrap_or("").contains("nobody answers")
    })
    .await;
    let tried = 1_000_000 - clerk.refusals.load(Ordering::SeqCst);
    eventually("it tries again", async || 1_000_000 - clerk.refusals.load(Ordering::SeqCst) > tried + 2)
        .await;
    assert!(clerk.positions().is_empty(), "the second event waits for the first");
    clerk.refusals.store(0, Ordering::SeqCst);
    processes.wait_for("clerk", feed.token(), PATIENCE).await.unwrap();
    assert_eq!(clerk.positions(), [1, 2]);
}

#[tokio::test]
async fn a_crash_between_reaction_and_checkpoint_sends_the_same_command_again() {
    let (db, feed, clerk) = (TestDb::new().await, TestFeed::journal(), Arc::new(Clerk::default()));
    feed.append([add(1, 1), add(2, 2)]);
    let processes = start(&db, &clerk, &feed).await;
    processes.wait_for("clerk", feed.token(), PATIENCE).await.unwrap();
    processes.drain().await;
    // As if the process had died before its second checkpoint.
    db.server.get().await.unwrap().execute("UPDATE process_checkpoint SET position = 1", &[]).await.unwrap();
    let processes = start(&db, &clerk, &feed).await;
    processes.wait_for("clerk", feed.token(), PATIENCE).await.unwrap();
    let sent = clerk.sent.lock().unwrap();
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[1], sent[2], "the command's id is the same, so it is the same command");
}
