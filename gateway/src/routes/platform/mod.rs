//! How the platform is, for operators (FR-SYS-005).

pub mod forget_user;
pub mod health;
pub mod projections;
pub mod reset_mfa;
pub mod rotate_keys;
