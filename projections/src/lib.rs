//! The read side: one file and its `.sql` for each read model, holding the fold and the queries.
//!
//! Nothing here decides anything, and no query sees more tenants than its [`Scope`] says.

mod access;
mod application_directory;
mod audit_trail;
mod entity;
mod flag_memory;
mod list;
mod membership_directory;
mod role_directory;
mod tenant_applications;
mod tenant_directory;
mod user_directory;

use std::sync::Arc;

use engine::projection::Projection;

pub use access::{
    AccessMemory, KeyAccess, MemberAccess, MemberGrants, RoleAccess, TenantAccess, TokenAccess,
};
pub use application_directory::{ApplicationDirectory, ApplicationRow, KeyRow, KeyStatus};
pub use audit_trail::{AuditRange, AuditRow, AuditTrail, ExportError};
pub use flag_memory::{Flag, FlagMemory, TenantFlags};
pub use list::{
    Field, FieldType, Filter, ListError, ListQuery, ListSpec, Op, Page, QueryError, Scope, Sort, SortValue,
};
pub use membership_directory::{MembershipDirectory, MembershipRow};
pub use role_directory::{RoleDirectory, RoleRow};
pub use tenant_applications::TenantApplications;
pub use tenant_directory::{TenantDirectory, TenantRow};
pub use user_directory::{UserDirectory, UserRow};

/// Every projection that lives in tables.
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(TenantDirectory),
        Arc::new(UserDirectory),
        Arc::new(MembershipDirectory),
        Arc::new(RoleDirectory),
        Arc::new(ApplicationDirectory),
        Arc::new(TenantApplications),
        Arc::new(AuditTrail),
    ]
}
