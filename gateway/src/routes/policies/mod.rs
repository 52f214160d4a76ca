//! The policies that operators publish beside those of the binary (REQUIREMENTS §4).

pub mod get;
pub mod list;
pub mod publish;
pub mod withdraw;
