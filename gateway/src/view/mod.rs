//! What answers look like: a struct for each thing, made of a read model's row. What a role may not see is not in it.

mod application;
mod audit;
mod flag;
mod tenant;
mod user;
pub mod words;

pub use application::{ApplicationView, IssuedKeyView, KeyView};
pub use audit::AuditView;
pub use flag::FlagView;
pub use tenant::{OwnTenantView, TenantView};
pub use user::{MembershipView, UserMembership, UserView};
