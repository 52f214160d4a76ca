//! Signing in by a tenant's own OpenID provider (FR-AUTH-003): from whom it vouches for to a session in that tenant.
//!
//! Whoever is not let in hears the same, whatever it was for: no member, somebody who was removed or disabled, an address
//! that is not verified, a subject that another member is known by, a tenant without room.

use aggregates::Tenant;
use aggregates::membership::{self, LinkSso, Membership, MembershipCommand};
use aggregates::user::{Checked, User, UserCommand};
use axum::response::Response;
use chrono::{DateTime, Utc};
use engine::command::DispatchError;
use kernel::{PersonId, SsoProviderId, TenantId};
use schemas::events::SsoConfigured;
use schemas::values::{Domain, EmailAddress, SecretHash};

use super::{
    Begin, Begun, BySso, Known, act_as, begin, by_address, by_id, invalid_credentials, tenant_of_session,
};
use crate::caller::Caller;
use crate::endpoint::FRESH_FOR;
use crate::extract::Write;
use crate::members::has_room;
use crate::problem::{Code, Problem};
use crate::sso::{self, Unvouched, Vouched};
use crate::state::App;
use crate::step::step;
use crate::tickets::{Challenge, SsoAsked, SsoProof};

/// A provider, and whose it is.
pub struct Configured {
    pub tenant: TenantId,
    pub domain: Option<Domain>,
    pub provider: SsoConfigured,
}

/// A provider as its tenant configured it; `None`: there is none by this id.
///
/// # Errors
/// ERR-SYS-503
pub async fn configured(app: &App, provider: SsoProviderId) -> Result<Option<Configured>, Problem> {
    let Some(tenant) = app.access.current(false)?.tenant_of_sso(provider) else { return Ok(None) };
    let (state, _) =
        app.engine.look::<Tenant>(tenant.0).await.map_err(|_| Problem::unavailable("database"))?;
    let state = state.existing().filter(|state| !state.purged);
    Ok(state.and_then(|state| {
        let provider = state.sso.get(provider)?.clone();
        Some(Configured { tenant, domain: state.domain.reveal().cloned(), provider })
    }))
}

/// Signs in whoever comes back from a provider with a code. `issuer`: who says that the code is theirs, if anybody does.
///
/// # Errors
/// ERR-AUTH-401 `invalid_credentials`; ERR-AUTH-461: the person's second factor is wanted; ERR-SYS-503.
pub async fn sign_in(
    write: &mut Write,
    asked: &SsoAsked,
    code: String,
    issuer: Option<&str>,
) -> Result<Response, Problem> {
    let (app, now) = (write.app.clone(), write.now());
    let of = configured(&app, asked.provider).await?.ok_or_else(invalid_credentials)?;
    write.in_tenant(of.tenant);
    let known = sso::Known::of(&of.provider).ok_or_else(invalid_credentials)?;
    // RFC 9207 §2.4
    if issuer.is_some_and(|issuer| issuer != known.issuer.as_str()) {
        return Err(refused("another provider's answer"));
    }
    let providers = &app.sign_in.sso;
    let vouched = providers.vouched(known, sso::redirect_uri(&app), asked, code, now).await;
    let vouched = vouched.map_err(|error| match error {
        Unvouched::Unreachable => Problem::unavailable("sso_unreachable"),
        Unvouched::Refused(word) => refused(word),
    })?;
    let tickets = &app.sign_in.tickets;
    let identity = tickets.sso_identity(of.tenant, known.issuer, known.client_id, &vouched.subject);
    let person = member(write, &of, &vouched, identity).await?;
    let person = person.ok_or_else(|| refused("it vouches for no member"))?;
    let second_factor = vouched.second_factor && of.provider.rules.trusts_mfa;
    let authenticated_at = freshness(vouched.authenticated_at, now);
    let proof = SsoProof { provider: asked.provider, tenant: of.tenant, authenticated_at };
    let person = by_id(&app, person).await?.filter(|person| !person.state.disabled);
    let person = person.ok_or_else(|| refused("the person is disabled"))?;
    write.concerns("user", person.person);
    let Some(wish) = begun_by(&app, &proof, &person, second_factor).await? else {
        return Err(refused("the member is disabled, or the provider was removed"));
    };
    if person.state.sign_in.has_second_factor() && !second_factor {
        let challenge = Challenge::of_sso(person.person, proof, wish.device, now);
        return Err(super::second_factor_wanted(&app, &challenge, &person));
    }
    // The answer of a provider is good for one session, also after that has ended.
    let session = asked.session;
    if !app.access.current(false)?.session_stands(person.person, session, app.access.position()) {
        return Err(refused("it was used before"));
    }
    let wish = Begin { sso: wish.sso.map(|sso| BySso { session, ..sso }), ..wish };
    match begin(write, wish, &[0; 32]).await? {
        Begun::Session(response) => Ok(*response),
        Begun::SecondFactorRequired
        | Begun::MailedCodeRequired
        | Begun::SecondFactorWrong
        | Begun::Refused => Err(refused("the person has changed meanwhile, or has signed in by it before")),
    }
}

/// A login by what a provider said. `None`: the person is no active member, or the provider is gone, by what is known now;
/// what ends one of them after that ends the session too.
///
/// # Errors
/// ERR-SYS-503
pub async fn begun_by(
    app: &App,
    proof: &SsoProof,
    person: &Known,
    second_factor: bool,
) -> Result<Option<Begin>, Problem> {
    let known_at = app.access.position();
    let stands = configured(app, proof.provider).await?.is_some_and(|of| of.tenant == proof.tenant);
    let tenant = match tenant_of_session(app, person.person, Some(proof.tenant)) {
        Ok(tenant) if stands => tenant,
        Ok(_) => return Ok(None),
        Err(problem) if problem.code == Code::Forbidden => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let sso = BySso { session: app.ids.fresh().into(), known_at, authenticated_at: proof.authenticated_at };
    Ok(Some(Begin {
        person: person.person,
        tenant,
        checked: Checked::Sso { second_factor },
        device: app.ids.fresh(),
        second_factor: None,
        sso: Some(sso),
    }))
}

/// When somebody proved who they are, as far as it makes them fresh: a provider that doesn't say so makes nobody fresh, and
/// none decides how long a session lasts.
fn freshness(said: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    said.map_or(now - FRESH_FOR, |at| at.clamp(now - FRESH_FOR, now))
}

/// Told to the log; the caller hears what everybody hears.
fn refused(reason: &'static str) -> Problem {
    tracing::info!(reason, "a sign-in by a tenant's provider was refused");
    invalid_credentials()
}

/// The member whom a provider vouches for: known by it already, or by a verified address from now on. `None`: there is none,
/// and none is made.
async fn member(
    write: &mut Write,
    of: &Configured,
    vouched: &Vouched,
    identity: SecretHash,
) -> Result<Option<PersonId>, Problem> {
    let app = write.app.clone();
    let unreadable = |_| Problem::unavailable("database");
    if let Some(holder) = app.engine.claim_holder(&membership::claim(&identity)).await.map_err(unreadable)? {
        let (known, _) = app.engine.look::<Membership>(holder.id).await.map_err(unreadable)?;
        let known = known.existing().filter(|known| known.tenant == of.tenant && known.sso.knows(&identity));
        return Ok(known.map(|known| known.person));
    }
    let Some(email) = &vouched.email else { return Ok(None) };
    let known = by_address(&app, email).await?;
    let may_be_new = of.provider.rules.provision
        && of.domain.as_ref().is_some_and(|domain| domain.as_str() == email.domain());
    let person = match known {
        Some(known) if known.state.disabled || known.state.forgotten => return Ok(None),
        Some(known) => known.person,
        None if may_be_new && room(write, of.tenant, None).await? => register(write, email).await?,
        None => return Ok(None),
    };
    write.caller = Caller::of_person(person, Some(of.tenant), None);
    let provision = may_be_new && room(write, of.tenant, Some(person)).await?;
    let link = LinkSso {
        tenant: of.tenant,
        person,
        provider: of.provider.provider,
        identity: identity.clone(),
        provision,
        now: write.now(),
    };
    let membership = membership::id_of(of.tenant, person);
    let command = MembershipCommand::LinkSso(link);
    match step::<Membership, _>(write, "link", membership.0, &identity, command).await {
        Ok(receipt) => {
            write.applied(&receipt).await;
            act_as(write, person, Some(of.tenant))?;
            Ok(Some(person))
        }
        // Another member was known so a moment ago, or this one is not to be.
        Err(DispatchError::Rejected { .. } | DispatchError::ClaimTaken { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the plan has room for one more. Whoever is a member needs none.
async fn room(write: &Write, tenant: TenantId, person: Option<PersonId>) -> Result<bool, Problem> {
    match has_room(&write.app, tenant, person).await {
        Ok(()) => Ok(true),
        Err(problem) if problem.detail == "capacity" => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// A person whom nobody knew. That the address is theirs only the provider says: their own it becomes by a link.
async fn register(write: &Write, email: &EmailAddress) -> Result<PersonId, Problem> {
    let person = PersonId(write.new_id("person"));
    let command = UserCommand::Register {
        person,
        email: email.clone(),
        first_name: None,
        last_name: None,
        verified: false,
    };
    match step::<User, _>(write, "register", person.0, &email, command).await {
        Ok(_) => Ok(person),
        // Somebody registered the address in between.
        Err(DispatchError::ClaimTaken { .. }) => {
            let known = by_address(&write.app, email).await?;
            known.map(|known| known.person).ok_or_else(|| Problem::conflict("lost_race"))
        }
        Err(error) => Err(error.into()),
    }
}
