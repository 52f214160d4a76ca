//! The few words all floors share: ids, metadata, position, claim, personal and confidential field, decider.
//!
//! Types and traits only. This crate does no I/O and knows no domain: nothing here names a tenant's rules,
//! a table, a socket or a runtime.

mod claim;
mod clock;
mod decider;
mod envelope;
mod id;
mod payload;
mod position;
mod sensitive;

pub use claim::{Claim, ClaimChange};
pub use clock::{Clock, Ids};
pub use decider::{Decider, Event, Rejection, RejectionKind, Upcasted, Upcaster};
pub use envelope::{Actor, ActorKind, Envelope, Metadata, Origin, StreamId};
pub use id::{
    ApplicationId, CommandId, CorrelationId, EventId, KeyId, MembershipId, PasskeyId, PersonId, RoleId,
    SessionId, SsoProviderId, TenantId, TokenId,
};
pub use payload::Payload;
pub use position::{InvalidPosition, Position, PositionToken, ShardId};
pub use sensitive::{CONFIDENTIAL_MARK, Confidential, PERSONAL_MARK, Personal, Subject, is_mark};
