//! Managed applications, as developers see them.

pub mod get;
pub mod list;
pub mod register;
pub mod set_status;
pub mod update;
