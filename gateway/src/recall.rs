//! After an older backup was restored: whoever was forgotten since is forgotten again, before anybody is served.

use std::time::Duration;

use aggregates::tenant::{Tenant, TenantCommand};
use aggregates::user::{User, UserCommand};
use anyhow::Context;
use engine::Engine;
use engine::command::{CommandContext, DispatchError};
use engine::feed::{Feed, FeedName};
use engine::keyring::Keyring;
use engine::projection::Projector;
use kernel::{
    Actor, ActorKind, CorrelationId, Decider, Ids, Metadata, Origin, PositionToken, Rejection, RejectionKind,
    Subject,
};
use schemas::values::Reason;
use uuid::Uuid;

/// How long the start waits for the shard and for each read model.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Recall<'a> {
    pub engine: &'a Engine,
    pub keyring: &'a Keyring,
    pub projector: &'a Projector,
    pub journal: &'a dyn Feed,
}

impl Recall<'_> {
    /// Forgets again whom the tombstones outside the database name and the database knows.
    ///
    /// # Errors
    /// It can't be done now: then nothing must be served.
    pub(crate) async fn forget_again(&self, ids: &dyn Ids) -> anyhow::Result<()> {
        let recalled = self.keyring.recalled().await.context("the tombstones can't be compared")?;
        if recalled.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            subjects = recalled.len(),
            "a backup brought back who was forgotten: forgetting them again"
        );
        tokio::time::timeout(PATIENCE, self.engine.owned()).await.context(
            "another node owns the shard: start that one first, it forgets again whom a backup brought back",
        )?;
        for subject in &recalled {
            self.dispatch(*subject, ids).await?;
        }
        let position = self.journal.head().await?;
        let token = PositionToken { shard: self.journal.shard(), position };
        for projection in self.projector.projections() {
            if projection.feeds().contains(&FeedName::Journal) {
                let followed =
                    self.projector.wait_for_feed(projection.name(), FeedName::Journal, token, PATIENCE).await;
                followed.with_context(|| format!("the read model {} does not follow", projection.name()))?;
            }
        }
        for subject in recalled {
            // The process manager may have been as far already: then it would not react again.
            self.keyring.forget(subject).await?;
            self.engine.forget(subject);
        }
        Ok(())
    }

    async fn dispatch(&self, subject: Subject, ids: &dyn Ids) -> anyhow::Result<()> {
        match subject {
            Subject::Person(person) => self.send::<User>(person.0, UserCommand::Forget, None, ids).await,
            Subject::Tenant(tenant) => {
                let reason: Reason = "It was purged, and a backup brought it back.".parse()?;
                let tenant_id = Some(tenant);
                self.send::<Tenant>(tenant.0, TenantCommand::Suspend { reason }, tenant_id, ids).await?;
                self.send::<Tenant>(tenant.0, TenantCommand::Purge, tenant_id, ids).await
            }
        }
    }

    async fn send<D: Decider>(
        &self,
        id: Uuid,
        command: D::Command,
        tenant: Option<kernel::TenantId>,
        ids: &dyn Ids,
    ) -> anyhow::Result<()> {
        let context = CommandContext::new(Metadata {
            tenant,
            actor: Actor { kind: ActorKind::System, id: "recall".to_owned() },
            role: "system".to_owned(),
            scopes: Vec::new(),
            action: "recall.forget_again".to_owned(),
            correlation_id: CorrelationId(ids.fresh()),
            causation_id: None,
            command_id: None,
            origin: Origin::default(),
        });
        match self.engine.dispatch::<D>(id, command, context).await {
            Ok(_) => Ok(()),
            // The backup is from before there was anybody to forget, or tells of it already.
            Err(DispatchError::Rejected { rejection, .. }) if rejection.kind() == RejectionKind::NotFound => {
                Ok(())
            }
            Err(error) => anyhow::bail!("{} {id} can't be forgotten again: {error}", D::TYPE),
        }
    }
}
