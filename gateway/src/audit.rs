//! Gets calls into the audit trail: one entry each, and one per minute for what strangers try in vain and for floods.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::audit::{AuditEntry, AuditFact, AuditOutcome};
use engine::ledger::{AuditLedger, LedgerError};
use kernel::{Actor, ActorKind, Clock, CorrelationId, Ids, Metadata, Origin, TenantId};
use tokio_util::sync::CancellationToken;

use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::RequestInfo;

/// How often counted calls become entries.
const FLUSH_EVERY: Duration = Duration::from_secs(60);
/// Calls refused for want of room or database that get an entry each between two flushes; further ones are counted
/// (ADR-AUD-002), so that a flood of calls does not become a flood of entries.
pub const REFUSALS_EACH_MAX: u32 = 1_000;
/// Different calls that are counted at a time, at most.
const COUNTED_MAX: usize = 10_000;

/// Where entries go: the ledger, or a list in unit tests.
#[async_trait]
pub trait AuditSink: Send + Sync + 'static {
    /// Durable when it returns.
    async fn record(&self, entry: AuditEntry) -> Result<(), LedgerError>;
    fn enqueue(&self, entry: AuditEntry) -> Result<(), LedgerError>;
}

#[async_trait]
impl AuditSink for AuditLedger {
    async fn record(&self, entry: AuditEntry) -> Result<(), LedgerError> {
        Self::record(self, entry).await
    }

    fn enqueue(&self, entry: AuditEntry) -> Result<(), LedgerError> {
        Self::enqueue(self, entry)
    }
}

/// What counted calls have in common. Nothing in it is personal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Counted {
    action: &'static str,
    actor: Actor,
    role: &'static str,
    tenant: Option<TenantId>,
    outcome: &'static str,
    status: u16,
    code: Option<String>,
    detail: Option<String>,
}

/// The way into the audit trail.
pub struct Audit {
    sink: Arc<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    counted: Mutex<HashMap<Counted, u64>>,
    /// Refusals that got an entry of their own since the last flush.
    refusals: AtomicU32,
}

/// A call that is to be audited.
#[derive(Clone, Debug)]
pub struct Call {
    pub action: &'static str,
    pub caller: Caller,
    /// The tenant it concerns.
    pub tenant: Option<TenantId>,
    /// What it acts on: type and id.
    pub resource: Option<(&'static str, String)>,
    pub info: RequestInfo,
}

impl Call {
    pub fn metadata(&self) -> Metadata {
        Metadata {
            tenant: self.tenant,
            actor: self.caller.actor.clone(),
            role: self.caller.role_name().to_owned(),
            scopes: self.caller.scopes.clone(),
            action: self.action.to_owned(),
            correlation_id: self.info.trace.correlation,
            causation_id: None,
            command_id: None,
            origin: self.info.origin.clone(),
        }
    }

    /// How it ended.
    pub fn fact(&self, status: u16, problem: Option<&Problem>) -> AuditFact {
        let outcome = problem.map_or(AuditOutcome::Success, Problem::audit_outcome);
        AuditFact {
            outcome,
            status,
            code: problem.map(|problem| problem.code.as_str().to_owned()),
            detail: problem.map(|problem| problem.detail.to_string()),
            resource_type: self.resource.as_ref().map(|(kind, _)| (*kind).to_owned()),
            resource_id: self.resource.as_ref().map(|(_, id)| id.clone()),
            count: 1,
        }
    }
}

impl Audit {
    pub fn new(sink: Arc<dyn AuditSink>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { sink, clock, ids, counted: Mutex::default(), refusals: AtomicU32::new(0) }
    }

    fn entry(&self, metadata: Metadata, fact: AuditFact) -> AuditEntry {
        AuditEntry { entry_id: self.ids.fresh(), occurred_at: self.clock.now(), metadata, fact }
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<Counted, u64>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an entry; it is durable when this returns.
    ///
    /// # Errors
    /// It can't be written: then the call must fail.
    pub async fn record(&self, metadata: Metadata, fact: AuditFact) -> Result<(), LedgerError> {
        self.sink.record(self.entry(metadata, fact)).await
    }

    /// Queues an entry. If the queue is full the call is counted instead, so that nothing is lost and nobody waits.
    ///
    /// # Errors
    /// Too many different calls are counted already: then the call must fail.
    pub fn enqueue(&self, call: &Call, fact: AuditFact) -> Result<(), LedgerError> {
        match self.sink.enqueue(self.entry(call.metadata(), fact.clone())) {
            Ok(()) => Ok(()),
            Err(_) => self.count(call, &fact),
        }
    }

    /// Notes a call that was refused for want of room or database; waits for nobody. It gets an entry of its own, or is
    /// counted if there were [`REFUSALS_EACH_MAX`] since the last flush.
    ///
    /// # Errors
    /// As [`Audit::enqueue`].
    pub fn refused(&self, call: &Call, fact: AuditFact) -> Result<(), LedgerError> {
        if call.caller.role.is_none() || self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS_EACH_MAX {
            return self.count(call, &fact);
        }
        self.enqueue(call, fact)
    }

    /// Counts a call; within a minute it is an entry, together with all like it.
    ///
    /// # Errors
    /// Too many different calls are counted already. What strangers try has few kinds, so it always has room.
    pub fn count(&self, call: &Call, fact: &AuditFact) -> Result<(), LedgerError> {
        let key = Counted {
            action: call.action,
            actor: call.caller.actor.clone(),
            role: call.caller.role_name(),
            tenant: call.tenant,
            outcome: fact.outcome.as_str(),
            status: fact.status,
            code: fact.code.clone(),
            detail: fact.detail.clone(),
        };
        let mut counted = self.counted();
        if counted.len() >= COUNTED_MAX
            && key.actor.kind != ActorKind::Anonymous
            && !counted.contains_key(&key)
        {
            return Err(LedgerError::Full);
        }
        *counted.entry(key).or_default() += 1;
        Ok(())
    }

    /// Makes entries of what was counted. What can't be written is counted on.
    pub async fn flush(&self) {
        self.refusals.store(0, Ordering::Relaxed);
        let counted: Vec<(Counted, u64)> = self.counted().drain().collect();
        for (key, count) in counted {
            let outcome = match key.outcome {
                "success" => AuditOutcome::Success,
                "denied" => AuditOutcome::Denied,
                _ => AuditOutcome::Failure,
            };
            let metadata = Metadata {
                tenant: key.tenant,
                actor: key.actor.clone(),
                role: key.role.to_owned(),
                scopes: Vec::new(),
                action: key.action.to_owned(),
                correlation_id: CorrelationId(self.ids.fresh()),
                causation_id: None,
                command_id: None,
                origin: Origin::default(),
            };
            let fact = AuditFact {
                outcome,
                status: key.status,
                code: key.code.clone(),
                detail: key.detail.clone(),
                resource_type: None,
                resource_id: None,
                count,
            };
            if let Err(error) = self.record(metadata, fact).await {
                tracing::error!(%error, count, "counted calls could not be audited; they are counted on");
                *self.counted().entry(key).or_default() += count;
            }
        }
    }

    /// Flushes each minute until it is to stop, and once more then.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(FLUSH_EVERY) => self.flush().await,
            }
        }
        self.flush().await;
    }
}
