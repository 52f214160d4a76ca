//! What was promised to disk and wire: events with their upcasters, value types, SQL migrations.
//!
//! This crate decides nothing and knows no engine. A fixture for each version of each event stands in `fixtures/`.

pub mod catalogue;
pub mod events;
pub mod migrations;
pub mod values;

pub use events::upcasters;
