//! Flags, as polling applications get them.

pub mod poll;
