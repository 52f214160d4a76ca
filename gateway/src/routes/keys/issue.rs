//! `POST /api/developer/applications/{id}/keys` (FR-SYS-002): the secret is shown once and stored hashed.

use std::collections::BTreeSet;

use aggregates::{Application, ApplicationCommand};
use axum::response::Response;
use chrono::{DateTime, SubsecRound, Utc};
use kernel::KeyId;
use schemas::values::Scope;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::extract::{Path, Write};
use crate::problem::Problem;
use crate::view::{IssuedKeyView, words};

/// A key as it is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IssueApiKey, example = json!({"scopes": ["flag:read"]}))]
pub struct Issue {
    /// What it may be used for; at least one.
    #[schema(schema_with = words::scopes)]
    scopes: BTreeSet<Scope>,
    /// Left out: until it is revoked.
    expires_at: Option<DateTime<Utc>>,
}

/// Issue a key for an application
///
/// To replace a key, rotate it. A retry with the same `Idempotency-Key` shows the same secret for ten minutes, and no
/// secret later.
#[utoipa::path(
    post,
    path = "/api/developer/applications/{id}/keys",
    tag = "keys",
    params(("id" = Uuid, Path, description = "The application")),
    request_body = Issue,
    responses((status = CREATED, description = "It is issued.", body = IssuedKeyView)),
)]
pub async fn issue(Path(id): Path<Uuid>, write: Write<Issue>) -> Result<Response, Problem> {
    let key_id = write.new_id("key");
    let key = ApiKey::new(KeyId(key_id), &*write.new_secret(key_id)?);
    let scopes = write.body.scopes.clone();
    // To the microsecond: the database keeps no more.
    let expires_at = write.body.expires_at.map(|end| end.trunc_subsecs(6));
    let command = ApplicationCommand::IssueKey {
        key: key.id,
        hash: key.hash(),
        prefix: key.prefix(),
        scopes: scopes.clone(),
        expires_at,
        now: write.now(),
    };
    let receipt = write.dispatch::<Application>(id, command).await?;
    let issued = IssuedKeyView {
        id: key_id,
        application: id,
        prefix: key.prefix().as_str().to_owned(),
        scopes,
        expires_at,
        key: write.may_show_secret(&receipt).then(|| key.reveal().to_string()),
    };
    let location = format!("/api/developer/applications/{id}/keys/{key_id}");
    let mut response = write.created(&location, &receipt, &issued);
    crate::view::never_stored(&mut response);
    Ok(response)
}
