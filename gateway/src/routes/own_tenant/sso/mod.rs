//! The OpenID providers that the own tenant's people sign in by (FR-AUTH-003, UC-TENANT-SSO).

pub mod configure;
pub mod get;
pub mod list;
pub mod remove;
pub mod update;
pub mod verify;

use aggregates::Tenant;
use aggregates::tenant::Existing;
use kernel::SsoProviderId;
use schemas::events::SsoConfigured;
use uuid::Uuid;

use crate::extract::Write;
use crate::problem::Problem;

/// The tenant that a request concerns, as the journal has it.
async fn tenant_of<B>(write: &Write<B>) -> Result<Existing, Problem> {
    let looked = write.app.engine.look::<Tenant>(write.tenant()?.0).await;
    let (tenant, _) = looked.map_err(|error| {
        tracing::warn!(%error, "a tenant could not be looked up");
        Problem::unavailable("database")
    })?;
    tenant.existing().filter(|tenant| !tenant.purged).cloned().ok_or_else(Problem::not_found)
}

/// A provider of the tenant's. Another tenant's is not there.
async fn provider_of<B>(write: &Write<B>, id: Uuid) -> Result<SsoConfigured, Problem> {
    tenant_of(write).await?.sso.get(SsoProviderId(id)).cloned().ok_or_else(Problem::not_found)
}
