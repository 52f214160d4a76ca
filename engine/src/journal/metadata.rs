//! The metadata column: a flat map of strings, as postgres-es reads it.

use kernel::{
    Actor, ActorKind, CommandId, CorrelationId, EventId, Metadata, Origin, PersonId, Personal, TenantId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::CodecError;

/// Where a command came from, marked as personal data of its actor; `None` if that isn't known.
pub(crate) fn marked_origin(metadata: &Metadata) -> Result<Option<String>, CodecError> {
    if metadata.origin == Origin::default() {
        return Ok(None);
    }
    // Who has no id that is a person's shares the key of nobody.
    let of = metadata.actor.id.parse::<Uuid>().unwrap_or(Uuid::nil());
    let marked = Personal::new(PersonId(of), &metadata.origin);
    serde_json::to_string(&marked).map(Some).map_err(|e| CodecError(e.to_string()))
}

/// What has a column of its own isn't repeated. `origin` is sealed already.
pub(crate) fn stored_metadata(metadata: &Metadata, origin: Option<String>) -> Result<String, CodecError> {
    let Metadata { action, actor, scopes, command_id, .. } = metadata;
    let written = Written {
        action,
        actor_kind: actor.kind.as_str(),
        scopes: (!scopes.is_empty()).then(|| scopes.join(" ")),
        command_id: *command_id,
        origin,
    };
    serde_json::to_string(&written).map_err(|e| CodecError(e.to_string()))
}

/// [`Columnless`] on its way in.
#[derive(Serialize)]
struct Written<'a> {
    action: &'a str,
    actor_kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_id: Option<CommandId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

/// The columns beside the metadata that say who and why.
pub(crate) struct Context {
    pub tenant: Option<Uuid>,
    pub actor: String,
    pub role: String,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
}

/// Metadata as it is stored, the origin still sealed.
pub(crate) struct StoredMetadata {
    columnless: Columnless,
    /// Marked, as JSON.
    pub(crate) origin: Option<String>,
}

/// What has no column of its own. Everything is a string: that is how postgres-es reads it.
#[derive(Deserialize)]
struct Columnless {
    #[serde(default)]
    action: String,
    actor_kind: ActorKind,
    #[serde(default)]
    scopes: Option<String>,
    #[serde(default)]
    command_id: Option<CommandId>,
    #[serde(default)]
    origin: Option<String>,
}

fn broken(error: &dyn std::fmt::Display) -> CodecError {
    CodecError(format!("metadata: {error}"))
}

impl StoredMetadata {
    pub(crate) fn parse(stored: &str) -> Result<Self, CodecError> {
        let mut columnless: Columnless = serde_json::from_str(stored).map_err(|e| broken(&e))?;
        let origin = columnless.origin.take();
        Ok(Self { columnless, origin })
    }

    /// The metadata, after the origin was opened.
    pub(crate) fn into_metadata(self, context: Context) -> Result<Metadata, CodecError> {
        let Self { columnless, origin: marked } = self;
        let mut origin = Origin::default();
        if let Some(marked) = marked {
            let marked: Personal<Origin> = serde_json::from_str(&marked).map_err(|e| broken(&e))?;
            origin = marked.reveal().cloned().unwrap_or_default();
        }
        Ok(Metadata {
            tenant: context.tenant.map(TenantId),
            actor: Actor { kind: columnless.actor_kind, id: context.actor },
            role: context.role,
            scopes: columnless.scopes.map(|s| s.split(' ').map(str::to_owned).collect()).unwrap_or_default(),
            action: columnless.action,
            correlation_id: CorrelationId(context.correlation_id),
            causation_id: context.causation_id.map(EventId),
            command_id: columnless.command_id,
            origin,
        })
    }
}
