//! Registering a tenant: what is done beside the request of a stranger, who hears nothing of it (CON-SEC-009).

use aggregates::membership::Membership;
use aggregates::tenant::{DOMAIN_CLAIM, Provision, SLUG_CLAIM, Tenant, TenantCommand, Trial};
use chrono::{DateTime, Utc};
use clap::ValueEnum;
use engine::command::{CommandContext, DispatchError};
use engine::jobs::{JobId, NewJob, Priority};
use engine::journal::ReadError;
use kernel::{Claim, Metadata, PersonId, Position, PositionToken, ShardId, TenantId};
use schemas::values::{Domain, EmailAddress, Plan, Region, Slug, TenantName};
use workflows::{MailJob, Notice};

use crate::state::App;

/// How much of a slug stays before an ending, in bytes: with it, it is a DNS label.
const SLUG_STEM_BYTES_MAX: usize = 54;
/// The characters of an ending.
const SLUG_ENDING_CHARS: usize = 8;

/// Whether strangers may register tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Registration {
    /// Tenants are provisioned by operators.
    #[default]
    Off,
    On,
}

/// A tenant as a stranger wishes it.
pub struct Wish {
    pub name: TenantName,
    pub domain: Domain,
    /// `None`: made of the domain.
    pub slug: Option<Slug>,
    pub region: Region,
    pub email: EmailAddress,
}

/// Registers a tenant; the process manager of provisioning does the rest. `metadata`: the request's.
///
/// A domain that is taken leads to nothing, and no letter says so: strangers would read there who is a customer here.
pub async fn begin(app: &App, wish: Wish, metadata: Metadata, now: DateTime<Utc>) {
    let tenant = TenantId(app.ids.fresh());
    let mut asked = Provision {
        tenant,
        name: wish.name,
        slug: wish.slug.unwrap_or_else(|| Slug::of_domain(&wish.domain)),
        domain: wish.domain.clone(),
        plan: Plan::Free,
        region: wish.region,
        trial: Trial::Standard,
        owner: PersonId(app.ids.fresh()),
        owner_email: wish.email.clone(),
        application: None,
        now,
    };
    let context = CommandContext::new(Metadata { tenant: Some(tenant), ..metadata });
    let register = |asked: Provision| {
        let command = TenantCommand::Register(Box::new(asked));
        app.engine.dispatch::<Tenant>(tenant.0, command, context.clone())
    };
    let mut outcome = register(asked.clone()).await;
    if matches!(&outcome, Err(DispatchError::ClaimTaken { kind }) if kind == SLUG_CLAIM) {
        asked.slug = with_ending(&asked.slug, tenant);
        outcome = register(asked).await;
    }
    match outcome {
        Ok(_) => {}
        Err(DispatchError::ClaimTaken { kind }) if kind == DOMAIN_CLAIM => {
            send_again(app, &wish.domain, &wish.email, now).await;
        }
        Err(error) => tracing::warn!(%error, "a tenant was not registered: it has to be asked for again"),
    }
}

/// Sends the letter of a registration once more to the address that it was sent to before, as letters get lost: the same link,
/// good until the same time, so that asking again holds no domain longer and takes nobody's link away. Any other tenant's domain
/// is taken, and that is all.
async fn send_again(app: &App, domain: &Domain, email: &EmailAddress, now: DateTime<Utc>) {
    let held = async {
        let claim = Claim::new(DOMAIN_CLAIM, domain.as_str());
        let Some(holder) = app.engine.claim_holder(&claim).await? else { return Ok(None) };
        let (held, _) = app.engine.look::<Tenant>(holder.id).await?;
        let same = held.existing().filter(|it| it.unverified && it.asked.owner_email.reveal() == Some(email));
        // Without an owner it is still being provisioned: its letter is on the way.
        let Some((tenant, membership)) = same.and_then(|it| Some((it.id(), *it.owners.values().next()?)))
        else {
            return Ok(None);
        };
        let (owner, _) = app.engine.look::<Membership>(membership.0).await?;
        let open =
            owner.existing().filter(|it| !it.accepted && !it.removed && it.invitation.expires_at > now);
        Ok::<_, ReadError>(open.map(|it| (tenant, membership, it.invitation.expires_at)))
    };
    let (tenant, membership, expires_at) = match held.await {
        Ok(Some(held)) => held,
        Ok(None) => return,
        Err(error) => {
            return tracing::warn!(%error, "a registration can't be read: its letter has to be asked for again");
        }
    };
    // What the letter is about was there before.
    let position = PositionToken { shard: ShardId::default(), position: Position::ZERO }.to_string();
    let letter = MailJob { position, notice: Notice::Invitation { membership, expires_at } };
    let Ok(payload) = serde_json::to_value(letter) else { return };
    let job = NewJob::new(JobId(app.ids.fresh()), MailJob::KIND, payload);
    let job = NewJob { tenant: Some(tenant), priority: Priority::High, ..job };
    if let Err(error) = app.jobs.enqueue(job).await {
        tracing::warn!(%error, "the letter of a registration was not sent again: it has to be asked for again");
    }
}

/// The slug with an ending of the tenant's own.
fn with_ending(slug: &Slug, tenant: TenantId) -> Slug {
    let (slug, id) = (slug.as_str(), tenant.0.simple().to_string());
    let stem = slug.get(..SLUG_STEM_BYTES_MAX).unwrap_or(slug).trim_end_matches('-');
    let ending = id.get(id.len() - SLUG_ENDING_CHARS..).unwrap_or_default();
    format!("{stem}-{ending}").parse().expect("a DNS label and hex digits are one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_with_an_ending_is_a_slug() {
        let tenant = TenantId(uuid::Uuid::from_u128(0xabcd));
        let slug = |text: &str| with_ending(&text.parse().unwrap(), tenant).as_str().to_owned();
        assert_eq!(slug("acme"), "acme-0000abcd");
        assert_eq!(slug(&"x".repeat(63)).len(), 63);
        assert_eq!(
            slug(&format!("{}-{}", "x".repeat(53), "y".repeat(9))),
            format!("{}-0000abcd", "x".repeat(53))
        );
    }
}
