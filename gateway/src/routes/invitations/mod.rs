//! Invitations of a tenant that nobody has accepted yet. The id is the membership's.

pub mod list;
pub mod resend;
pub mod revoke;
pub mod send;
