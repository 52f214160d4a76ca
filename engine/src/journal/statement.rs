//! A batch turned into the columns of one statement.

use std::sync::Arc;

use kernel::{ClaimChange, Subject};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::metadata::{marked_origin, stored_metadata};
use super::{AppendItem, Prepared};
use crate::codec::{Clear, Codec, CodecError, Place};
use crate::keyring::{DataKey, Held, KeyColumns};

/// The columns of the events, claims, outcomes and new keys of a batch.
#[derive(Default)]
pub(super) struct Columns<'a> {
    aggregate_type: Vec<&'a str>,
    aggregate_id: Vec<&'a str>,
    sequence: Vec<i64>,
    event_type: Vec<&'a str>,
    event_version: Vec<&'a str>,
    payload: Vec<&'a str>,
    metadata: Vec<&'a str>,
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
    pub(super) keys: KeyColumns<'a>,
}

#[derive(Default)]
struct ClaimColumns<'a> {
    kind: Vec<&'a str>,
    value_hash: Vec<Vec<u8>>,
    aggregate_type: Vec<&'a str>,
    aggregate_id: Vec<&'a str>,
}

#[derive(Default)]
struct AnswerColumns<'a> {
    command_id: Vec<Uuid>,
    aggregate_type: Vec<&'a str>,
    aggregate_id: Vec<&'a str>,
    fingerprint: Vec<&'a [u8]>,
    last_offset: Vec<Option<i64>>,
    outcome: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    /// `prepared`: of each item. `brought`: new keys that the batch before brings.
    pub(super) fn of(
        items: &'a [AppendItem],
        prepared: &[&'a Prepared],
        codec: &Codec,
        brought: &[Arc<DataKey>],
    ) -> Self {
        let mut columns = Self::default();
        for (item, ready) in items.iter().zip(prepared) {
            columns.add(item, ready, codec);
        }
        columns.sort_claims();
        let brings = prepared.iter().flat_map(|ready| &ready.new_keys);
        columns.keys =
            KeyColumns::of(brings.filter(|key| !brought.iter().any(|known| Arc::ptr_eq(known, key))));
        columns
    }

    fn add(&mut self, item: &'a AppendItem, ready: &'a Prepared, codec: &Codec) {
        let id = ready.aggregate_id.as_str();
        for (index, (event, payload)) in item.events.iter().zip(&ready.payloads).enumerate() {
            self.aggregate_type.push(&item.stream.aggregate_type);
            self.aggregate_id.push(id);
            self.sequence.push(signed(event.sequence));
            self.event_type.push(&event.event_type);
            self.event_version.push(&event.event_version);
            self.payload.push(payload);
            self.metadata.push(&ready.metadata);
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
            claims.aggregate_id.push(id);
        }
        if let (Some(outcome), Some(body)) = (&item.outcome, &ready.outcome) {
            self.answers.command_id.push(outcome.command_id.0);
            self.answers.aggregate_type.push(&item.stream.aggregate_type);
            self.answers.aggregate_id.push(id);
            self.answers.fingerprint.push(&outcome.fingerprint);
            let last_offset = (!item.events.is_empty()).then(|| signed(self.sequence.len() as u64));
            self.answers.last_offset.push(last_offset);
            self.answers.outcome.push(body);
        }
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
            self.taken.aggregate_id.push(taken.aggregate_id[index]);
        }
    }

    /// True if events are all there is, so that the shorter statement will do.
    pub(super) fn is_plain(&self) -> bool {
        self.freed.kind.is_empty()
            && self.taken.kind.is_empty()
            && self.answers.command_id.is_empty()
            && self.keys.is_empty()
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
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
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
        ];
        parameters.extend(self.keys.parameters());
        parameters
    }
}

/// An item's documents before they are sealed.
pub(super) struct Unsealed<'i> {
    item: &'i AppendItem,
    payloads: Vec<Clear<'i>>,
    /// Where the command came from, marked as the actor's.
    origin: Option<Clear<'static>>,
    outcome: Option<Clear<'static>>,
}

impl<'i> Unsealed<'i> {
    pub(super) fn of(item: &'i AppendItem, codec: &Codec) -> Result<Self, CodecError> {
        let payloads = item.events.iter().map(|event| codec.clear(event.payload.text()));
        let origin = if item.events.is_empty() { None } else { marked_origin(&item.metadata)? };
        let outcome = item.outcome.as_ref().map(|outcome| codec.clear(outcome.body.to_string()));
        Ok(Self {
            item,
            payloads: payloads.collect::<Result<_, _>>()?,
            origin: origin.map(|origin| codec.clear(origin)).transpose()?,
            outcome: outcome.transpose()?,
        })
    }

    /// Whose keys they take, each once.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        Clear::subjects(self.payloads.iter().chain(&self.outcome).chain(&self.origin))
    }

    /// The documents as they are stored.
    pub(super) fn seal(self, held: &Held) -> Result<Prepared, CodecError> {
        let Self { item, payloads, origin, outcome } = self;
        let mut new_keys = Vec::new();
        let (of, id) = (&*item.stream.aggregate_type, item.stream.id);
        let payloads = item.events.iter().zip(payloads).map(|(event, payload)| {
            let place = Place { kind: EVENT, of, id, number: u128::from(event.sequence) };
            payload.sealed(&place, held, &mut new_keys)
        });
        let payloads = payloads.collect::<Result<_, _>>()?;
        // Who was forgotten leaves no trace of where from.
        let origin = origin.filter(|origin| !origin.is_of_forgotten(held));
        let without_origin = origin.is_none();
        let number = item.metadata.correlation_id.0.as_u128();
        let origin = origin
            .map(|origin| origin.sealed(&Place { kind: METADATA, of, id, number }, held, &mut new_keys))
            .transpose()?;
        let outcome = item.outcome.as_ref().zip(outcome).map(|(outcome, body)| {
            let place = Place { kind: OUTCOME, of: OUTCOME, id: outcome.command_id.0, number: 0 };
            body.sealed(&place, held, &mut new_keys)
        });
        let outcome = outcome.transpose()?;
        let metadata =
            if item.events.is_empty() { String::new() } else { stored_metadata(&item.metadata, origin)? };
        let aggregate_id = item.stream.id.hyphenated().to_string();
        Ok(Prepared { aggregate_id, payloads, metadata, outcome, new_keys, without_origin })
    }
}

/// What kinds of documents there are; part of the storage format.
pub(super) const EVENT: &str = "event";
pub(super) const METADATA: &str = "metadata";
pub(super) const OUTCOME: &str = "outcome";
pub(super) const SNAPSHOT: &str = "snapshot";

/// Counts and places fit PostgreSQL's bigint by construction.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
