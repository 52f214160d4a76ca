//! Projections: folds of feeds into read models, in tables or in memory; their generations, rebuilds and dead letters.

mod actor;
mod compare;
mod dead_letter;
mod fill;
mod fold;
mod generation;
mod leftovers;
mod memory;
mod model;
mod projector;
mod rebuild;
mod transaction;

pub use compare::{Comparison, TableComparison, Verification, verify};
pub use dead_letter::{DeadLetter, DeadLetterError, DeadLetterReplay, dead_letters, replay_dead_letters};
pub use fill::{FillError, OnProgress, Phase, Progress};
pub use generation::{Checkpoint, Generation, GenerationState, checkpoints, ensure_generations, generations};
pub use leftovers::{Leftover, LeftoverError, drop_leftovers, leftovers};
pub use memory::{Freshness, Memories, MemoryHandle, MemoryProjection};
pub use model::{Feeds, FoldError, Projection, SCHEMA, Tables, view};
pub use projector::Projector;
pub use rebuild::{RebuildError, RebuildSettings, Rebuilt, drop_former, rebuild, rollback};
pub use transaction::{Parameters, Transaction};

pub use crate::follow::{FollowSettings, FollowerHealth, FollowerState, SpawnError, WaitError};
