//! The people of a tenant, as its owners and administrators see them. The id is the person's.

pub mod end_sessions;
pub mod get;
pub mod invite;
pub mod list;
pub mod remove;
pub mod sessions;
pub mod set_role;
pub mod set_status;
pub mod update;
