//! A tenant, as operators and as its own people see it.

use chrono::{DateTime, Utc};
use projections::TenantRow;
use schemas::values::{
    AccessMode, Plan, ProvisioningStatus, ProvisioningStep, Region, Settings, TenantStatus,
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, MANAGERS, OPERATOR};
use super::fields::fields;
use super::words;

/// A tenant, as operators see it.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Tenant, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "name": "Acme", "slug": "acme-example", "domain": "acme.example",
    "plan": "pro", "status": "trial", "access_mode": "active", "region": "eu", "settings": {},
    "trial_ends_at": "2027-01-15T09:00:00Z", "suspension_reason": null, "provisioning_status": "completed",
    "provisioning_failed_step": null, "provisioning_failed_reason": null, "unverified": false,
    "owners": ["018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12"], "applications": ["018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b13"],
    "created_at": "2027-01-01T09:00:00Z", "created_by": "local:0",
    "updated_at": "2027-01-01T09:00:01Z", "updated_by": "provisioning"
}))]
pub struct TenantView {
    pub id: Uuid,
    /// `null` once it was forgotten, as every text that the tenant supplied.
    pub name: Option<String>,
    pub slug: Option<String>,
    pub domain: Option<String>,
    #[schema(schema_with = words::plan)]
    pub plan: Plan,
    #[schema(schema_with = words::tenant_status)]
    pub status: TenantStatus,
    /// What an operator set; what a member may do depends on status and trial too.
    #[schema(schema_with = words::access_mode)]
    pub access_mode: AccessMode,
    #[schema(schema_with = words::region)]
    pub region: Region,
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Settings>,
    /// `null`: there is no trial.
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub suspension_reason: Option<String>,
    #[schema(schema_with = words::provisioning_status)]
    pub provisioning_status: ProvisioningStatus,
    #[schema(schema_with = words::provisioning_step_or_null)]
    pub provisioning_failed_step: Option<ProvisioningStep>,
    pub provisioning_failed_reason: Option<String>,
    /// A stranger registered it, and its owner's address is not verified yet: nobody gets in.
    pub unverified: bool,
    /// The people who own it.
    pub owners: Vec<Uuid>,
    /// The applications it is connected to.
    pub applications: Vec<Uuid>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

fields! { TenantView {
    id: EVERYONE,
    name: EVERYONE,
    slug: EVERYONE,
    domain: EVERYONE,
    plan: EVERYONE,
    status: EVERYONE,
    access_mode: EVERYONE,
    region: EVERYONE,
    settings: EVERYONE,
    trial_ends_at: EVERYONE,
    // Why, by whom, and what went wrong on the way is told among operators.
    suspension_reason: OPERATOR,
    provisioning_status: EVERYONE,
    provisioning_failed_step: OPERATOR,
    provisioning_failed_reason: OPERATOR,
    unverified: OPERATOR,
    owners: EVERYONE,
    applications: EVERYONE,
    created_at: EVERYONE,
    created_by: OPERATOR,
    updated_at: EVERYONE,
    updated_by: OPERATOR,
} }

impl From<TenantRow> for TenantView {
    fn from(row: TenantRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            slug: row.slug,
            domain: row.domain,
            plan: row.plan,
            status: row.status,
            access_mode: row.access_mode,
            region: row.region,
            settings: row.settings,
            trial_ends_at: row.trial_ends_at,
            suspension_reason: row.suspension_reason,
            provisioning_status: row.provisioning_status,
            provisioning_failed_step: row.provisioning_failed_step,
            provisioning_failed_reason: row.provisioning_failed_reason,
            unverified: row.unverified,
            owners: row.owners.into_iter().map(|person| person.0).collect(),
            applications: row.applications.into_iter().map(|application| application.0).collect(),
            created_at: row.created_at,
            created_by: row.created_by,
            updated_at: row.updated_at,
            updated_by: row.updated_by,
        }
    }
}

/// A tenant, as its owners and administrators see it: without operators' names, reasons and troubles.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = OwnTenant, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "name": "Acme", "slug": "acme-example", "domain": "acme.example",
    "plan": "pro", "status": "trial", "access_mode": "active", "region": "eu", "settings": {},
    "trial_ends_at": "2027-01-15T09:00:00Z", "owners": ["018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12"],
    "applications": ["018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b13"],
    "created_at": "2027-01-01T09:00:00Z", "updated_at": "2027-01-01T09:00:01Z"
}))]
pub struct OwnTenantView {
    pub id: Uuid,
    pub name: Option<String>,
    pub slug: Option<String>,
    pub domain: Option<String>,
    #[schema(schema_with = words::plan)]
    pub plan: Plan,
    #[schema(schema_with = words::tenant_status)]
    pub status: TenantStatus,
    #[schema(schema_with = words::access_mode)]
    pub access_mode: AccessMode,
    #[schema(schema_with = words::region)]
    pub region: Region,
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Settings>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub owners: Vec<Uuid>,
    pub applications: Vec<Uuid>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

fields! { OwnTenantView {
    id: EVERYONE,
    name: EVERYONE,
    slug: EVERYONE,
    domain: EVERYONE,
    // The contract and how the tenant is set up: who was given a look at the tenant need not know them.
    plan: MANAGERS,
    status: EVERYONE,
    access_mode: EVERYONE,
    region: EVERYONE,
    settings: MANAGERS,
    trial_ends_at: MANAGERS,
    owners: EVERYONE,
    applications: EVERYONE,
    created_at: EVERYONE,
    updated_at: EVERYONE,
} }

impl From<TenantRow> for OwnTenantView {
    fn from(row: TenantRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            slug: row.slug,
            domain: row.domain,
            plan: row.plan,
            status: row.status,
            access_mode: row.access_mode,
            region: row.region,
            settings: row.settings,
            trial_ends_at: row.trial_ends_at,
            owners: row.owners.into_iter().map(|person| person.0).collect(),
            applications: row.applications.into_iter().map(|application| application.0).collect(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
