//! The roles that a tenant makes for its people (REQUIREMENTS §4).

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod set_permissions;
pub mod update;
