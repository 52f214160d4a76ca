//! Ownership: the tenant decides who its owners are, the memberships follow.
//!
//! `membership.invited` as owner → the tenant counts the person. `tenant.owner_added` → the membership has the role;
//! a membership that can't have it takes the ownership back. `tenant.owner_removed` → the membership is removed, demoted
//! or disabled, as the event says.

use aggregates::membership::{Membership, MembershipCommand};
use aggregates::tenant::{Tenant, TenantCommand};
use async_trait::async_trait;
use engine::Engine;
use engine::command::Idempotency;
use engine::feed::Interest;
use engine::process::{ProcessManager, Retry};
use kernel::{Envelope, EventId};
use schemas::events::{MembershipEvent, OwnershipLoss, TenantEvent};
use schemas::values::Role;

use crate::sender::{self, send};

const NAME: &str = "ownership";

/// What follows from an event of ownership. The names are part of the commands' ids: add, never rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// `membership.invited` as owner → the tenant counts the person.
    AddOwner,
    /// `tenant.owner_added` → the membership has the role.
    Promote,
    /// `tenant.owner_removed` → the membership is removed, demoted or disabled.
    Follow,
}

impl Consequence {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddOwner => "add_owner",
            Self::Promote => "promote",
            Self::Follow => "follow",
        }
    }

    /// For whoever does not want to wait for the process manager: the command with this id is the manager's own, so that
    /// a manager that lags never carries it out again after what came later.
    pub fn idempotency(self, event: EventId) -> Idempotency {
        sender::idempotency(event, &format!("{NAME}.{}", self.as_str()))
    }
}

/// The process manager of ownership.
pub struct Ownership {
    engine: Engine,
}

impl Ownership {
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }

    async fn invited(&self, event: &Envelope) -> Result<(), Retry> {
        let MembershipEvent::Invited { tenant, person, role: Role::Owner, .. } = decode(event)? else {
            return Ok(());
        };
        let command = TenantCommand::AddOwner { person };
        if let Err(refused) =
            send::<Tenant>(&self.engine, NAME, event, Consequence::AddOwner.as_str(), tenant.0, command)
                .await?
        {
            tracing::warn!(tenant.id = %tenant, reason = refused.detail, "the tenant takes no further owner");
            // The tenant doesn't count this owner: the membership must not claim to be one.
            let role = Role::Administrator;
            let command = MembershipCommand::ChangeRole { role };
            let _ = send::<Membership>(&self.engine, NAME, event, "demote", event.stream.id, command).await?;
        }
        Ok(())
    }

    async fn changed(&self, event: &Envelope) -> Result<(), Retry> {
        match decode(event)? {
            TenantEvent::OwnerAdded { person, membership } => {
                let command = MembershipCommand::ChangeRole { role: Role::Owner };
                let sent = send::<Membership>(
                    &self.engine,
                    NAME,
                    event,
                    Consequence::Promote.as_str(),
                    membership.0,
                    command,
                )
                .await?;
                if let Err(refused) = sent {
                    let tenant = event.stream.id;
                    tracing::warn!(tenant.id = %tenant, reason = refused.detail, "an owner without a membership");
                    let command = TenantCommand::RemoveOwner { person, because: OwnershipLoss::Removed };
                    let _ = send::<Tenant>(&self.engine, NAME, event, "take_back", tenant, command).await?;
                }
            }
            TenantEvent::OwnerRemoved { membership, because, .. } => {
                let command = match because {
                    OwnershipLoss::Removed => MembershipCommand::Remove,
                    OwnershipLoss::Downgraded { to } => MembershipCommand::ChangeRole { role: to },
                    OwnershipLoss::Disabled => MembershipCommand::Disable,
                };
                // Refused means the membership is gone already, which is what is wanted.
                let _ = send::<Membership>(
                    &self.engine,
                    NAME,
                    event,
                    Consequence::Follow.as_str(),
                    membership.0,
                    command,
                )
                .await?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl ProcessManager for Ownership {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["membership", "tenant"])
    }

    fn concerns(&self, event: &Envelope) -> bool {
        matches!(&*event.event_type, "membership.invited" | "tenant.owner_added" | "tenant.owner_removed")
    }

    async fn react(&self, event: &Envelope) -> Result<(), Retry> {
        if event.event_type == "membership.invited" {
            self.invited(event).await
        } else {
            self.changed(event).await
        }
    }
}

fn decode<E: kernel::Event>(event: &Envelope) -> Result<E, Retry> {
    event.decode().map_err(|error| Retry::new(format!("{} can't be decoded: {error}", event.event_type)))
}
