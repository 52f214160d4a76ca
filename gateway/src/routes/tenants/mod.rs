//! Tenants, as operators see them.

pub mod change_plan;
pub mod get;
pub mod list;
pub mod provision;
pub mod reactivate;
pub mod set_access_mode;
pub mod suspend;
pub mod update;

use serde::{Deserialize, Deserializer};

/// Tells `null` from nothing at all: for fields where `null` is a wish of its own.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
