//! An application's API keys, as developers manage them.

pub mod issue;
pub mod list;
pub mod revoke;
pub mod rotate;
