//! What an aggregate is: a state, decisions, and a fold.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ClaimChange;

/// A past fact. Serialised externally tagged (`{"Suspended": {…}}`); its names are the storage format.
pub trait Event: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static {
    /// The upcasters of this event enum, oldest first.
    const UPCASTERS: &'static [Upcaster] = &[];

    /// The name on the wire, such as `tenant.suspended`.
    fn event_type(&self) -> &'static str;

    /// The version of its shape: `1`, `2`, …
    fn event_version(&self) -> &'static str {
        "1"
    }
}

/// An event in an old shape, mended.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcasted {
    pub event_type: &'static str,
    pub event_version: &'static str,
    pub payload: Value,
}

/// Turns one stored event of an old shape into one or more of the next. Merging belongs to `evolve`.
#[derive(Clone, Copy, Debug)]
pub struct Upcaster {
    pub event_type: &'static str,
    pub from_version: &'static str,
    pub upcast: fn(Value) -> Vec<Upcasted>,
}

/// How a rule's refusal is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// The thing is not there (ERR-RES-404).
    NotFound,
    /// It is there already, or another state than the command takes for granted (ERR-VAL-409).
    Conflict,
    /// A business rule says no (ERR-VAL-422).
    Rule,
    /// The actor may not (ERR-AUTH-403).
    Forbidden,
}

/// A rule's refusal. Stored with the outcome of the command, so that a retry hears the same.
pub trait Rejection:
    std::error::Error + Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static
{
    fn kind(&self) -> RejectionKind;

    /// The stable machine string, such as `last_owner`.
    fn detail(&self) -> &'static str;
}

/// An aggregate: pure decisions and a fold.
pub trait Decider: Default + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static {
    /// The aggregate type, part of the stream's name and of the storage format.
    const TYPE: &'static str;
    /// Raise it when the state's shape or `evolve` changes: snapshots of another version are never trusted.
    const SNAPSHOT_VERSION: u32;

    type Command: Clone + Debug + Send + 'static;
    type Event: Event;
    type Rejection: Rejection;

    /// What happens if the command is carried out now. No events: it is so already.
    ///
    /// Pure: time, ids and secrets' hashes arrive in the command.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// The fold. It can't fail and has no `_` arm.
    fn evolve(&mut self, event: &Self::Event);

    /// The part of it that a command changes, where callers know that part by a tag of its own, as one flag of a tenant.
    fn part(command: &Self::Command) -> Option<String> {
        let _ = command;
        None
    }

    /// What `If-Match` is compared with and `ETag` tells, of a part or (`None`) of the whole, for a stream of which most
    /// events are nobody's business who changes what is shown of it. `None`: its sequence.
    fn revision(&self, part: Option<&str>) -> Option<u64> {
        let _ = part;
        None
    }

    /// The claims that `event` takes or frees, `self` being the state before it.
    fn claims(&self, event: &Self::Event) -> Vec<ClaimChange> {
        let _ = event;
        Vec::new()
    }
}
