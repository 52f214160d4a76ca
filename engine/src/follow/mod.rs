//! What everything that follows a feed has in common: an ordered subscription, and a supervised actor that drives it.
//!
//! Projections, memory projections and process managers differ in what they do with an event, not in how they
//! get it, how they are restarted, or how they stop.

mod ahead;
mod status;
mod subscription;
mod supervisor;

pub use ahead::ReadAhead;
pub(crate) use status::Status;
pub use status::{FollowerHealth, FollowerState, WaitError, against_a_common_head};
pub use subscription::FollowSettings;
pub(crate) use subscription::Subscription;
pub use supervisor::{Followers, SpawnError};
pub(crate) use supervisor::{StartWork, Work};
