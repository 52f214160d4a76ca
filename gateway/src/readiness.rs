//! Whether this node should get requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::Engine;
use engine::follow::FollowerState;
use engine::projection::{Memories, Projector};
use serde::Serialize;

use crate::state::FRESH_FOR;

/// What readiness is made of.
#[derive(Clone)]
pub struct Readiness {
    engine: Engine,
    memories: Arc<Memories>,
    projector: Arc<Projector>,
    stopping: Arc<AtomicBool>,
}

/// One component's state.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(example = json!({"name": "journal", "ready": true, "state": "owned"}))]
pub struct Component {
    #[schema(value_type = String)]
    pub name: &'static str,
    pub ready: bool,
    /// In a word.
    pub state: String,
}

impl Readiness {
    pub fn new(engine: Engine, memories: Arc<Memories>, projector: Arc<Projector>) -> Self {
        Self { engine, memories, projector, stopping: Arc::default() }
    }

    /// From now on not ready: load balancers look elsewhere while what is under way ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// All components. A projection that lags or parks is told of but stops no request: reads may wait for it.
    pub fn components(&self) -> Vec<Component> {
        let journal = self.engine.health();
        let mut components = vec![
            Component {
                name: "server",
                ready: !self.stopping.load(Ordering::Acquire),
                state: if self.stopping.load(Ordering::Acquire) { "stopping" } else { "running" }.to_owned(),
            },
            Component { name: "journal", ready: journal.writes, state: journal.shard.to_owned() },
        ];
        let memory_ready = self.memories.are_ready(FRESH_FOR);
        components.push(Component {
            name: "access",
            ready: memory_ready,
            state: if memory_ready { "current" } else { "catching_up" }.to_owned(),
        });
        let behind = self.projector.health().iter().filter(|health| !health.is_healthy()).count();
        let stuck = self.projector.health().iter().any(|health| health.state == FollowerState::Stuck);
        let state = if stuck {
            "stuck"
        } else if behind > 0 {
            "degraded"
        } else {
            "following"
        };
        components.push(Component { name: "projections", ready: true, state: state.to_owned() });
        components
    }

    pub fn projections(&self) -> Vec<engine::follow::FollowerHealth> {
        let mut all = self.projector.health();
        all.extend(self.memories.health());
        all
    }
}
