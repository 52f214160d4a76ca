//! What stands around a payload: which stream, who, why, when.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CommandId, CorrelationId, EventId, Payload, Position, ShardId, TenantId};

/// One aggregate's events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The aggregate's type, such as `tenant`.
    pub aggregate_type: Cow<'static, str>,
    pub id: Uuid,
}

impl StreamId {
    pub const fn new(aggregate_type: &'static str, id: Uuid) -> Self {
        Self { aggregate_type: Cow::Borrowed(aggregate_type), id }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.aggregate_type, self.id)
    }
}

/// What kind of actor did something (REQUIREMENTS §13, audit entry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person acting in a tenant.
    User,
    /// A person acting for the platform.
    Operator,
    /// Tenantry itself: a process manager, a timer; or a service of ours beside it.
    System,
    /// A managed application with an API key.
    Application,
    /// Nobody we know.
    Anonymous,
}

impl ActorKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::System => "system",
            Self::Application => "application",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Who did it. The id is opaque (a person's, an application's id, or a process manager's name).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    pub kind: ActorKind,
    pub id: String,
}

/// Where a request came from. Address and user agent are personal data of the actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// What every event carries beside its payload (REQUIREMENTS §1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The tenant it concerns; `None` for what concerns the platform.
    pub tenant: Option<TenantId>,
    pub actor: Actor,
    /// The role the actor acted in.
    pub role: String,
    pub scopes: Vec<String>,
    /// What was wished, such as `tenants:suspend`.
    pub action: String,
    pub correlation_id: CorrelationId,
    /// The event that caused this one, if one did.
    pub causation_id: Option<EventId>,
    pub command_id: Option<CommandId>,
    pub origin: Origin,
}

/// An event as it stands in the journal, its payload decoded and in its newest shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub shard: ShardId,
    pub position: Position,
    pub stream: StreamId,
    /// The place in its stream, from 1.
    pub sequence: u64,
    /// Which part of a stored event that an upcaster split; 0 for all others.
    pub part: u16,
    /// The event's place among the events of its command, from 0.
    pub index_in_command: u16,
    pub event_id: EventId,
    /// Such as `tenant.suspended`.
    pub event_type: Cow<'static, str>,
    pub event_version: Cow<'static, str>,
    pub payload: Payload,
    /// Shared by the events of one command.
    pub metadata: Arc<Metadata>,
    /// When the journal took it; never decreases with the position.
    pub recorded_at: DateTime<Utc>,
}

impl Envelope {
    /// The payload as the event it is.
    pub fn decode<E: crate::Event>(&self) -> Result<E, serde_json::Error> {
        self.payload.decode()
    }

    /// The same, decoded once for all who follow.
    pub fn event<E: crate::Event>(&self) -> Result<Arc<E>, serde_json::Error> {
        self.payload.event()
    }
}
