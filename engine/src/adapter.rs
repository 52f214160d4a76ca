//! Our deciders as cqrs-es sees them: its aggregate, its domain events.

use std::sync::Arc;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kernel::{ClaimChange, Decider, Event};
use serde::{Deserialize, Serialize};

/// An event as cqrs-es carries it; stored exactly as the event itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound = "E: Event")]
pub struct Fact<E>(pub Arc<E>);

impl<E: Event> DomainEvent for Fact<E> {
    fn event_type(&self) -> String {
        self.0.event_type().to_owned()
    }

    fn event_version(&self) -> String {
        self.0.event_version().to_owned()
    }
}

/// A decider as a cqrs-es aggregate. Beside its state it gathers the claims its events take and free.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "D: Decider")]
pub struct Folded<D> {
    pub state: D,
    #[serde(skip)]
    claims: Vec<ClaimChange>,
}

impl<D: Decider> Default for Folded<D> {
    fn default() -> Self {
        Self::new(D::default())
    }
}

impl<D: Decider> Folded<D> {
    pub fn new(state: D) -> Self {
        Self { state, claims: Vec::new() }
    }

    /// What the events applied since the last call change about claims. What they take and free again, or free and
    /// take again, is no change: nobody else ever sees it, and within one transaction both would see the same rows.
    pub fn take_claims(&mut self) -> Vec<ClaimChange> {
        let mut net: Vec<ClaimChange> = Vec::new();
        for change in self.claims.drain(..) {
            match net.iter().position(|earlier| earlier.claim() == change.claim()) {
                Some(undone) if net[undone] != change => {
                    net.remove(undone);
                }
                Some(_) => {}
                None => net.push(change),
            }
        }
        net
    }
}

impl<D: Decider> Aggregate for Folded<D> {
    const TYPE: &'static str = D::TYPE;
    type Command = D::Command;
    type Event = Fact<D::Event>;
    type Error = D::Rejection;
    type Services = ();

    async fn handle(
        &mut self,
        command: D::Command,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), D::Rejection> {
        for event in self.state.decide(command)? {
            sink.write(Fact(Arc::new(event)), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, Fact(event): Fact<D::Event>) {
        self.claims.extend(self.state.claims(&event));
        self.state.evolve(&event);
    }
}
