//! Decisions: what happens if a command is carried out, and what state the events make.
//!
//! Pure. There is no runtime, no database and no HTTP in this crate's manifest; time, ids and secrets' hashes
//! arrive in the commands. A file is an aggregate, always in this order: doc, state, commands, errors, `decide`,
//! `evolve`, tests.

pub mod application;
pub mod membership;
pub mod policy;
pub mod role;
pub mod tenant;
pub mod user;

#[cfg(test)]
mod testing;

pub use application::{Application, ApplicationCommand, ApplicationRejection};
pub use membership::{Membership, MembershipCommand, MembershipRejection};
pub use policy::{Policy, PolicyCommand, PolicyRejection};
pub use role::{Role, RoleCommand, RoleRejection};
pub use tenant::{Tenant, TenantCommand, TenantRejection};
pub use user::{User, UserCommand, UserRejection};
