//! Why somebody is let in or refused, as it is answered.

use chrono::{DateTime, Utc};
use kernel::{ActorKind, Envelope, PositionToken, ShardId, TenantId};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use uuid::Uuid;

use super::audience::EVERYONE;
use super::fields::fields;
use crate::explain::Moment;
use crate::problem::Problem;

/// Why somebody is let in or refused: the policies that say so, and the events that made it so. Of people it holds ids only.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Explanation, example = json!({
    "decision": "allow", "detail": null, "heard": null, "would_be_asked": [],
    "policies": [{
        "id": "managers-run-their-tenant", "effect": "permit", "source": "built_in", "published_by": null,
        "text": "@id(\"managers-run-their-tenant\")\npermit (\n  principal is Person,\n  action in [Action::\"tenant:people\", Action::\"tenant:settings\"],\n  resource\n)\nwhen { [Role::\"owner\", Role::\"administrator\"].contains(principal.role) };"
    }],
    "facts": [{
        "fact": "membership.role", "of": null, "value": "administrator", "event": {
            "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b21", "type": "membership.role_changed",
            "stream": "membership/5b6bd2bb-58a4-5ba1-8d5b-4a17ec50d9d4", "sequence": 3, "position": "0:1042",
            "recorded_at": "2027-01-01T09:00:00Z",
            "actor": {"kind": "user", "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b12"}
        }
    }],
    "question": {
        "principal": {"type": "Person", "role": "administrator", "kind": "staff", "holds": false, "mfa": true, "sso": false, "scopes": []},
        "action": "users:invite",
        "resource": {"type": "Tenant", "mode": "active", "status": "active", "mfa_required": false, "sso_required": false},
        "context": {"mutates": true, "when_blocked": false, "now": "2027-01-05T10:30:00Z"}
    },
    "as_of": {"position": "0:2711", "time": "2027-01-05T10:30:00Z"}, "policy_version": "0.1.0"
}))]
pub struct ExplanationView {
    #[schema(schema_with = decision)]
    pub decision: &'static str,
    /// Why it is refused: `forbidden`, `hidden`, `mfa_required`, `sso_required`, `sso_session`, `blocked`, `read_only`,
    /// `wrong_org`, or what is wrong with the session or the key. `forbidden` without policies: none permits it.
    pub detail: Option<String>,
    /// What they hear who are refused.
    pub heard: Option<HeardView>,
    /// What they have to show in addition: `second_factor`, `fresh_authentication`.
    #[schema(value_type = Vec<String>)]
    pub would_be_asked: Vec<&'static str>,
    /// The policies that the decision rests on. One that permits and yet stands beside a refusal could not be evaluated.
    pub policies: Vec<ReasonView>,
    /// What it rests on, each fact with the event that made it so.
    pub facts: Vec<FactView>,
    /// What the policies were told, by the names their texts use; `null` if it didn't come to that.
    #[schema(value_type = Option<Object>)]
    pub question: Option<Value>,
    pub as_of: AsOfView,
    /// The version of the server, and so of its built-in policies: they are those of now, whatever time is asked about.
    #[schema(value_type = String)]
    pub policy_version: &'static str,
}

fields! { ExplanationView {
    decision: EVERYONE,
    detail: EVERYONE,
    heard: EVERYONE,
    would_be_asked: EVERYONE,
    policies: EVERYONE,
    facts: EVERYONE,
    question: EVERYONE,
    as_of: EVERYONE,
    policy_version: EVERYONE,
} }

fn decision() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["allow", "deny"])).into()
}

/// What somebody hears who is refused.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Heard)]
pub struct HeardView {
    pub status: u16,
    pub code: String,
    pub detail: String,
}

fields! { HeardView {
    status: EVERYONE,
    code: EVERYONE,
    detail: EVERYONE,
} }

impl From<&Problem> for HeardView {
    fn from(problem: &Problem) -> Self {
        Self {
            status: problem.status.as_u16(),
            code: problem.code.as_str().to_owned(),
            detail: problem.detail.to_string(),
        }
    }
}

/// A policy that a decision rests on.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = DecidingPolicy)]
pub struct ReasonView {
    pub id: String,
    /// `permit` or `forbid`; `unreadable` if this server can't read it: then it refuses what it names.
    #[schema(value_type = String)]
    pub effect: &'static str,
    /// In Cedar; `null` of one whose stream can't be read.
    pub text: Option<String>,
    /// `built_in` or `published`.
    #[schema(value_type = String)]
    pub source: &'static str,
    /// Of one that was published: by what.
    pub published_by: Option<EventView>,
}

fields! { ReasonView {
    id: EVERYONE,
    effect: EVERYONE,
    text: EVERYONE,
    source: EVERYONE,
    published_by: EVERYONE,
} }

/// A fact that a decision rests on.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = ExplainedFact)]
pub struct FactView {
    /// Such as `membership.role`.
    #[schema(value_type = String)]
    pub fact: &'static str,
    /// Which one, of a fact of which there are several: a permission, a key.
    pub of: Option<String>,
    /// `null`: it is not there, or not any more.
    pub value: Value,
    /// What made it so; `null`: nothing ever did.
    pub event: Option<EventView>,
}

fields! { FactView {
    fact: EVERYONE,
    of: EVERYONE,
    value: EVERYONE,
    event: EVERYONE,
} }

/// An event, without what it says.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = EventReference)]
pub struct EventView {
    pub id: Uuid,
    #[schema(rename = "type")]
    pub kind: String,
    /// Whose it is: `type/id`.
    pub stream: String,
    /// The place in its stream, from 1.
    pub sequence: u64,
    /// The place in the journal; opaque.
    pub position: String,
    pub recorded_at: DateTime<Utc>,
    /// Who did it; `null` where who asks may not know that.
    pub actor: Option<ActorView>,
}

fields! { EventView {
    id: EVERYONE,
    kind as "type": EVERYONE,
    stream: EVERYONE,
    sequence: EVERYONE,
    position: EVERYONE,
    recorded_at: EVERYONE,
    actor: EVERYONE,
} }

/// Who did something.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = EventActor)]
pub struct ActorView {
    pub kind: String,
    pub id: String,
}

fields! { ActorView {
    kind: EVERYONE,
    id: EVERYONE,
} }

impl EventView {
    /// `within`: the one tenant whose affairs whoever asks may know.
    pub fn of(event: &Envelope, within: Option<TenantId>) -> Self {
        let actor = &event.metadata.actor;
        // Operators are not named to others.
        let known = within
            .is_none_or(|tenant| event.metadata.tenant == Some(tenant) && actor.kind != ActorKind::Operator);
        Self {
            id: event.event_id.0,
            kind: event.event_type.to_string(),
            stream: event.stream.to_string(),
            sequence: event.sequence,
            position: PositionToken { shard: event.shard, position: event.position }.to_string(),
            recorded_at: event.recorded_at,
            actor: known.then(|| ActorView { kind: actor.kind.as_str().to_owned(), id: actor.id.clone() }),
        }
    }
}

/// The moment that was asked about.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = AsOf)]
pub struct AsOfView {
    /// Everything up to here had happened; opaque.
    pub position: String,
    pub time: DateTime<Utc>,
}

fields! { AsOfView {
    position: EVERYONE,
    time: EVERYONE,
} }

impl AsOfView {
    pub fn of(moment: Moment) -> Self {
        let position = PositionToken { shard: ShardId::default(), position: moment.position };
        Self { position: position.to_string(), time: moment.time }
    }
}
