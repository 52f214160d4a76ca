//! Followers as supervised actors: one that crashes is started again with backoff, its neighbours work on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const RESTART_MIN: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(30);
/// A follower that ran this long before it crashed starts again with the shortest wait.
const STEADY: Duration = Duration::from_secs(60);

/// The followers could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the followers' supervisor can't be started: {0}")]
pub struct SpawnError(String);

/// What a follower does, step by step. A step waits at most a poll interval for work, and ends where it may be stopped.
#[async_trait]
pub(crate) trait Work: Send + 'static {
    async fn step(&mut self);
    /// Told once, before a graceful stop.
    fn stopped(&mut self) {}
}

/// Makes the work anew, at first and after each crash.
pub(crate) type StartWork = Arc<dyn Fn(CancellationToken) -> Box<dyn Work> + Send + Sync>;

/// A running set of followers.
#[derive(Debug)]
pub struct Followers {
    supervisor: ActorRef<SupervisorMsg>,
    stop: CancellationToken,
    ended: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Followers {
    pub(crate) async fn spawn(works: Vec<(String, StartWork)>) -> Result<Self, SpawnError> {
        let stop = CancellationToken::new();
        let (supervisor, ended) = Actor::spawn(None, Supervisor, (works, stop.clone()))
            .await
            .map_err(|error| SpawnError(error.to_string()))?;
        Ok(Self { supervisor, stop, ended: tokio::sync::Mutex::new(Some(ended)) })
    }

    /// Lets each follower finish its step, and returns when all have stopped.
    pub async fn drain(&self) {
        self.stop.cancel();
        let _ = self.supervisor.cast(SupervisorMsg::Drain);
        if let Some(ended) = self.ended.lock().await.take() {
            let _ = ended.await;
        }
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.supervisor.cast(SupervisorMsg::Drain);
    }
}

struct Supervisor;

#[derive(Debug)]
enum SupervisorMsg {
    Start(usize),
    Drain,
}

struct Child {
    name: String,
    start: StartWork,
    crashes: u32,
    started_at: Instant,
}

struct SupervisorState {
    children: Vec<Child>,
    running: HashMap<ActorId, usize>,
    stop: CancellationToken,
}

impl SupervisorState {
    fn end_if_drained(&self, myself: &ActorRef<SupervisorMsg>) {
        if self.stop.is_cancelled() && self.running.is_empty() {
            myself.stop(None);
        }
    }

    /// Starts a child again after a wait that grows with each crash.
    fn start_again(&mut self, myself: &ActorRef<SupervisorMsg>, index: usize) {
        let child = &mut self.children[index];
        child.crashes = if child.started_at.elapsed() > STEADY { 1 } else { child.crashes.saturating_add(1) };
        let wait = RESTART_MIN.saturating_mul(1 << child.crashes.min(12)).min(RESTART_MAX);
        drop(myself.send_after(wait, move || SupervisorMsg::Start(index)));
    }
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = (Vec<(String, StartWork)>, CancellationToken);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (works, stop): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let children: Vec<Child> = works
            .into_iter()
            .map(|(name, start)| Child { name, start, crashes: 0, started_at: Instant::now() })
            .collect();
        for index in 0..children.len() {
            myself.cast(SupervisorMsg::Start(index))?;
        }
        Ok(SupervisorState { children, running: HashMap::new(), stop })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Start(index) if !state.stop.is_cancelled() => {
                let child = &mut state.children[index];
                child.started_at = Instant::now();
                let work = (child.start)(state.stop.clone());
                match Actor::spawn_linked(None, Follower, (work, state.stop.clone()), myself.get_cell()).await
                {
                    Ok((actor, _)) => {
                        state.running.insert(actor.get_id(), index);
                    }
                    Err(error) => {
                        tracing::error!(follower.name = child.name, %error, "a follower can't be started");
                        state.start_again(&myself, index);
                    }
                }
            }
            SupervisorMsg::Start(_) => {}
            SupervisorMsg::Drain => state.end_if_drained(&myself),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (who, error) = match event {
            SupervisionEvent::ActorFailed(who, error) => (who, Some(error.to_string())),
            SupervisionEvent::ActorTerminated(who, _, _) => (who, None),
            _ => return Ok(()),
        };
        let Some(index) = state.running.remove(&who.get_id()) else { return Ok(()) };
        if state.stop.is_cancelled() {
            state.end_if_drained(&myself);
        } else {
            let name = &state.children[index].name;
            tracing::error!(follower.name = name, error, "a follower crashed and is started again");
            state.start_again(&myself, index);
        }
        Ok(())
    }
}

struct Follower;

#[derive(Debug)]
struct Step;

impl Actor for Follower {
    type Msg = Step;
    type State = (Box<dyn Work>, CancellationToken);
    type Arguments = (Box<dyn Work>, CancellationToken);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(Step)?;
        Ok(arguments)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        Step: Self::Msg,
        (work, stop): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if stop.is_cancelled() {
            work.stopped();
            myself.stop(None);
            return Ok(());
        }
        work.step().await;
        // At most one message waits: the next step.
        myself.cast(Step)?;
        Ok(())
    }
}
