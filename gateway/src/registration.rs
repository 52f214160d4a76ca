//! Registering a tenant: what is done beside the request of a stranger, who hears nothing of it (CON-SEC-009).

use aggregates::membership::{Membership, MembershipCommand};
use aggregates::tenant::{DOMAIN_CLAIM, Provision, SLUG_CLAIM, Tenant, TenantCommand, Trial};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::ValueEnum;
use engine::command::{CommandContext, DispatchError};
use kernel::{Claim, Metadata, PersonId, TenantId};
use schemas::values::{Domain, EmailAddress, Plan, Region, Slug, TenantName};
use workflows::VERIFICATION_HOURS;

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
    let context = CommandContext::new(Metadata { tenant: Some(tenant), ..metadata.clone() });
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
            send_anew(app, &wish.domain, &wish.email, metadata, now).await;
        }
        Err(error) => tracing::warn!(%error, "a tenant was not registered: it has to be asked for again"),
    }
}

/// Sends the link of a registration anew to the address that it was sent to before, as letters get lost. The former is
/// void. Any other tenant's domain is taken, and that is all.
async fn send_anew(app: &App, domain: &Domain, email: &EmailAddress, metadata: Metadata, now: DateTime<Utc>) {
    let unreadable = "the holder of a domain can't be read: its registration has to be asked for again";
    let holder = match app.engine.claim_holder(&Claim::new(DOMAIN_CLAIM, domain.as_str())).await {
        Ok(Some(holder)) => holder,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%error, unreadable),
    };
    let held = match app.engine.look::<Tenant>(holder.id).await {
        Ok((held, _)) => held,
        Err(error) => return tracing::warn!(%error, unreadable),
    };
    let same = held.existing().filter(|it| it.unverified && it.asked.owner_email.reveal() == Some(email));
    // Without an owner it is still being provisioned: its letter is on the way.
    let Some((tenant, membership)) = same.and_then(|it| Some((it.id(), *it.owners.values().next()?))) else {
        return;
    };
    // As the journal counts, so that the link can be made again.
    let expires_at = (now + TimeDelta::hours(VERIFICATION_HOURS)).trunc_subsecs(6);
    let token_hash = Some(app.sign_in.links.verification(membership, expires_at).hash());
    let command = MembershipCommand::Resend { expires_at: Some(expires_at), token_hash, now };
    let context = CommandContext::new(Metadata { tenant: Some(tenant), ..metadata });
    if let Err(error) = app.engine.dispatch::<Membership>(membership.0, command, context).await {
        tracing::warn!(%error, "the link of a registration was not sent anew: it has to be asked for again");
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
