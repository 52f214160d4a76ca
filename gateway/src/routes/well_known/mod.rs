//! What strangers must find.

pub mod jwks;
