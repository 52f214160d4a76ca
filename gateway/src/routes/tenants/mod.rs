//! Tenants, as operators see them.

pub mod suspend;
