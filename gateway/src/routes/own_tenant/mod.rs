//! A tenant, as its own people see it.

pub mod audit_logs;
pub mod change_plan;
pub mod get;
pub mod update;
