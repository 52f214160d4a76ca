//! A small aggregate and an engine in memory, for the engine's own tests.

use std::sync::Arc;
use std::time::Duration;

use kernel::{
    Actor, ActorKind, Claim, ClaimChange, CommandId, CorrelationId, Decider, Event, Metadata, Origin,
    Rejection, RejectionKind, ShardId, TenantId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{SystemClock, SystemIds};
use crate::command::{CommandContext, Idempotency};
use crate::dispatch::{Engine, EngineConfig};
use crate::feed::Live;
use crate::journal::MemoryJournal;
use crate::writer::WriterConfig;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub total: u64,
    pub name: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Add(u64),
    /// Takes the name, and frees the one it had.
    Name(&'static str),
    /// Sets the total; nothing to do if it is so already.
    Reach(u64),
    /// Fails if the total is beyond the limit.
    AtMost(u64),
    Crash,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fact {
    Added(u64),
    Named(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{0} is too much")]
pub(crate) struct TooMuch(pub u64);

impl Event for Fact {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Added(_) => "counter.added",
            Self::Named(_) => "counter.named",
        }
    }
}

impl Rejection for TooMuch {
    fn kind(&self) -> RejectionKind {
        RejectionKind::Rule
    }
    fn detail(&self) -> &'static str {
        "too_much"
    }
}

impl Decider for Counter {
    const TYPE: &'static str = "counter";
    const SNAPSHOT_VERSION: u32 = 1;
    type Command = Wish;
    type Event = Fact;
    type Rejection = TooMuch;

    fn decide(&self, wish: Wish) -> Result<Vec<Fact>, TooMuch> {
        match wish {
            Wish::Add(n) => Ok(vec![Fact::Added(n)]),
            Wish::Name(name) if self.name.as_deref() == Some(name) => Ok(vec![]),
            Wish::Name(name) => Ok(vec![Fact::Named(name.to_owned())]),
            Wish::Reach(n) if n == self.total => Ok(vec![]),
            Wish::Reach(n) => Ok(vec![Fact::Added(n - self.total)]),
            Wish::AtMost(n) if self.total > n => Err(TooMuch(self.total)),
            Wish::AtMost(_) => Ok(vec![]),
            Wish::Crash => panic!("a rule that panics"),
        }
    }

    fn evolve(&mut self, fact: &Fact) {
        match fact {
            Fact::Added(n) => self.total += n,
            Fact::Named(name) => self.name = Some(name.clone()),
        }
    }

    fn claims(&self, fact: &Fact) -> Vec<ClaimChange> {
        let Fact::Named(name) = fact else { return vec![] };
        let freed = self.name.iter().map(|old| ClaimChange::Free(Claim::new("counter.name", old)));
        freed.chain([ClaimChange::Take(Claim::new("counter.name", name))]).collect()
    }
}

pub(crate) const NODE: Uuid = Uuid::from_u128(0xA);

pub(crate) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(crate) fn metadata() -> Metadata {
    Metadata {
        tenant: Some(TenantId(id(77))),
        actor: Actor { kind: ActorKind::System, id: "test".into() },
        role: "system".into(),
        scopes: vec![],
        action: "counters:change".into(),
        correlation_id: CorrelationId(id(1)),
        causation_id: None,
        command_id: None,
        origin: Origin::default(),
    }
}

pub(crate) fn context() -> CommandContext {
    CommandContext::new(metadata())
}

pub(crate) fn once(command: u128) -> CommandContext {
    let idempotency = Idempotency { id: CommandId(id(command)), fingerprint: [1; 32] };
    CommandContext { idempotency: Some(idempotency), ..context() }
}

pub(crate) fn config() -> EngineConfig {
    let writer =
        WriterConfig { unclear_patience: Duration::from_millis(300), ..WriterConfig::new(ShardId(0), NODE) };
    EngineConfig::new(writer)
}

pub(crate) async fn engine_with(config: EngineConfig) -> (Engine, Arc<MemoryJournal>) {
    let journal = Arc::new(MemoryJournal::default());
    (engine_on(config, journal.clone()).await, journal)
}

pub(crate) async fn engine_on(config: EngineConfig, journal: Arc<MemoryJournal>) -> Engine {
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let engine = Engine::start(config, journal, Live::default(), clock, ids).await.expect("it starts");
    engine.owned().await;
    engine
}

pub(crate) async fn engine() -> (Engine, Arc<MemoryJournal>) {
    engine_with(config()).await
}
