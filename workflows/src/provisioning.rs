//! Provisioning (UC-PROV-001): one command of the operator leads to a tenant, its invited owner, the plan's flags and
//! the application.
//!
//! A tenant that a stranger registered goes the same way; its owner is sent a link that verifies the address.
//!
//! It follows `tenant.provisioned` and sends, in this order: register the person, set the flags, invite the owner, add
//! the owner, register the application, connect it, complete. A refusal ends it with `tenant.provisioning_failed`, which
//! names the step; what was done stays, and an operator can mend the rest by hand.

use std::sync::Arc;

use aggregates::application::{Application, ApplicationCommand};
use aggregates::membership::{self, INVITATION_DAYS, Membership, MembershipCommand};
use aggregates::tenant::{Tenant, TenantCommand};
use aggregates::user::{EMAIL_CLAIM, User, UserCommand};
use async_trait::async_trait;
use chrono::{SubsecRound, TimeDelta};
use engine::Engine;
use engine::feed::Interest;
use engine::process::{ProcessManager, Retry};
use kernel::{ApplicationId, Claim, Clock, Confidential, Envelope, PersonId};
use schemas::events::{RequestedApplication, TenantEvent, TenantProvisioned};
use schemas::values::{ApplicationName, MembershipKind, ProvisioningStep, ReasonCode, Role};

use crate::links::Links;
use crate::registration::VERIFICATION_HOURS;
use crate::sender::{Outcome, Refused, send};

const NAME: &str = "provisioning";

/// The process manager of provisioning.
pub struct Provisioning {
    engine: Engine,
    clock: Arc<dyn Clock>,
    links: Links,
}

/// One tenant being provisioned.
struct Run<'a> {
    engine: &'a Engine,
    links: &'a Links,
    event: &'a Envelope,
    asked: &'a TenantProvisioned,
}

/// Why a run ends before its end.
enum Stop {
    Refused(ProvisioningStep, Refused),
    Later(Retry),
}

impl From<Retry> for Stop {
    fn from(retry: Retry) -> Self {
        Self::Later(retry)
    }
}

impl Provisioning {
    pub fn new(engine: Engine, clock: Arc<dyn Clock>, links: Links) -> Self {
        Self { engine, clock, links }
    }
}

#[async_trait]
impl ProcessManager for Provisioning {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interest(&self) -> Interest {
        Interest::Only(&["tenant"])
    }

    fn concerns(&self, event: &Envelope) -> bool {
        event.event_type == "tenant.provisioned"
    }

    async fn react(&self, event: &Envelope) -> Result<(), Retry> {
        let decoded =
            event.decode::<TenantEvent>().map_err(|e| Retry::new(format!("can't be decoded: {e}")))?;
        let TenantEvent::Provisioned(asked) = decoded else { return Ok(()) };
        let run = Run { engine: &self.engine, links: &self.links, event, asked: &asked };
        match run.all(&*self.clock).await {
            Ok(()) => Ok(()),
            Err(Stop::Later(retry)) => Err(retry),
            Err(Stop::Refused(step, refused)) => run.fail(step, &refused).await,
        }
    }
}

impl Run<'_> {
    async fn all(&self, clock: &dyn Clock) -> Result<(), Stop> {
        let owner = self.register_owner().await?;
        for (key, value) in self.asked.plan.default_flags() {
            let step = format!("set_flags.{key}");
            self.tenant(ProvisioningStep::SetFlags, &step, TenantCommand::SetFlag { key, value }).await?;
        }
        self.invite(owner, clock).await?;
        self.tenant(ProvisioningStep::AddOwner, "add_owner", TenantCommand::AddOwner { person: owner })
            .await?;
        if let Some(application) = &self.asked.application {
            self.register_application(application).await?;
            let connect = TenantCommand::ConnectApplication { application: application.id() };
            self.tenant(ProvisioningStep::ConnectApplication, "connect_application", connect).await?;
        }
        self.tenant(ProvisioningStep::AddOwner, "complete", TenantCommand::CompleteProvisioning).await
    }

    /// The person of the owner's address: the one that was asked for, or whoever holds the address already.
    async fn register_owner(&self) -> Result<PersonId, Stop> {
        let step = ProvisioningStep::RegisterOwner;
        let Some(email) = self.asked.owner_email.reveal().cloned() else {
            return Err(Stop::Refused(step, Refused { detail: "forgotten".to_owned(), claim: None }));
        };
        let person = self.asked.owner;
        let claim = Claim::new(EMAIL_CLAIM, email.as_str());
        let command =
            UserCommand::Register { person, email, first_name: None, last_name: None, verified: false };
        let outcome =
            send::<User>(self.engine, NAME, self.event, "register_owner", person.0, command).await?;
        match outcome {
            Ok(_) => Ok(person),
            Err(refused) if refused.claim.as_deref() == Some(EMAIL_CLAIM) => {
                let holder = self.engine.claim_holder(&claim).await.map_err(|e| Retry::new(e.to_string()))?;
                // Freed in between: the next try registers the person, or finds the new holder.
                let holder = holder.ok_or_else(|| Retry::new("the owner's address changed hands"))?;
                Ok(PersonId(holder.id))
            }
            Err(refused) => Err(Stop::Refused(step, refused)),
        }
    }

    async fn invite(&self, owner: PersonId, clock: &dyn Clock) -> Result<(), Stop> {
        let id = membership::id_of(self.asked.tenant, owner);
        let now = clock.now();
        let registered = self.is_registered().await?;
        let good_for =
            if registered { TimeDelta::hours(VERIFICATION_HOURS) } else { TimeDelta::days(INVITATION_DAYS) };
        // As the journal counts, so that the link can be made again.
        let expires_at = (now + good_for).trunc_subsecs(6);
        let link = if registered {
            self.links.verification(id, expires_at)
        } else {
            self.links.invitation(id, expires_at)
        };
        let command = MembershipCommand::Invite {
            tenant: self.asked.tenant,
            person: owner,
            role: Role::Owner,
            kind: MembershipKind::Staff,
            expires_at: Some(expires_at),
            token_hash: Some(link.hash()),
            now,
        };
        let outcome =
            send::<Membership>(self.engine, NAME, self.event, "invite_owner", id.0, command).await?;
        done(ProvisioningStep::InviteOwner, outcome)
    }

    /// True if a stranger registered the tenant. That was decided together with the event.
    async fn is_registered(&self) -> Result<bool, Retry> {
        let (tenant, _) =
            self.engine.look::<Tenant>(self.asked.tenant.0).await.map_err(|e| Retry::new(e.to_string()))?;
        Ok(tenant.existing().is_some_and(|tenant| tenant.unverified))
    }

    async fn register_application(
        &self,
        wanted: &RequestedApplication<Confidential<ApplicationName>>,
    ) -> Result<(), Stop> {
        let RequestedApplication::New { application, name, environment } = wanted else { return Ok(()) };
        let ApplicationId(id) = *application;
        let step = ProvisioningStep::RegisterApplication;
        let Some(name) = name.reveal().cloned() else {
            return Err(Stop::Refused(step, Refused { detail: "forgotten".to_owned(), claim: None }));
        };
        let owner = self
            .event
            .metadata
            .actor
            .id
            .parse()
            .map_err(|_| Retry::new("the operator's id is no owner id"))?;
        let command = ApplicationCommand::Register {
            application: *application,
            name,
            owner,
            environment: *environment,
            redirect_uris: Default::default(),
        };
        let sent =
            send::<Application>(self.engine, NAME, self.event, "register_application", id, command).await?;
        done(step, sent)
    }

    async fn tenant(&self, step: ProvisioningStep, name: &str, command: TenantCommand) -> Result<(), Stop> {
        let outcome =
            send::<Tenant>(self.engine, NAME, self.event, name, self.asked.tenant.0, command).await?;
        done(step, outcome)
    }

    /// The written outcome of a refusal.
    async fn fail(&self, step: ProvisioningStep, refused: &Refused) -> Result<(), Retry> {
        tracing::warn!(tenant.id = %self.asked.tenant, step = step.as_str(), reason = refused.detail, "provisioning failed");
        let reason: ReasonCode =
            refused.detail.parse().map_err(|_| Retry::new("a rejection's detail is no code"))?;
        let command = TenantCommand::FailProvisioning { step, reason };
        let tenant = self.asked.tenant.0;
        if let Err(refused) = send::<Tenant>(self.engine, NAME, self.event, "fail", tenant, command).await? {
            tracing::warn!(tenant.id = %self.asked.tenant, reason = refused.detail, "the failure was not recorded");
        }
        Ok(())
    }
}

fn done(step: ProvisioningStep, outcome: Outcome) -> Result<(), Stop> {
    outcome.map(|_| ()).map_err(|refused| Stop::Refused(step, refused))
}
