//! What both contenders are asked to do: tenants that exist, and a flag of one of them set to another value.
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

/// Something that carries out commands on tenants.
pub trait Contender: Send + Sync + 'static {
    /// Carries out one command; done when its event is durable. Returns how often it had to be repeated because
    /// another command on the same tenant came first.
    fn execute(
        &self,
        tenant: Uuid,
        command: TenantCommand,
        metadata: Metadata,
    ) -> impl Future<Output = Result<u64>> + Send;
}

/// The ids of `count` tenants.
pub fn tenants(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| SystemIds.fresh()).collect()
}

/// The first command of each tenant.
pub fn provision(tenant: Uuid) -> Result<TenantCommand> {
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

/// The measured command. `value` must be another one each time.
pub fn set_flag(value: u64) -> Result<TenantCommand> {
    Ok(TenantCommand::SetFlag {
        key: format!("checkout.variant-{}", value % FLAGS).parse()?,
        value: FlagValue::string(format!("variant {value}"))?,
    })
}

/// What the events carry beside their payload, the same on both sides.
pub fn metadata(tenant: Uuid, action: &str) -> Metadata {
    Metadata {
        tenant: Some(TenantId(tenant)),
        actor: Actor { kind: ActorKind::Operator, id: "00000000-0000-7000-8000-00000000beef".into() },
        role: "operator".into(),
        scopes: Vec::new(),
        action: action.into(),
        correlation_id: CorrelationId(SystemIds.fresh()),
        causation_id: None,
        command_id: None,
        origin: Origin::default(),
    }
}
