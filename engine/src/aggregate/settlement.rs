//! What hears of the commit in the actor's place, and answers.

use std::sync::Arc;

use kernel::{Decider, PositionToken, ShardId};
use ractor::ActorRef;

use super::actor::{Message, unavailable};
use super::order::{Order, Reply, Verdict};
use crate::command::DispatchError;
use crate::journal::Refusal;
use crate::writer::{Answer, AppendFailure, Incarnation};

/// How often an order is decided anew before its caller is told to come back.
const ATTEMPTS_MAX: u32 = 5;

/// An order that was decided and handed over.
pub(super) struct Settlement<D: Decider> {
    pub myself: ActorRef<Message<D>>,
    pub order: Order<D>,
    pub verdict: Verdict<D::Rejection>,
    pub incarnation: Arc<Incarnation>,
}

impl<D: Decider> Settlement<D> {
    /// Answers the order, or has it decided anew. Doesn't wait, and runs where the commit was learned of: no task that a
    /// cancelled request could drop, and none to be woken.
    pub(super) fn finish(self, result: Result<Answer, AppendFailure>) {
        let Self { myself, mut order, verdict, incarnation } = self;
        let idempotency = order.context.idempotency;
        let reply = match result {
            Ok(answer) => {
                let position = answer.position.map(|position| PositionToken { shard: ShardId(0), position });
                Reply::Settled(verdict.into_result(position, answer.recorded_at, false))
            }
            Err(failure) => {
                // What was decided here is not so: the memory it was decided in is void.
                incarnation.poison();
                let again = matches!(
                    failure,
                    AppendFailure::Superseded | AppendFailure::Refused(Refusal::Sequence | Refusal::KeyTaken)
                );
                if again && order.attempts < ATTEMPTS_MAX {
                    order.attempts += 1;
                    if let Some(idempotency) = idempotency {
                        let _ = myself.send_message(Message::Settled(idempotency.id));
                    }
                    // If the actor is gone the order is dropped, and dispatch tells its caller.
                    let _ = myself.send_message(Message::Order(Box::new(order)));
                    return;
                }
                match failure {
                    AppendFailure::Refused(Refusal::Claim { kind }) => {
                        Reply::Settled(Err(DispatchError::ClaimTaken { kind }))
                    }
                    AppendFailure::Refused(Refusal::DuplicateCommand) => Reply::LookUp,
                    AppendFailure::Refused(Refusal::Unstorable { reason }) => {
                        tracing::warn!(reason, "an event could not be stored");
                        Reply::Settled(Err(DispatchError::Unstorable))
                    }
                    AppendFailure::Superseded
                    | AppendFailure::Refused(Refusal::Sequence | Refusal::KeyTaken) => {
                        Reply::Settled(Err(unavailable("contention")))
                    }
                    AppendFailure::Unavailable(reason) => Reply::Settled(Err(unavailable(reason))),
                    AppendFailure::OutcomeUnknown => Reply::Settled(Err(DispatchError::OutcomeUnknown)),
                }
            }
        };
        let Order { reply: channel, permit, load, .. } = order;
        if let Some(idempotency) = idempotency {
            let _ = myself.send_message(Message::Settled(idempotency.id));
        }
        // The permits are given back before the answer is: who has an answer can come again.
        drop((permit, load));
        let _ = channel.send(reply);
    }
}
