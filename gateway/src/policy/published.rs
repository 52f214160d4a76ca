//! The policies that operators publish, folded from the journal and put in force beside those of the binary.
//!
//! A published policy was checked when it was published, against the schema of that binary. One that this binary can't
//! read any more refuses what it names: whom it would have refused, nobody knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cedar_policy::{ActionConstraint, Effect, Policy, PolicyId};
use chrono::{DateTime, Utc};
use engine::projection::{FoldError, MemoryProjection};
use kernel::{Envelope, ShardId, StreamId};
use schemas::events::PolicyEvent;
use schemas::values::PolicyText;
use uuid::Uuid;

use super::Authorizer;
use super::slices::Published;
use super::sources::{Origin, PolicyFaults};

/// The most policies that are in force at once: each request asks those that concern its action.
pub const PUBLISHED_MAX: usize = 100;

/// What operators published.
pub struct PolicyMemory {
    authorizer: Arc<Authorizer>,
    known: Mutex<BTreeMap<Uuid, (ShardId, Known)>>,
}

/// What is known of one policy.
enum Known {
    InForce(Box<PublishedPolicy>),
    /// Its stream can't be folded.
    Closed,
}

/// A policy as it was published.
#[derive(Clone, Debug)]
pub struct PublishedPolicy {
    pub id: Uuid,
    pub text: PolicyText,
    /// The policy that the text is, or why this binary can't read it.
    pub read: Result<Policy, PolicyFaults>,
    pub sequence: u64,
    pub published_at: DateTime<Utc>,
    pub published_by: String,
}

impl PublishedPolicy {
    /// True if it permits, false if it forbids; `None` if it can't be read.
    pub fn permits(&self) -> Option<bool> {
        self.read.as_ref().ok().map(|policy| policy.effect() == Effect::Permit)
    }
}

impl PolicyMemory {
    pub fn new(authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer, known: Mutex::default() }
    }

    pub fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, (ShardId, Known)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are in force, by id.
    pub fn all(&self) -> Vec<PublishedPolicy> {
        let known = self.lock();
        let in_force = known.values().filter_map(|(_, known)| match known {
            Known::InForce(policy) => Some(PublishedPolicy::clone(policy)),
            Known::Closed => None,
        });
        in_force.collect()
    }

    pub fn get(&self, id: Uuid) -> Option<PublishedPolicy> {
        match self.lock().get(&id)? {
            (_, Known::InForce(policy)) => Some(PublishedPolicy::clone(policy)),
            (_, Known::Closed) => None,
        }
    }

    /// True if there is no room for one more.
    pub fn is_full(&self, id: Uuid) -> bool {
        let known = self.lock();
        known.len() >= PUBLISHED_MAX && !known.contains_key(&id)
    }

    /// Those that refuse what they name because they can't be read.
    pub fn unreadable(&self) -> Vec<Uuid> {
        let known = self.lock();
        let ill = known.iter().filter(|(_, (_, known))| match known {
            Known::InForce(policy) => policy.read.is_err(),
            Known::Closed => true,
        });
        ill.map(|(id, _)| *id).collect()
    }

    /// Puts in force what another memory read already.
    ///
    /// # Errors
    /// As of [`MemoryProjection::apply`].
    pub fn take(&self, shard: ShardId, policy: PublishedPolicy) -> Result<(), FoldError> {
        let mut known = self.lock();
        known.insert(policy.id, (shard, Known::InForce(Box::new(policy))));
        self.exchange(&known)
    }

    /// Puts in force what is known now. Under the lock, so that no older state comes after a newer one.
    fn exchange(&self, known: &BTreeMap<Uuid, (ShardId, Known)>) -> Result<(), FoldError> {
        let mut published = Published::default();
        for (id, (_, known)) in known {
            match known {
                Known::InForce(policy) => match &policy.read {
                    Ok(policy) => published.policies.push(policy.clone()),
                    Err(_) => {
                        // Which actions it names can be read from what doesn't fit the schema, but not from what is no
                        // Cedar.
                        let parsed = Policy::parse(None, policy.text.as_str());
                        let names = parsed.map_or(ActionConstraint::Any, |policy| policy.action_constraint());
                        published.unreadable.push((name(*id), names));
                    }
                },
                Known::Closed => published.unreadable.push((name(*id), ActionConstraint::Any)),
            }
        }
        self.authorizer.exchange(&published).map_err(FoldError::Event)
    }
}

/// A published policy is called by its id.
pub(super) fn name(id: Uuid) -> PolicyId {
    PolicyId::new(id.to_string())
}

impl MemoryProjection for PolicyMemory {
    fn name(&self) -> &'static str {
        "policies"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["policy"]
    }

    fn fails_closed(&self) -> bool {
        true
    }

    fn reset(&self, shard: ShardId) {
        let mut known = self.lock();
        known.retain(|_, (of, _)| *of != shard);
        if let Err(error) = self.exchange(&known) {
            tracing::error!(%error, "published policies could not be exchanged; those in force stay");
        }
    }

    fn close(&self, shard: ShardId, stream: &StreamId) -> bool {
        let mut known = self.lock();
        known.insert(stream.id, (shard, Known::Closed));
        self.exchange(&known).is_ok()
    }

    fn apply(&self, envelope: &Envelope) -> Result<(), FoldError> {
        let id = envelope.stream.id;
        // Read before the lock is taken.
        let change = match envelope.decode()? {
            PolicyEvent::Withdrawn {} => None,
            PolicyEvent::Published { text } => Some(PublishedPolicy {
                id,
                read: self.authorizer.read_one(text.as_str(), &Origin::Journal(name(id))),
                text,
                sequence: envelope.sequence,
                published_at: envelope.recorded_at,
                published_by: envelope.metadata.actor.id.clone(),
            }),
        };
        if let Some(Err(faults)) = change.as_ref().map(|policy| &policy.read) {
            tracing::error!(policy = %id, %faults, "a published policy can't be read, so it refuses what it names");
        }
        let mut known = self.lock();
        match change {
            Some(policy) => known.insert(id, (envelope.shard, Known::InForce(Box::new(policy)))),
            None => known.remove(&id),
        };
        self.exchange(&known)
    }
}
