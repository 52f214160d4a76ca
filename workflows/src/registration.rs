//! Registration: what becomes of a tenant that a stranger registered (REQUIREMENTS §3).
//!
//! `membership.accepted` by its owner, whose link was sent to the address → the tenant is verified. `tenant.registered` →
//! a job that lets it lapse unless it was verified by then, so that a registration that nobody stands by holds no domain.

use std::sync::Arc;

use aggregates::membership::{Membership, MembershipCommand, MembershipRejection};
use aggregates::tenant::{Tenant, TenantCommand};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use engine::Engine;
use engine::command::{CommandContext, DispatchError};
use engine::feed::Interest;
use engine::jobs::{Job, JobError, JobHandler, JobId, Jobs, NewJob, Priority};
use engine::process::{ProcessManager, Retry};
use kernel::{Actor, ActorKind, Clock, CorrelationId, Decider, Envelope, Metadata, Origin, TenantId};
use schemas::values::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sender::send;

const NAME: &str = "registration";

/// How long the link that verifies a registration's address can be used, in hours.
pub(crate) const VERIFICATION_HOURS: i64 = 24;
/// When it is looked whether a registration lapses, in hours after it: its link, made a little later, has expired.
const LAPSES_AFTER_HOURS: i64 = VERIFICATION_HOURS + 1;

/// The process manager of registrations.
pub struct Registration {
    engine: Engine,
    jobs: Jobs,
}

impl Registration {
    pub fn new(engine: Engine, jobs: Jobs) -> Self {
        Self { engine, jobs }
    }

    async fn registered(&self, event: &Envelope) -> Result<(), Retry> {
        let run_at = event.recorded_at + TimeDelta::hours(LAPSES_AFTER_HOURS);
        let job =
            job(JobId::derived(event.event_id, "registration.lapse"), TenantId(event.stream.id), run_at);
        let asked = self.jobs.enqueue(job.map_err(|error| Retry::new(error.to_string()))?).await;
        asked.map(|_| ()).map_err(|error| Retry::new(format!("a job: {error}")))
    }

    async fn accepted(&self, event: &Envelope) -> Result<(), Retry> {
        let unreadable = |error: &dyn std::fmt::Display| Retry::new(error.to_string());
        let found = self.engine.look::<Membership>(event.stream.id).await;
        let (membership, _) = found.map_err(|error| unreadable(&error))?;
        let Some(owner) = membership.existing().filter(|it| it.role == Role::Owner) else { return Ok(()) };
        let found = self.engine.look::<Tenant>(owner.tenant.0).await;
        let (tenant, _) = found.map_err(|error| unreadable(&error))?;
        if tenant.existing().is_none_or(|tenant| !tenant.unverified) {
            return Ok(());
        }
        let command = TenantCommand::Verify;
        let sent = send::<Tenant>(&self.engine, NAME, event, "verify", owner.tenant.0, command).await?;
        if let Err(refused) = sent {
            tracing::warn!(tenant.id = %owner.tenant, reason = refused.detail, "a tenant was not verified");
        }
        Ok(())
    }
}

#[async_trait]
impl ProcessManager for Registration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["tenant", "membership"])
    }

    fn concerns(&self, event: &Envelope) -> bool {
        matches!(&*event.event_type, "tenant.registered" | "membership.accepted")
    }

    async fn react(&self, event: &Envelope) -> Result<(), Retry> {
        if event.event_type == "tenant.registered" {
            self.registered(event).await
        } else {
            self.accepted(event).await
        }
    }
}

/// What such a job is about. The names are the storage format of jobs: add, never rename.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LapseJob {
    tenant: TenantId,
}

fn job(id: JobId, tenant: TenantId, run_at: DateTime<Utc>) -> Result<NewJob, serde_json::Error> {
    let payload = serde_json::to_value(LapseJob { tenant })?;
    let (tenant, priority, run_at) = (Some(tenant), Priority::Low, Some(run_at));
    Ok(NewJob { tenant, priority, run_at, ..NewJob::new(id, NAME, payload) })
}

/// Does the job `registration`: lets a registration lapse that nobody has verified.
pub struct Lapse {
    engine: Engine,
    jobs: Jobs,
    clock: Arc<dyn Clock>,
}

impl Lapse {
    pub fn new(engine: Engine, jobs: Jobs, clock: Arc<dyn Clock>) -> Self {
        Self { engine, jobs, clock }
    }

    /// Purges a tenant that is not verified and whose link has expired: the link first, so that nobody verifies what is
    /// about to go. Harmless twice. `Some`: there is a link that can be used until then.
    ///
    /// # Errors
    /// [`JobError::Later`]: it is being verified, or the journal can't be read or written now.
    pub async fn lapse(
        &self,
        id: TenantId,
        correlation: CorrelationId,
    ) -> Result<Option<DateTime<Utc>>, JobError> {
        let (tenant, _) = self.engine.look::<Tenant>(id.0).await.map_err(later)?;
        let Some(tenant) = tenant.existing().filter(|tenant| tenant.unverified) else { return Ok(None) };
        for membership in tenant.owners.values() {
            let (owner, _) = self.engine.look::<Membership>(membership.0).await.map_err(later)?;
            let open = owner.existing().filter(|owner| !owner.removed && !owner.accepted);
            if let Some(until) = open.map(|it| it.invitation.expires_at).filter(|at| *at > self.clock.now()) {
                return Ok(Some(until));
            }
            match self.send::<Membership>(id, membership.0, MembershipCommand::Revoke, correlation).await {
                Err(DispatchError::Rejected { rejection: MembershipRejection::AlreadyAccepted, .. }) => {
                    return Err(JobError::later("verification_under_way"));
                }
                // It isn't there, so nobody can accept it.
                Ok(()) | Err(DispatchError::Rejected { .. }) => {}
                Err(error) => return Err(later(error)),
            }
        }
        match self.send::<Tenant>(id, id.0, TenantCommand::Lapse, correlation).await {
            Ok(()) => {
                tracing::info!(tenant.id = %id, "a registration lapsed: nobody verified it");
                Ok(None)
            }
            Err(error) => Err(later(error)),
        }
    }

    async fn send<D: Decider>(
        &self,
        tenant: TenantId,
        id: Uuid,
        command: D::Command,
        correlation_id: CorrelationId,
    ) -> Result<(), DispatchError<D::Rejection>> {
        let context = CommandContext::new(Metadata {
            tenant: Some(tenant),
            actor: Actor { kind: ActorKind::System, id: NAME.to_owned() },
            role: "system".to_owned(),
            scopes: Vec::new(),
            action: format!("{NAME}.lapse"),
            correlation_id,
            causation_id: None,
            command_id: None,
            origin: Origin::default(),
        });
        self.engine.dispatch::<D>(id, command, context).await.map(|_| ())
    }
}

fn later(error: impl std::fmt::Display) -> JobError {
    tracing::warn!(%error, "a registration can't lapse now");
    JobError::later("journal")
}

#[async_trait]
impl JobHandler for Lapse {
    fn kind(&self) -> &'static str {
        NAME
    }

    async fn run(&self, done: &Job) -> Result<(), JobError> {
        let unreadable = |_| JobError::never("unreadable");
        let LapseJob { tenant } = serde_json::from_value(done.payload.clone()).map_err(unreadable)?;
        let Some(until) = self.lapse(tenant, CorrelationId(done.id.0)).await? else { return Ok(()) };
        // The link was sent anew: it is looked again when that one has expired.
        let next = job(JobId(Uuid::new_v5(&done.id.0, b"again")), tenant, until).map_err(unreadable)?;
        self.jobs.enqueue(next).await.map(|_| ()).map_err(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are stored: a job is read by later releases.
    #[test]
    fn a_job_is_written_as_it_always_was() {
        let tenant = TenantId(Uuid::from_u128(1));
        let job = job(JobId(Uuid::nil()), tenant, DateTime::UNIX_EPOCH).unwrap();
        let expected = serde_json::json!({"tenant": "00000000-0000-0000-0000-000000000001"});
        assert_eq!((job.kind, &job.payload), ("registration", &expected));
        assert_eq!(serde_json::from_value::<LapseJob>(expected).unwrap(), LapseJob { tenant });
    }
}
