//! What permissions the platform itself knows.

pub mod list;
