//! Root → shard supervisor → aggregate actors. A child's end ends nobody else.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

/// The pause before a shard supervisor is started again; it doubles up to the maximum.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The supervisors of a node.
#[derive(Clone, Debug)]
pub(crate) struct Supervision {
    root: ActorCell,
    shard: Arc<RwLock<Option<ActorCell>>>,
}

impl Supervision {
    /// Starts the root and its shard supervisor.
    pub(crate) async fn start() -> Result<Self, ractor::SpawnErr> {
        let shard = Arc::new(RwLock::new(None));
        let (root, _) = Actor::spawn(None, Root, shard.clone()).await?;
        Ok(Self { root: root.get_cell(), shard })
    }

    /// The supervisor that aggregate actors are linked to; `None` while it is being restarted.
    pub(crate) fn shard(&self) -> Option<ActorCell> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the root and everything below it.
    pub(crate) fn stop(&self) {
        self.root.stop(Some("drained".into()));
    }
}

struct Root;

struct RootState {
    shard: Arc<RwLock<Option<ActorCell>>>,
    pause: Duration,
}

enum RootMessage {
    StartShard,
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = RootState;
    type Arguments = Arc<RwLock<Option<ActorCell>>>;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        shard: Self::Arguments,
    ) -> Result<RootState, ActorProcessingErr> {
        start_shard(&myself, &shard).await?;
        Ok(RootState { shard, pause: PAUSE_MIN })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        RootMessage::StartShard: RootMessage,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        start_shard(&myself, &state.shard).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(..) | SupervisionEvent::ActorFailed(..) = event {
            state.shard.write().unwrap_or_else(PoisonError::into_inner).take();
            tracing::error!(
                pause_ms = state.pause.as_millis() as u64,
                "the shard supervisor ended; starting it again"
            );
            myself.send_after(state.pause, || RootMessage::StartShard);
            state.pause = (state.pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }
}

async fn start_shard(
    root: &ActorRef<RootMessage>,
    place: &RwLock<Option<ActorCell>>,
) -> Result<(), ActorProcessingErr> {
    let (shard, _) = Actor::spawn_linked(None, ShardSupervisor, (), root.get_cell()).await?;
    *place.write().unwrap_or_else(PoisonError::into_inner) = Some(shard.get_cell());
    Ok(())
}

struct ShardSupervisor;

enum Nothing {}

impl Actor for ShardSupervisor {
    type Msg = Nothing;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    /// A child's end is no news to its siblings. The next order spawns it anew; the quarantine counts crashes.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Nothing>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            tracing::error!(error = %error, "an aggregate actor crashed; it is loaded again with its next command");
        }
        Ok(())
    }
}
