//! A tenant, as its own people see it.

pub mod audit_logs;
pub mod change_plan;
pub mod get;
pub mod password_policy;
pub mod security;
pub mod set_password_policy;
pub mod set_security;
pub mod sso;
pub mod update;

use aggregates::Tenant;
use aggregates::tenant::Existing;

use crate::extract::Read;
use crate::problem::Problem;

/// The caller's tenant as the journal has it, and its revision.
async fn look(read: &Read) -> Result<(Existing, i64), Problem> {
    let id = read.tenant()?;
    read.concerns("tenant", id);
    let (tenant, _) = read.app.engine.look::<Tenant>(id.0).await.map_err(|error| {
        tracing::warn!(%error, "a tenant could not be looked up");
        Problem::unavailable("database")
    })?;
    let tenant = tenant.existing().filter(|tenant| !tenant.purged).cloned().ok_or_else(Problem::not_found)?;
    let revision = tenant.revision.cast_signed();
    Ok((tenant, revision))
}
