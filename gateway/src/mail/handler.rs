//! The job `mail`: looks up whom it is for, writes the letter and sends it.

use std::sync::Arc;
use std::time::Duration;

use aggregates::user::{Existing, User};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Pool};
use engine::Engine;
use engine::jobs::{Job, JobError, JobHandler};
use engine::projection::Projector;
use kernel::{Clock, MembershipId, PersonId, Personal, PositionToken};
use projections::{MembershipDirectory, Scope, TenantDirectory, UserDirectory, UserRow};
use schemas::values::{EmailAddress, MembershipStatus, UserStatus};
use uuid::Uuid;
use workflows::{LinkToken, Links, MailJob, Notice};

use super::{Letter, Mailer, Sending};

/// How long is waited for the read models to hold what the letter is about, before it is sent later.
const READ_MODELS_WITHIN: Duration = Duration::from_secs(5);

/// Sends letters that jobs ask for.
pub struct MailHandler {
    pub mailer: Arc<Mailer>,
    pub engine: Engine,
    pub projector: Arc<Projector>,
    /// For queries.
    pub pool: Pool,
    pub links: Links,
    /// How recipients reach the server, without a slash at its end.
    pub public_url: String,
    pub clock: Arc<dyn Clock>,
}

/// Why there is no letter to send any more; the job is done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unneeded {
    /// Of the person nothing is known any more, so nobody can be told.
    Forgotten,
    /// What the link would have been good for is over.
    Expired,
    /// Another link took its place, or it was used, or taken back.
    Superseded,
}

/// What came of a job before sending.
type Written = Result<(EmailAddress, Letter, About), Unneeded>;

/// The person and the tenant that a letter tells of.
type About = [Option<Uuid>; 2];

#[async_trait]
impl JobHandler for MailHandler {
    fn kind(&self) -> &'static str {
        MailJob::KIND
    }

    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let unreadable = || JobError::never("unreadable");
        let mail: MailJob = serde_json::from_value(job.payload.clone()).map_err(|_| unreadable())?;
        let position: PositionToken = mail.position.parse().map_err(|_| unreadable())?;
        for projection in ["user_directory", "membership_directory", "tenant_directory"] {
            let reached = self.projector.wait_for(projection, position, READ_MODELS_WITHIN).await;
            reached.map_err(|_| JobError::later("read_model_behind"))?;
        }
        match self.write(&mail.notice).await? {
            Ok((to, letter, about)) => {
                let sending = Sending { job: job.id, at: job.created_at, to: &to, about };
                self.mailer.send(sending, &letter).await
            }
            Err(unneeded) => {
                tracing::info!(job.id = %job.id.0, reason = ?unneeded, "a mail is not needed any more");
                Ok(())
            }
        }
    }
}

impl MailHandler {
    async fn write(&self, notice: &Notice) -> Result<Written, JobError> {
        match notice {
            Notice::Invitation { membership, expires_at } => self.invitation(*membership, *expires_at).await,
            Notice::PasswordReset { person, expires_at } => self.password_reset(*person, *expires_at).await,
            Notice::PasswordChanged { person, at } => self.tell(*person, *at, Letter::password_changed).await,
            Notice::RefreshReuseDetected { person, at } => {
                self.tell(*person, *at, Letter::refresh_reuse_detected).await
            }
            Notice::MfaEnrolled { person, at } => self.tell(*person, *at, Letter::mfa_enrolled).await,
            Notice::MfaRemoved { person, at } => self.tell(*person, *at, Letter::mfa_removed).await,
            Notice::PasskeyAdded { person, at } => self.tell(*person, *at, Letter::passkey_added).await,
            Notice::PasskeyRemoved { person, at } => self.tell(*person, *at, Letter::passkey_removed).await,
            Notice::ExportReady { person, expires_at } => {
                self.tell(*person, *expires_at, Letter::export_ready).await
            }
            Notice::LoginChallenged { person, challenge, expires_at } => {
                self.login_code(*person, *challenge, *expires_at).await
            }
        }
    }

    /// What has happened stays true: it is told whatever came after it.
    async fn tell(
        &self,
        person: PersonId,
        at: DateTime<Utc>,
        letter: fn(Option<&str>, DateTime<Utc>) -> Letter,
    ) -> Result<Written, JobError> {
        let row = self.person(person).await?;
        Ok(address(row.email).map(|to| (to, letter(row.first_name.as_deref(), at), [Some(person.0), None])))
    }

    async fn invitation(
        &self,
        membership: MembershipId,
        expires_at: DateTime<Utc>,
    ) -> Result<Written, JobError> {
        let client = self.connection().await?;
        let row = MembershipDirectory::get(&client, Scope::Platform, membership).await.map_err(database)?;
        let row = row.ok_or_else(|| JobError::later("membership_unknown"))?;
        if row.status != MembershipStatus::Invited || row.invitation_expires_at != Some(expires_at) {
            return Ok(Err(Unneeded::Superseded));
        }
        if expires_at <= self.clock.now() {
            return Ok(Err(Unneeded::Expired));
        }
        let tenant = TenantDirectory::get(&client, Scope::Platform, row.tenant).await.map_err(database)?;
        let tenant = tenant.ok_or_else(|| JobError::later("tenant_unknown"))?;
        Ok(address(row.email).map(|to| {
            let name = row.first_name.as_deref();
            let letter = if tenant.unverified {
                // Nothing is repeated of what a stranger wrote: it would be their message, in our letter.
                let link = self.link("verification", &self.links.verification(membership, expires_at));
                Letter::email_verification(name, link, expires_at)
            } else {
                let link = self.link("invitation", &self.links.invitation(membership, expires_at));
                Letter::invitation(name, tenant.name.as_deref(), link, expires_at)
            };
            (to, letter, [Some(row.person.0), Some(row.tenant.0)])
        }))
    }

    async fn password_reset(&self, person: PersonId, expires_at: DateTime<Utc>) -> Result<Written, JobError> {
        if expires_at <= self.clock.now() {
            return Ok(Err(Unneeded::Expired));
        }
        let row = self.person(person).await?;
        let token = self.links.password_reset(person, expires_at);
        let may_reset = |known: &Existing| known.sign_in.may_reset(&token.hash(), self.clock.now()).is_ok();
        let good = self.known(person).await?.is_some_and(|known| may_reset(&known));
        if row.email.is_some() && (row.status == UserStatus::Disabled || !good) {
            return Ok(Err(Unneeded::Superseded));
        }
        let link = self.link("password_reset", &token);
        let name = row.first_name.as_deref();
        Ok(address(row.email)
            .map(|to| (to, Letter::password_reset(name, link, expires_at), [Some(person.0), None])))
    }

    /// Of the person nothing is asked of a read model: what a login said of itself is in none.
    async fn login_code(
        &self,
        person: PersonId,
        challenge: Uuid,
        expires_at: DateTime<Utc>,
    ) -> Result<Written, JobError> {
        let now = self.clock.now();
        if expires_at <= now {
            return Ok(Err(Unneeded::Expired));
        }
        let known = self.known(person).await?.ok_or_else(|| JobError::later("person_unknown"))?;
        let Some(to) = known.email.reveal().cloned() else { return Ok(Err(Unneeded::Forgotten)) };
        let Some(mailed) = known.sign_in.mailed_code(challenge, now).filter(|_| !known.disabled) else {
            return Ok(Err(Unneeded::Superseded));
        };
        let code = self.links.login_code(person, challenge, expires_at);
        let origin = mailed.origin.as_ref().and_then(Personal::reveal);
        let device = origin.and_then(|origin| origin.user_agent.as_deref());
        let place = origin.and_then(|origin| origin.address.as_deref());
        let name = known.first_name.as_ref().and_then(Personal::reveal).map(|name| name.as_str());
        let letter = Letter::login_code(name, code.reveal(), (device, place), mailed.mailed_at, expires_at);
        Ok(Ok((to, letter, [Some(person.0), None])))
    }

    /// A person as the journal has them.
    async fn known(&self, person: PersonId) -> Result<Option<Existing>, JobError> {
        let (user, _) = self.engine.look::<User>(person.0).await.map_err(database)?;
        Ok(user.existing().cloned())
    }

    /// What opens an account stands behind the `#`: no server on the way gets to see or to log it.
    fn link(&self, what: &str, token: &LinkToken) -> (String, String) {
        let code = token.reveal();
        (format!("{}/login#{what}={code}", self.public_url), code.to_owned())
    }

    async fn person(&self, person: PersonId) -> Result<UserRow, JobError> {
        let client = self.connection().await?;
        let row = UserDirectory::get(&client, Scope::Platform, person).await.map_err(database)?;
        row.ok_or_else(|| JobError::later("person_unknown"))
    }

    async fn connection(&self) -> Result<Object, JobError> {
        self.pool.get().await.map_err(database)
    }
}

/// The address, unless the person was forgotten.
fn address(email: Option<String>) -> Result<EmailAddress, Unneeded> {
    email.and_then(|email| email.parse().ok()).ok_or(Unneeded::Forgotten)
}

fn database(error: impl std::fmt::Display) -> JobError {
    tracing::warn!(%error, "the read models can't be asked for a mail");
    JobError::later("database")
}
