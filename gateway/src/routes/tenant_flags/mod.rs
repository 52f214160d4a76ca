//! The flags of a tenant, as operators set them.

pub mod clear;
pub mod get;
pub mod list;
pub mod set;
