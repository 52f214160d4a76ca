//! Our deciders as cqrs-es sees them: its aggregate, its domain events.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kernel::{ClaimChange, Decider, Event};
use serde::{Deserialize, Serialize};

/// An event as cqrs-es carries it; stored exactly as the event itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound = "E: Event")]
pub struct Fact<E>(pub E);

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

    /// The claim changes of all events applied since the last call.
    pub fn take_claims(&mut self) -> Vec<ClaimChange> {
        std::mem::take(&mut self.claims)
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
            sink.write(Fact(event), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, Fact(event): Fact<D::Event>) {
        self.claims.extend(self.state.claims(&event));
        self.state.evolve(&event);
    }
}
