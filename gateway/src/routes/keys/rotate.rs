//! `POST /api/developer/applications/{id}/keys/{kid}/rotate` (FR-SYS-002): a successor, and an end for the old key.

use aggregates::{Application, ApplicationCommand};
use axum::response::Response;
use chrono::{DateTime, SubsecRound, Utc};
use kernel::KeyId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::revoke::KeyPath;
use crate::api_key::ApiKey;
use crate::extract::{Path, Write};
use crate::problem::Problem;
use crate::view::RotatedKeyView;

/// How a key is to be replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RotateApiKey, example = json!({"overlap_hours": 24}))]
pub struct Rotate {
    /// How long the old key goes on beside the new one, in hours, at most 720 (30 days); 0: it stops at once. It never
    /// goes on longer than it would have.
    #[serde(default = "a_day")]
    #[schema(default = 24, maximum = 720)]
    overlap_hours: u16,
    /// When the new key expires. Left out: it is valid until it is revoked.
    expires_at: Option<DateTime<Utc>>,
}

fn a_day() -> u16 {
    24
}

/// Rotate a key
///
/// The new key has the scopes of the old one, which stops working when the overlap is over. A retry with the same
/// `Idempotency-Key` shows the same secret for ten minutes, and no secret later.
#[utoipa::path(
    post,
    path = "/api/developer/applications/{id}/keys/{kid}/rotate",
    tag = "keys",
    params(KeyPath),
    request_body = Rotate,
    responses((status = CREATED, description = "The new key is issued.", body = RotatedKeyView)),
)]
pub async fn rotate(
    Path(KeyPath { id, kid }): Path<KeyPath>,
    write: Write<Rotate>,
) -> Result<Response, Problem> {
    let key_id = write.new_id("key");
    let key = ApiKey::new(KeyId(key_id), &*write.new_secret(key_id)?);
    // To the microsecond: the database keeps no more.
    let expires_at = write.body.expires_at.map(|end| end.trunc_subsecs(6));
    let command = ApplicationCommand::RotateKey {
        key: KeyId(kid),
        successor: key.id,
        hash: key.hash(),
        prefix: key.prefix(),
        expires_at,
        overlap_hours: write.body.overlap_hours,
        now: write.now(),
    };
    let receipt = write.dispatch::<Application>(id, command).await?;
    let rotated = RotatedKeyView {
        id: key_id,
        application: id,
        replaces: kid,
        prefix: key.prefix().as_str().to_owned(),
        expires_at,
        key: write.may_show_secret(&receipt).then(|| key.reveal().to_string()),
    };
    let location = format!("/api/developer/applications/{id}/keys/{key_id}");
    let mut response = write.created(&location, &receipt, &rotated);
    crate::view::never_stored(&mut response);
    Ok(response)
}
