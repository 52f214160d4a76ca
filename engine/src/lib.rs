//! The mechanism: dispatch, aggregate actors, supervision, journal, subscriptions, projection actors, process
//! managers, background jobs.
//!
//! The engine knows no event, no table of a read model and no HTTP. What it is given is deciders, projections and
//! process managers; what it promises is in `docs/ARCHITECTURE.md`.

pub mod adapter;
pub mod audit;
pub mod clock;
pub mod codec;
pub mod command;
pub mod database;
pub mod dispatch;
pub mod feed;
pub mod follow;
pub mod history;
pub mod housekeeping;
pub mod jobs;
pub mod journal;
pub mod keyring;
pub mod ledger;
pub mod process;
pub mod projection;
pub mod telemetry;
pub mod witness;
pub mod writer;

mod aggregate;
mod store;
#[cfg(test)]
mod testing;

pub use aggregate::Quarantined;
pub use dispatch::{Engine, EngineConfig, EngineHealth};
