//! What machines that watch us ask.

pub mod live;
pub mod metrics;
pub mod ready;
