//! `inspect`: a stream's events, and the state they make.

use aggregates::{Application, Membership, Policy, Role, Tenant, User};
use anyhow::{Context, Result, bail};
use engine::journal::{Journal, PgJournal};
use kernel::{Decider, Envelope, StreamId};
use serde_json::{Value, json};

use crate::Outcome;
use crate::args::At;
use crate::connect::House;

/// The streams there are.
pub const TYPES: &[&str] =
    &[Tenant::TYPE, User::TYPE, Membership::TYPE, Application::TYPE, Policy::TYPE, Role::TYPE];

pub async fn inspect(house: &House, stream: &StreamId, at: Option<At>, pretty: bool) -> Result<Outcome> {
    let journal = PgJournal::new(house.config.clone(), house.owner.clone(), house.codec.clone())?;
    let loaded = journal.load(stream, None).await.with_context(|| format!("{stream} can't be read"))?;
    if loaded.tail.is_empty() {
        bail!("there is no stream {stream}");
    }
    let events: Vec<Envelope> = loaded.tail.into_iter().filter(|event| is_within(event, at)).collect();
    let print = |value: &Value| -> Result<()> {
        println!("{}", if pretty { serde_json::to_string_pretty(value)? } else { value.to_string() });
        Ok(())
    };
    for event in &events {
        print(&shown(event))?;
    }
    let sequence = events.last().map_or(0, |event| event.sequence);
    let state = state(stream, &events).with_context(|| format!("{stream} can't be folded"))?;
    print(&json!({ "stream": stream.to_string(), "sequence": sequence, "state": state }))?;
    Ok(Outcome::Fine)
}

fn is_within(event: &Envelope, at: Option<At>) -> bool {
    match at {
        None => true,
        Some(At::Sequence(sequence)) => event.sequence <= sequence,
        Some(At::Time(time)) => event.recorded_at <= time,
    }
}

fn shown(event: &Envelope) -> Value {
    json!({
        "sequence": event.sequence,
        "position": format!("{}:{}", event.shard.0, event.position),
        "recorded_at": event.recorded_at,
        "event_type": event.event_type,
        "event_version": event.event_version,
        "event_id": event.event_id,
        "actor": event.metadata.actor,
        "role": event.metadata.role,
        "action": event.metadata.action,
        "tenant": event.metadata.tenant,
        "correlation_id": event.metadata.correlation_id,
        "causation_id": event.metadata.causation_id,
        "payload": event.payload,
    })
}

/// The state, folded by the aggregate's own decider.
fn state(stream: &StreamId, events: &[Envelope]) -> Result<Value> {
    match stream.aggregate_type.as_ref() {
        Tenant::TYPE => fold::<Tenant>(events),
        User::TYPE => fold::<User>(events),
        Membership::TYPE => fold::<Membership>(events),
        Application::TYPE => fold::<Application>(events),
        Policy::TYPE => fold::<Policy>(events),
        Role::TYPE => fold::<Role>(events),
        other => bail!("no aggregate is called {other}"),
    }
}

fn fold<D: Decider>(events: &[Envelope]) -> Result<Value> {
    let mut state = D::default();
    for event in events {
        state.evolve(&event.decode::<D::Event>()?);
    }
    Ok(serde_json::to_value(state)?)
}
