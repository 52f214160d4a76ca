//! A batch turned into the columns of one statement, and rows turned back into envelopes.

use std::borrow::Cow;
use std::collections::HashMap;

use kernel::{
    Actor, ActorKind, ClaimChange, CorrelationId, Envelope, EventId, Metadata, Origin, Position, ShardId,
    StreamId, TenantId,
};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{AppendItem, Prepared, Refusal};
use crate::codec::{Codec, CodecError};

/// The columns of the events, claims and outcomes of a batch.
#[derive(Default)]
pub(super) struct Columns<'a> {
    aggregate_type: Vec<&'a str>,
    aggregate_id: Vec<String>,
    sequence: Vec<i64>,
    event_type: Vec<&'a str>,
    event_version: Vec<&'a str>,
    payload: Vec<Cow<'a, str>>,
    metadata: Vec<Cow<'a, str>>,
    tenant: Vec<Option<Uuid>>,
    event_id: Vec<Uuid>,
    index_in_command: Vec<i16>,
    actor: Vec<&'a str>,
    role: Vec<&'a str>,
    correlation_id: Vec<Uuid>,
    causation_id: Vec<Option<Uuid>>,
    freed: ClaimColumns<'a>,
    taken: ClaimColumns<'a>,
    answers: AnswerColumns<'a>,
}

#[derive(Default)]
struct ClaimColumns<'a> {
    kind: Vec<&'a str>,
    value_hash: Vec<Vec<u8>>,
    aggregate_type: Vec<&'a str>,
    aggregate_id: Vec<String>,
}

#[derive(Default)]
struct AnswerColumns<'a> {
    command_id: Vec<Uuid>,
    aggregate_type: Vec<&'a str>,
    aggregate_id: Vec<String>,
    fingerprint: Vec<&'a [u8]>,
    last_offset: Vec<Option<i64>>,
    outcome: Vec<String>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(items: &'a [AppendItem], codec: &Codec) -> Result<Self, CodecError> {
        let mut columns = Self::default();
        for item in items {
            columns.add(item, codec)?;
        }
        columns.sort_claims();
        Ok(columns)
    }

    fn add(&mut self, item: &'a AppendItem, codec: &Codec) -> Result<(), CodecError> {
        let id = item.stream.id.hyphenated().to_string();
        let (payloads, metadata): (Vec<Cow<'a, str>>, Cow<'a, str>) = match &item.prepared {
            Some(ready) => {
                (ready.payloads.iter().map(|p| p.as_str().into()).collect(), ready.metadata.as_str().into())
            }
            None => {
                let made = prepare(item, codec)?;
                (made.payloads.into_iter().map(Cow::Owned).collect(), made.metadata.into())
            }
        };
        for (index, (event, payload)) in item.events.iter().zip(payloads).enumerate() {
            self.aggregate_type.push(&item.stream.aggregate_type);
            self.aggregate_id.push(id.clone());
            self.sequence.push(signed(event.sequence));
            self.event_type.push(&event.event_type);
            self.event_version.push(&event.event_version);
            self.payload.push(payload);
            self.metadata.push(metadata.clone());
            self.tenant.push(item.metadata.tenant.map(|t| t.0));
            self.event_id.push(event.event_id.0);
            self.index_in_command.push(i16::try_from(index).unwrap_or(i16::MAX));
            self.actor.push(&item.metadata.actor.id);
            self.role.push(&item.metadata.role);
            self.correlation_id.push(item.metadata.correlation_id.0);
            self.causation_id.push(item.metadata.causation_id.map(|c| c.0));
        }
        for change in &item.claims {
            let (claims, claim) = match change {
                ClaimChange::Free(claim) => (&mut self.freed, claim),
                ClaimChange::Take(claim) => (&mut self.taken, claim),
            };
            claims.kind.push(claim.kind);
            claims.value_hash.push(codec.claim_hash(claim));
            claims.aggregate_type.push(&item.stream.aggregate_type);
            claims.aggregate_id.push(id.clone());
        }
        if let Some(outcome) = &item.outcome {
            let mut body = outcome.body.clone();
            codec.seal(&mut body)?;
            self.answers.command_id.push(outcome.command_id.0);
            self.answers.aggregate_type.push(&item.stream.aggregate_type);
            self.answers.aggregate_id.push(id);
            self.answers.fingerprint.push(&outcome.fingerprint);
            let last_offset = (!item.events.is_empty()).then(|| signed(self.sequence.len() as u64));
            self.answers.last_offset.push(last_offset);
            self.answers.outcome.push(body.to_string());
        }
        Ok(())
    }

    /// Claims are taken in sorted order, so that two nodes that take the same ones don't wait for each other in a circle.
    fn sort_claims(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        let mut order: Vec<usize> = (0..taken.kind.len()).collect();
        order.sort_by(|&a, &b| {
            (taken.kind[a], &taken.value_hash[a]).cmp(&(taken.kind[b], &taken.value_hash[b]))
        });
        for index in order {
            self.taken.kind.push(taken.kind[index]);
            self.taken.value_hash.push(taken.value_hash[index].clone());
            self.taken.aggregate_type.push(taken.aggregate_type[index]);
            self.taken.aggregate_id.push(taken.aggregate_id[index].clone());
        }
    }

    /// True if events are all there is, so that the shorter statement will do.
    pub(super) fn is_plain(&self) -> bool {
        self.freed.kind.is_empty() && self.taken.kind.is_empty() && self.answers.command_id.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sequence.is_empty() && self.is_plain()
    }

    pub(super) fn events(&self) -> i64 {
        signed(self.sequence.len() as u64)
    }

    pub(super) fn event_parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.aggregate_type,
            &self.aggregate_id,
            &self.sequence,
            &self.event_type,
            &self.event_version,
            &self.payload,
            &self.metadata,
            &self.tenant,
            &self.event_id,
            &self.index_in_command,
            &self.actor,
            &self.role,
            &self.correlation_id,
            &self.causation_id,
        ]
    }

    pub(super) fn other_parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.freed.kind,
            &self.freed.value_hash,
            &self.freed.aggregate_type,
            &self.freed.aggregate_id,
            &self.taken.kind,
            &self.taken.value_hash,
            &self.taken.aggregate_type,
            &self.taken.aggregate_id,
            &self.answers.command_id,
            &self.answers.aggregate_type,
            &self.answers.aggregate_id,
            &self.answers.fingerprint,
            &self.answers.last_offset,
            &self.answers.outcome,
        ]
    }
}

/// An item's documents as they are stored.
pub(super) fn prepare(item: &AppendItem, codec: &Codec) -> Result<Prepared, CodecError> {
    Ok(Prepared {
        payloads: item
            .events
            .iter()
            .map(|event| codec.sealed_text(&event.payload))
            .collect::<Result<_, _>>()?,
        metadata: if item.events.is_empty() {
            String::new()
        } else {
            stored_metadata(&item.metadata, codec)?
        },
    })
}

/// Counts and places fit PostgreSQL's bigint by construction.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The metadata column: a flat map of strings, as postgres-es reads it. What has a column of its own isn't repeated.
pub(crate) fn stored_metadata(metadata: &Metadata, codec: &Codec) -> Result<String, CodecError> {
    let mut map = serde_json::Map::new();
    map.insert("action".into(), metadata.action.as_str().into());
    map.insert("actor_kind".into(), metadata.actor.kind.as_str().into());
    if !metadata.scopes.is_empty() {
        map.insert("scopes".into(), metadata.scopes.join(" ").into());
    }
    if let Some(command) = metadata.command_id {
        map.insert("command_id".into(), command.to_string().into());
    }
    if metadata.origin != Origin::default() {
        // An address is personal: it is marked and sealed like any other personal field, then kept as a string.
        let of = metadata.actor.id.parse::<Uuid>().unwrap_or(Uuid::nil());
        let value = serde_json::to_value(&metadata.origin).map_err(|e| CodecError(e.to_string()))?;
        let mut marked = json!({ kernel::PERSONAL_MARK: { "of": of, "value": value } });
        codec.seal(&mut marked)?;
        map.insert("origin".into(), marked.to_string().into());
    }
    Ok(Value::Object(map).to_string())
}

/// The columns beside the metadata that say who and why.
pub(crate) struct Context {
    pub tenant: Option<Uuid>,
    pub actor: String,
    pub role: String,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
}

pub(crate) fn read_metadata(context: Context, stored: &str, codec: &Codec) -> Result<Metadata, CodecError> {
    let broken = |e: &dyn std::fmt::Display| CodecError(format!("metadata: {e}"));
    let mut map: HashMap<String, String> = serde_json::from_str(stored).map_err(|e| broken(&e))?;
    let kind = map.remove("actor_kind").unwrap_or_default();
    let kind: ActorKind = serde_json::from_value(Value::String(kind)).map_err(|e| broken(&e))?;
    let mut origin = Origin::default();
    if let Some(marked) = map.remove("origin") {
        let mut marked: Value = serde_json::from_str(&marked).map_err(|e| broken(&e))?;
        codec.open(&mut marked)?;
        if let Some(value) = marked.get_mut(kernel::PERSONAL_MARK).and_then(|body| body.get_mut("value")) {
            origin = serde_json::from_value(value.take()).map_err(|e| broken(&e))?;
        }
    }
    Ok(Metadata {
        tenant: context.tenant.map(TenantId),
        actor: Actor { kind, id: context.actor },
        role: context.role,
        scopes: map.remove("scopes").map(|s| s.split(' ').map(str::to_owned).collect()).unwrap_or_default(),
        action: map.remove("action").unwrap_or_default(),
        correlation_id: CorrelationId(context.correlation_id),
        causation_id: context.causation_id.map(EventId),
        command_id: match map.remove("command_id") {
            Some(id) => Some(id.parse().map_err(|e| broken(&e))?),
            None => None,
        },
        origin,
    })
}

/// The envelopes of one row of `load_stream.sql` or `read_feed.sql`: several if an upcaster splits it.
pub(super) fn read_event(row: &Row, codec: &Codec) -> Result<Vec<Envelope>, CodecError> {
    let payload: &str = row.get("payload");
    let payload: Value = serde_json::from_str(payload).map_err(|e| CodecError(format!("payload: {e}")))?;
    let context = Context {
        tenant: row.get("tenant"),
        actor: row.get("actor"),
        role: row.get("role"),
        correlation_id: row.get("correlation_id"),
        causation_id: row.get("causation_id"),
    };
    let metadata = read_metadata(context, row.get("metadata"), codec)?;
    let stream = stream_of(row);
    let opened = codec.open_event(row.get("event_type"), row.get("event_version"), payload)?;
    Ok(opened
        .into_iter()
        .zip(0_u16..)
        .map(|(event, part)| Envelope {
            shard: ShardId(row.get("shard")),
            position: Position(unsigned(row.get("position"))),
            stream: stream.clone(),
            sequence: unsigned(row.get("sequence")),
            part,
            index_in_command: u16::try_from(row.get::<_, i16>("index_in_command")).unwrap_or(0),
            event_id: EventId(row.get("event_id")),
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: metadata.clone(),
            recorded_at: row.get("recorded_at"),
        })
        .collect())
}

/// The stream of a row. Every id we write is a UUID.
pub(super) fn stream_of(row: &Row) -> StreamId {
    StreamId {
        aggregate_type: row.get::<_, String>("aggregate_type").into(),
        id: row.get::<_, &str>("aggregate_id").parse().unwrap_or(Uuid::nil()),
    }
}

/// Which rule a unique violation broke.
pub(super) fn refusal_of(constraint: Option<&str>, items: &[AppendItem]) -> Refusal {
    match constraint {
        Some("claims_pkey") => {
            let kind = items.iter().flat_map(|item| &item.claims).find_map(|change| match change {
                ClaimChange::Take(claim) => Some(claim.kind.to_owned()),
                ClaimChange::Free(_) => None,
            });
            Refusal::Claim { kind: kind.unwrap_or_default() }
        }
        Some("command_outcomes_pkey") => Refusal::DuplicateCommand,
        _ => Refusal::Sequence,
    }
}
