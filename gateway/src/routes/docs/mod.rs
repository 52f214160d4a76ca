//! The API's description, for people and machines.

pub mod openapi;
