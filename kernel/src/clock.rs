//! Time and ids enter through these two, so that tests can move the one and know the other.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The time of day. Everything that asks for it holds one of these.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Now, in UTC, to the microsecond (PostgreSQL keeps no more).
    fn now(&self) -> DateTime<Utc>;
}

/// A source of fresh ids.
pub trait Ids: Send + Sync + std::fmt::Debug + 'static {
    /// An id that nobody else has.
    fn fresh(&self) -> Uuid;
}
