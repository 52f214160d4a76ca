//! Aggregate actors: the live owners of aggregates.
//!
//! An order travels: intake (permits) → directory (finds or spawns the actor) → actor (loads, decides) → writer
//! (appends) → settlement (answers). The actor never waits for a commit: it decides the next command on the state as it
//! will be, and is thrown away if that state turns out never to be.

mod actor;
mod directory;
mod intake;
mod keeper;
mod memory;
mod order;
mod quarantine;
mod settlement;
mod supervisor;
mod sweeper;

pub(crate) use actor::Surroundings;
pub(crate) use directory::{Directory, SendFailure};
pub(crate) use intake::{IntakeGate, Limits};
pub(crate) use keeper::Keeper;
pub(crate) use memory::Stored;
pub(crate) use order::{Order, Reply, replay};
pub(crate) use quarantine::Quarantine;
pub use quarantine::Quarantined;
pub(crate) use supervisor::Supervision;
pub(crate) use sweeper::Sweeper;

#[cfg(test)]
mod tests;
