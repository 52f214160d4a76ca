//! A managed application and its keys.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use projections::{ApplicationRow, KeyRow, KeyStatus};
use schemas::values::{ApplicationStatus, Environment, Scope};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{DEVELOPER, EVERYONE};
use super::fields::{fields, given};
use super::words;

/// A managed application.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Application, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b13", "name": "Billing", "owner": "team:billing",
    "environment": "production", "redirect_uris": ["https://billing.example/back"], "status": "active",
    "created_at": "2027-01-01T09:00:00Z", "created_by": "local:0",
    "updated_at": "2027-01-01T09:00:00Z", "updated_by": "local:0"
}))]
pub struct ApplicationView {
    pub id: Uuid,
    pub name: String,
    /// Who answers for it: the opaque id of a person or a team.
    pub owner: String,
    #[schema(schema_with = words::environment)]
    pub environment: Environment,
    pub redirect_uris: Vec<String>,
    #[schema(schema_with = words::application_status)]
    pub status: ApplicationStatus,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

fields! { ApplicationView {
    id: EVERYONE,
    name: EVERYONE,
    owner: EVERYONE,
    environment: EVERYONE,
    redirect_uris: EVERYONE,
    status: EVERYONE,
    created_at: EVERYONE,
    created_by: EVERYONE,
    updated_at: EVERYONE,
    updated_by: EVERYONE,
} }

impl From<ApplicationRow> for ApplicationView {
    fn from(row: ApplicationRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            owner: row.owner,
            environment: row.environment,
            redirect_uris: row.redirect_uris,
            status: row.status,
            created_at: row.created_at,
            created_by: row.created_by,
            updated_at: row.updated_at,
            updated_by: row.updated_by,
        }
    }
}

/// An API key, without its secret.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = ApiKey, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b14", "application": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b13",
    "prefix": "q7Tz1a", "scopes": ["flag:read"], "status": "active", "expires_at": null, "revoked_at": null,
    "created_at": "2027-01-01T09:00:00Z", "created_by": "local:0"
}))]
pub struct KeyView {
    pub id: Uuid,
    pub application: Uuid,
    /// The first characters of the secret, by which people tell keys apart.
    pub prefix: String,
    #[schema(schema_with = words::scopes)]
    pub scopes: BTreeSet<Scope>,
    /// A key that has expired is told from an active one by `expires_at`.
    #[schema(schema_with = key_status)]
    pub status: KeyStatus,
    /// `null`: until it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
}

fields! { KeyView {
    id: EVERYONE,
    application: EVERYONE,
    prefix: EVERYONE,
    scopes: EVERYONE,
    status: EVERYONE,
    expires_at: EVERYONE,
    revoked_at: EVERYONE,
    created_at: EVERYONE,
    created_by: EVERYONE,
} }

fn key_status() -> utoipa::openapi::schema::Schema {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["active", "revoked"])).into()
}

impl From<KeyRow> for KeyView {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id.0,
            application: row.application.0,
            prefix: row.prefix,
            scopes: row.scopes,
            status: row.status,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            created_at: row.created_at,
            created_by: row.created_by,
        }
    }
}

/// A key that was just issued. The secret is shown here and never again.
#[derive(ToSchema)]
#[schema(as = IssuedApiKey, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b14", "application": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b13",
    "prefix": "q7Tz1a", "scopes": ["flag:read"], "expires_at": null,
    "key": "tk_018f6b1e8c3a7d529a4f3f1f0c9d2b14_q7Tz1aAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
}))]
pub struct IssuedKeyView {
    pub id: Uuid,
    pub application: Uuid,
    pub prefix: String,
    #[schema(schema_with = words::scopes)]
    pub scopes: BTreeSet<Scope>,
    pub expires_at: Option<DateTime<Utc>>,
    /// The whole key. Absent when a retry comes later than ten minutes after the key was issued.
    pub key: Option<String>,
}

fields! { IssuedKeyView {
    id: EVERYONE,
    application: EVERYONE,
    prefix: EVERYONE,
    scopes: EVERYONE,
    expires_at: EVERYONE,
    // A secret: for who asked for it.
    key if given: DEVELOPER,
} }

/// The successor of a key. Its secret is shown here and never again.
#[derive(ToSchema)]
#[schema(as = RotatedApiKey, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b15", "application": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b13",
    "replaces": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b14", "prefix": "q7Tz1a", "expires_at": null,
    "key": "tk_018f6b1e8c3a7d529a4f3f1f0c9d2b15_q7Tz1aAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
}))]
pub struct RotatedKeyView {
    pub id: Uuid,
    pub application: Uuid,
    /// The old key. The list of keys tells when it ends.
    pub replaces: Uuid,
    pub prefix: String,
    pub expires_at: Option<DateTime<Utc>>,
    /// The whole key. Absent when a retry comes later than ten minutes after the key was issued.
    pub key: Option<String>,
}

fields! { RotatedKeyView {
    id: EVERYONE,
    application: EVERYONE,
    replaces: EVERYONE,
    prefix: EVERYONE,
    expires_at: EVERYONE,
    // A secret: for who asked for it.
    key if given: DEVELOPER,
} }
