//! The memberships of a tenant. The same as its people, by the membership's id.

pub mod invite;
pub mod list;
pub mod remove;
pub mod update;
