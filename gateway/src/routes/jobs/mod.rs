//! What is done in the background, for whoever asked for it.

pub mod result;
pub mod status;
