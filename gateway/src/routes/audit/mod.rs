//! The audit trail, for auditors.

pub mod export;
pub mod list;
pub mod range;
