//! `PATCH /api/operator/tenants/{id}`

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use chrono::{DateTime, Utc};
use schemas::values::{Domain, Settings, Slug, TenantName};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Done, Path, Write};
use crate::problem::Problem;
use crate::step::step;

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateTenant, example = json!({"name": "Acme Ltd"}))]
pub struct Update {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    name: Option<TenantName>,
    #[schema(value_type = Option<String>, max_length = 63)]
    slug: Option<Slug>,
    #[schema(value_type = Option<String>, max_length = 253)]
    domain: Option<Domain>,
    /// Replaced as a whole.
    #[schema(value_type = Option<Object>)]
    settings: Option<Settings>,
    /// The trial's new end. `null`: the trial ends in a contract.
    #[serde(default, deserialize_with = "super::present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    trial_ends_at: Option<Option<DateTime<Utc>>>,
}

/// Change a tenant
#[utoipa::path(
    patch,
    path = "/api/operator/tenants/{id}",
    tag = "tenants",
    params(("id" = Uuid, Path, description = "The tenant")),
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(Path(id): Path<Uuid>, write: Write<Update>) -> Result<Response, Problem> {
    let Update { name, slug, domain, settings, trial_ends_at } = &write.body;
    let trial = trial_ends_at.map(|ends_at| TenantCommand::SetTrial { ends_at });
    let fields = name.is_some() || slug.is_some() || domain.is_some() || settings.is_some();
    let update = TenantCommand::Update {
        name: name.clone(),
        slug: slug.clone(),
        domain: domain.clone(),
        settings: settings.clone(),
    };
    let receipt = match trial {
        Some(trial) if !fields => write.dispatch::<Tenant>(id, trial).await?,
        Some(trial) => {
            write.dispatch::<Tenant>(id, update).await?;
            step::<Tenant, _>(&write, "set_trial", id, trial_ends_at, trial).await?
        }
        None => write.dispatch::<Tenant>(id, update).await?,
    };
    Ok(write.done(id, &receipt))
}
