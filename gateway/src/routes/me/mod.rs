//! The caller, to themselves.

pub mod get;
