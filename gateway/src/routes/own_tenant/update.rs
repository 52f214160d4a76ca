//! `PATCH /api/v1/tenants/me` (REQUIREMENTS §12, ruling 15: neither contract nor SSO nor security policy)

use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use schemas::values::{Settings, TenantName};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::{Done, Write};
use crate::problem::Problem;

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateOwnTenant, example = json!({"name": "Acme Ltd", "settings": {"locale": "en"}}))]
pub struct Update {
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    name: Option<TenantName>,
    /// Replaced as a whole.
    #[schema(value_type = Option<Object>)]
    settings: Option<Settings>,
}

/// Change the own tenant
#[utoipa::path(
    patch,
    path = "/api/v1/tenants/me",
    tag = "own tenant",
    request_body = Update,
    responses((status = OK, description = "It is changed.", body = Done)),
)]
pub async fn update(write: Write<Update>) -> Result<Response, Problem> {
    let id = write.tenant()?.0;
    let Update { name, settings } = &write.body;
    let command =
        TenantCommand::Update { name: name.clone(), slug: None, domain: None, settings: settings.clone() };
    let receipt = write.dispatch::<Tenant>(id, command).await?;
    Ok(write.done(id, &receipt))
}
