//! What all contenders are asked to do: tenants that exist, and a flag of one of them set to another value.
//!
//! The aggregate is the real one. Every command is a new value, so every command makes exactly one event.

use aggregates::TenantCommand;
use aggregates::tenant::{Provision, Trial};
use anyhow::Result;
use engine::clock::{SystemClock, SystemIds};
use kernel::{Actor, ActorKind, Clock, CorrelationId, Ids, Metadata, Origin, PersonId, TenantId};
use schemas::values::{FlagValue, Plan, Region};
use uuid::Uuid;

/// Flags each tenant has; setting the next of them in turn keeps states small and alike.
const FLAGS: u64 = 8;

/// What is asked of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Its first event.
    Provision,
    /// The measured command. The number must be another one each time.
    SetFlag(u64),
}

/// Something that carries out wishes.
pub trait Contender: Send + Sync + 'static {
    /// Carries out one wish of one of the load's workers; done when its event is durable. Returns how often it had to
    /// be repeated, because another command on the same tenant came first or there was no room.
    fn carry_out(&self, worker: usize, tenant: Uuid, wish: Wish) -> impl Future<Output = Result<u64>> + Send;

    /// The time is over: what is under way may end in [`GaveUp`] rather than be repeated once more.
    fn wind_up(&self) {}
}

/// A wish that lost a race after the time was over, and was not repeated: nothing was written.
#[derive(Debug, thiserror::Error)]
#[error("given up after the time was over")]
pub struct GaveUp;

impl Wish {
    pub fn command(self, tenant: Uuid) -> Result<TenantCommand> {
        match self {
            Self::Provision => provision(tenant),
            Self::SetFlag(number) => {
                Ok(TenantCommand::SetFlag { key: flag_key(number).parse()?, value: flag_value(number)? })
            }
        }
    }

    pub fn action(self) -> &'static str {
        match self {
            Self::Provision => "tenants:provision",
            Self::SetFlag(_) => "flags:set",
        }
    }

    /// What the event carries beside its payload, the same on all sides.
    pub fn metadata(self, tenant: Uuid) -> Metadata {
        Metadata {
            tenant: Some(TenantId(tenant)),
            actor: Actor { kind: ActorKind::Operator, id: "00000000-0000-7000-8000-00000000beef".into() },
            role: "operator".into(),
            scopes: Vec::new(),
            action: self.action().into(),
            correlation_id: CorrelationId(SystemIds.fresh()),
            causation_id: None,
            command_id: None,
            origin: Origin::default(),
        }
    }
}

/// Which flag a number sets.
pub fn flag_key(number: u64) -> String {
    format!("checkout.variant-{}", number % FLAGS)
}

/// The text it sets it to.
pub fn flag_text(number: u64) -> String {
    format!("variant {number}")
}

fn flag_value(number: u64) -> Result<FlagValue> {
    Ok(FlagValue::string(flag_text(number))?)
}

/// The ids of `count` tenants.
pub fn tenants(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| SystemIds.fresh()).collect()
}

fn provision(tenant: Uuid) -> Result<TenantCommand> {
    let name = format!("bench-{}", tenant.simple());
    Ok(TenantCommand::Provision(Box::new(Provision {
        tenant: TenantId(tenant),
        name: name.parse()?,
        slug: name.parse()?,
        domain: format!("{name}.example").parse()?,
        plan: Plan::Free,
        region: Region::Eu,
        trial: Trial::Standard,
        owner: PersonId(tenant),
        owner_email: format!("owner@{name}.example").parse()?,
        application: None,
        now: SystemClock.now(),
    })))
}
