//! `POST /api/operator/tenants` (UC-PROV-001)

use aggregates::application::NAME_CLAIM;
use aggregates::tenant::{Provision, Trial};
use aggregates::{Tenant, TenantCommand};
use axum::response::Response;
use chrono::{DateTime, Utc};
use kernel::{ApplicationId, Claim, PersonId, TenantId};
use schemas::events::RequestedApplication;
use schemas::values::{ApplicationName, Domain, EmailAddress, Environment, Plan, Region, Slug, TenantName};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Write;
use crate::problem::{FieldError, Problem};
use crate::view::audience::EVERYONE;
use crate::view::fields::fields;
use crate::view::words;

/// A tenant as it is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProvisionTenant, example = json!({
    "name": "Acme", "domain": "acme.example", "plan": "pro", "owner_email": "ann@acme.example",
    "application": {"name": "Acme Portal", "environment": "production"}
}))]
pub struct ProvisionBody {
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    name: TenantName,
    /// A host name; it names one tenant.
    #[schema(value_type = String, max_length = 253)]
    domain: Domain,
    /// The tenant's name in URLs. Left out: the domain with hyphens for dots.
    #[schema(value_type = Option<String>, max_length = 63)]
    slug: Option<Slug>,
    #[schema(schema_with = words::plan)]
    plan: Plan,
    /// Where its data live. Left out: `eu`.
    #[schema(schema_with = words::region_or_null, required = false)]
    region: Option<Region>,
    /// Who is invited as the first owner.
    #[schema(value_type = String, format = Email, max_length = 254)]
    owner_email: EmailAddress,
    application: Option<ApplicationBody>,
    /// When the trial ends. Left out: 14 days from now. `null`: there is no trial.
    #[serde(default, deserialize_with = "super::present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    trial_ends_at: Option<Option<DateTime<Utc>>>,
}

/// An application that is registered (`id`), or one to register (`name` and `environment`).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProvisionApplication, example = json!({"name": "Acme Portal", "environment": "production"}))]
pub struct ApplicationBody {
    id: Option<Uuid>,
    #[schema(value_type = Option<String>, max_length = 100)]
    name: Option<ApplicationName>,
    #[schema(schema_with = words::environment_or_null, required = false)]
    environment: Option<Environment>,
}

/// What is there now. Owner, flags and application follow at once; the tenant's `provisioning_status` tells when.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = ProvisionedTenant, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11", "sequence": 1, "application": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b13"
}))]
pub struct Provisioned {
    pub id: Uuid,
    /// What `ETag` says too: the number of its last change.
    pub sequence: u64,
    /// The application, registered or to be registered.
    pub application: Option<Uuid>,
}

fields! { Provisioned {
    id: EVERYONE,
    sequence: EVERYONE,
    application: EVERYONE,
} }

/// Provision a tenant
///
/// One request leads to the tenant, its invited owner, the plan's flags and the application.
#[utoipa::path(
    post,
    path = "/api/operator/tenants",
    tag = "tenants",
    request_body = ProvisionBody,
    responses((status = CREATED, description = "It is provisioned.", body = Provisioned)),
)]
pub async fn provision(mut write: Write<ProvisionBody>) -> Result<Response, Problem> {
    let id = write.new_id("tenant");
    write.in_tenant(TenantId(id));
    let application = application(&write).await?;
    let body = &write.body;
    let wish = Provision {
        tenant: TenantId(id),
        name: body.name.clone(),
        slug: body.slug.clone().unwrap_or_else(|| Slug::of_domain(&body.domain)),
        domain: body.domain.clone(),
        plan: body.plan,
        region: body.region.unwrap_or(Region::Eu),
        trial: match body.trial_ends_at {
            None => Trial::Standard,
            Some(None) => Trial::None,
            Some(Some(end)) => Trial::Until(end),
        },
        owner: PersonId(write.new_id("owner")),
        owner_email: body.owner_email.clone(),
        application: application.clone(),
        now: write.now(),
    };
    let receipt = write.dispatch::<Tenant>(id, TenantCommand::Provision(Box::new(wish))).await?;
    let application = application.map(|application| application.id().0);
    let provisioned = Provisioned { id, sequence: receipt.sequence, application };
    Ok(write.created(&format!("/api/operator/tenants/{id}"), &receipt, &provisioned))
}

async fn application(
    write: &Write<ProvisionBody>,
) -> Result<Option<RequestedApplication<ApplicationName>>, Problem> {
    let Some(wanted) = &write.body.application else { return Ok(None) };
    match (wanted.id, &wanted.name, wanted.environment) {
        (Some(id), None, None) => {
            let application = ApplicationId(id);
            if !write.app.access.memory.application_is_active(application) {
                return Err(Problem::field("/application/id", "is no application that is active"));
            }
            Ok(Some(RequestedApplication::Existing { application }))
        }
        (None, Some(name), Some(environment)) => {
            let application = ApplicationId(write.new_id("application"));
            free(write, name, application).await?;
            Ok(Some(RequestedApplication::New { application, name: name.clone(), environment }))
        }
        _ => Err(Problem::field("/application", "needs either id, or name and environment")),
    }
}

/// Tells of a name that is taken now rather than by a failed provisioning.
async fn free(
    write: &Write<ProvisionBody>,
    name: &ApplicationName,
    application: ApplicationId,
) -> Result<(), Problem> {
    let claim = Claim::new(NAME_CLAIM, name.folded());
    let holder = write.app.engine.claim_holder(&claim).await.map_err(|error| {
        tracing::warn!(%error, "a claim could not be looked up");
        Problem::unavailable("database")
    })?;
    match holder {
        Some(holder) if holder.id != application.0 => Err(Problem {
            errors: vec![FieldError::body("/application/name", "is taken")],
            ..Problem::conflict("name_taken")
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &str) -> Result<ProvisionBody, serde_json::Error> {
        let text = format!(
            r#"{{"name":"Acme","domain":"acme.example","plan":"pro","owner_email":"ann@acme.example"{extra}}}"#
        );
        serde_json::from_str(&text)
    }

    #[test]
    fn no_trial_is_told_from_the_usual_one() {
        assert_eq!(read("").unwrap().trial_ends_at, None);
        assert_eq!(read(r#","trial_ends_at":null"#).unwrap().trial_ends_at, Some(None));
        let end = read(r#","trial_ends_at":"2027-01-01T00:00:00Z""#).unwrap().trial_ends_at;
        assert!(matches!(end, Some(Some(_))));
        assert!(read(r#","trial_ends_at":"soon""#).is_err());
    }
}
