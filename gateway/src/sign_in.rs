//! Signing in: what the endpoints that lead there have in common (REQUIREMENTS §3).
//!
//! Ladder → person and hash, from the journal → the hashing pool → the person's aggregate, which decides on the hash that
//! was verified → tokens. Unknown people go the same way, with nobody's hash (CON-SEC-009).

mod acquaintances;
pub mod risk;
pub mod sso;
mod tokens;

use std::sync::Arc;

use aggregates::user::{self, Checked, LogIn, SecondFactor, User, UserCommand, UserRejection};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use engine::audit::{AuditFact, AuditOutcome};
use engine::command::DispatchError;
use kernel::{Claim, PersonId, Position, SessionId, TenantId};
use schemas::values::{EmailAddress, PasswordHash, Role};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;
use workflows::Links;

use crate::audit::Call;
use crate::caller::Caller;
use crate::extract::Write;
use crate::keys::{Keys, random};
use crate::passkeys::{self, RelyingParty};
use crate::passwords::hasher::HasherError;
use crate::passwords::{About, HashError, Hasher, HasherSettings, Password, Verdict};
use crate::problem::{Code, FieldError, Problem};
use crate::shown::Shown;
use crate::slowdown::{Attempt, Finding, Ladder, LadderSettings, Outcome, Pass, SlowDown};
use crate::sso::{Outgoing, PrivateNetworks, Providers};
use crate::state::App;
use crate::tickets::{CHALLENGE_TTL, Challenge, Tickets, hash_of};

use acquaintances::Acquaintances;
pub use risk::SignInRisk;
pub use tokens::{SessionTokens, issue, stands};

/// How many links are made at once for whoever asks without saying who they are; more requests get none.
const LINKS_UNDER_WAY_MAX: usize = 64;

/// What signing in works with.
pub struct SignInParts {
    pub hasher: Hasher,
    pub ladder: Ladder,
    /// For what is asked in somebody's name, by whomever: links that are mailed, and what links are tried with.
    pub asking: Ladder,
    pub tickets: Tickets,
    /// Found without a look at the database, if they sign in again.
    pub acquaintances: Acquaintances,
    /// Links being made beside the request that asked for them, so many at once.
    pub links_under_way: Arc<Semaphore>,
    pub links: Links,
    /// `None`: at the deployment's URL no browser has passkeys.
    pub passkeys: Option<RelyingParty>,
    pub risk: SignInRisk,
    /// Tenants' own OpenID providers.
    pub sso: Providers,
}

impl SignInParts {
    /// # Errors
    /// The hashing pool can't be started.
    pub fn start(keys: &Keys, hasher: &HasherSettings) -> Result<Self, HasherError> {
        Ok(Self {
            hasher: Hasher::start(hasher)?,
            ladder: Ladder::new(LadderSettings::default()),
            asking: Ladder::new(LadderSettings::default()),
            links_under_way: Arc::new(Semaphore::new(LINKS_UNDER_WAY_MAX)),
            tickets: Tickets::new(&keys.of_use("tickets")),
            acquaintances: Acquaintances::default(),
            links: keys.links(),
            passkeys: RelyingParty::at(keys.tokens.issuer()),
            risk: SignInRisk::default(),
            sso: Providers::new(Outgoing::new(PrivateNetworks::default())),
        })
    }
}

/// A person as the journal has them, or their actor. Whatever is begun on it, their aggregate checks again.
#[derive(Debug)]
pub struct Known {
    pub person: PersonId,
    pub state: user::Existing,
}

impl Known {
    /// What a password of theirs is verified against; nothing for whoever may not sign in.
    pub fn hash(&self) -> Option<&PasswordHash> {
        let may = !self.state.disabled && !self.state.forgotten;
        self.state.sign_in.password.as_ref().filter(|_| may).and_then(kernel::Personal::reveal)
    }

    /// True if a device signed in to the account before.
    pub fn has(&self, device: Uuid) -> bool {
        self.state.sign_in.devices.contains(&device)
    }

    /// Whom a new password is for.
    pub fn about(&self) -> About {
        let names = [&self.state.first_name, &self.state.last_name];
        let names = names.into_iter().flatten().filter_map(|name| name.reveal().cloned()).collect();
        About { email: self.state.email.reveal().cloned(), names, tenant: None }
    }
}

fn unreadable(error: &engine::journal::ReadError) -> Problem {
    tracing::warn!(%error, "a person could not be looked up");
    Problem::unavailable("database")
}

/// Whom a login found.
pub struct Found {
    pub known: Option<Known>,
    /// Without the look at the database that anybody else costs: a login that fails [makes up for it](Self::failed).
    remembered: bool,
}

impl Found {
    /// The person who holds an address; whoever signed in by it before is found in memory.
    ///
    /// # Errors
    /// ERR-SYS-503
    pub async fn by_address(app: &App, account: &[u8; 32], email: &EmailAddress) -> Result<Self, Problem> {
        if let Some(person) = app.sign_in.acquaintances.of(account) {
            let known = by_id(app, person).await?;
            let known = known.filter(|known| known.state.email.reveal() == Some(email));
            if known.is_some() {
                return Ok(Self { known, remembered: true });
            }
        }
        Ok(Self { known: by_address(app, email).await?, remembered: false })
    }

    /// Takes as long as if it had been somebody who never signed in, or nobody (CON-SEC-009).
    pub async fn failed(&self, app: &App, email: &EmailAddress) {
        if self.remembered {
            // Whatever it says, the login has failed.
            let _ = app.engine.claim_holder(&address_of(email)).await;
        }
    }
}

fn address_of(email: &EmailAddress) -> Claim {
    Claim::new(user::EMAIL_CLAIM, email.as_str())
}

/// The person who holds an address. Unknown ones cost the same reads.
///
/// # Errors
/// ERR-SYS-503
pub async fn by_address(app: &App, email: &EmailAddress) -> Result<Option<Known>, Problem> {
    let holder = app.engine.claim_holder(&address_of(email)).await.map_err(|error| unreadable(&error))?;
    let id = holder.map_or_else(|| app.ids.fresh(), |stream| stream.id);
    by_id(app, PersonId(id)).await
}

/// A person by id.
///
/// # Errors
/// ERR-SYS-503
pub async fn by_id(app: &App, person: PersonId) -> Result<Option<Known>, Problem> {
    let (user, _) = app.engine.recall::<User>(person.0).await.map_err(|error| unreadable(&error))?;
    Ok(user.existing().map(|state| Known { person, state: state.clone() }))
}

/// The one answer to whoever can't sign in, for whatever reason.
pub fn invalid_credentials() -> Problem {
    Problem::unauthenticated("invalid_credentials")
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy { retry_after } => Self::new(Code::TooMany, "busy").with_retry_after(retry_after),
            // Told like a wrong password; the operator reads of it in the log.
            HashError::Unverifiable => {
                tracing::error!("a stored password's hash can't be verified: its person has to reset it");
                invalid_credentials()
            }
            HashError::Failed => Self::unavailable("hashing"),
        }
    }
}

/// Asks the ladder.
///
/// # Errors
/// ERR-RATE-429 `slow_down`
pub fn may_try<B>(write: &Write<B>, account: [u8; 32], known_device: Option<Uuid>) -> Result<Pass, Problem> {
    let attempt = attempt(write, account, known_device);
    write.app.sign_in.ladder.ask(&attempt, write.now()).map_err(slow_down)
}

/// Asks the ladder of asking. Dropped, the pass counts; nobody hears of an attack.
///
/// # Errors
/// ERR-RATE-429 `slow_down`
pub fn may_ask<B>(write: &Write<B>, account: [u8; 32]) -> Result<Pass, Problem> {
    let attempt = attempt(write, account, None);
    write.app.sign_in.asking.ask(&attempt, write.now()).map_err(slow_down)
}

/// Room to do beside a request what it asks for in somebody's name. `None`: they asked too often, or too many do; they
/// hear the same, and nothing is done.
pub fn room_beside<B>(write: &Write<B>, account: [u8; 32]) -> Option<OwnedSemaphorePermit> {
    drop(may_ask(write, account).ok()?);
    write.app.sign_in.links_under_way.clone().try_acquire_owned().ok()
}

fn attempt<B>(write: &Write<B>, account: [u8; 32], known_device: Option<Uuid>) -> Attempt {
    let address = write.origin().address.as_deref().and_then(|address| address.parse().ok());
    Attempt { account, address, known_device }
}

fn slow_down(slow: SlowDown) -> Problem {
    Problem::new(Code::TooMany, "slow_down").with_retry_after(slow.retry_after)
}

/// Takes an asking back that led to what was asked for.
pub fn was_right<B>(write: &Write<B>, pass: Pass) {
    let _ = write.app.sign_in.asking.told(pass, Outcome::Succeeded, write.now());
}

/// Tells the ladder how it came out, and the audit trail what it noticed.
pub fn settle<B>(write: &Write<B>, pass: Pass, outcome: Outcome, person: Option<PersonId>) {
    for finding in write.app.sign_in.ladder.told(pass, outcome, write.now()) {
        noticed(write, finding, person);
    }
}

/// An attack is an entry of its own, once per rise. It waits for nobody, and if it can't be queued it is counted.
fn noticed<B>(write: &Write<B>, finding: Finding, person: Option<PersonId>) {
    tracing::warn!(finding = finding.as_str(), "sign-in is attacked; the ladder slows it");
    // By whoever called, not by the person they say they are.
    let call = Call { action: "sign_in:attacked", caller: write.called_by().clone(), ..write.call() };
    let fact = AuditFact {
        outcome: AuditOutcome::Denied,
        status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
        code: Some(Code::TooMany.as_str().to_owned()),
        detail: Some(finding.as_str().to_owned()),
        resource_type: person.map(|_| "user".to_owned()),
        resource_id: person.map(|person| person.to_string()),
        count: 1,
    };
    if let Err(error) = write.app.audit.enqueue(&call, fact) {
        tracing::error!(%error, "what the ladder noticed could not be audited");
    }
}

/// Verifies a password, or does as much for nobody's.
///
/// # Errors
/// ERR-RATE-429, ERR-SYS-503: then nobody has learnt anything.
pub async fn verify(
    app: &App,
    password: &Password,
    known: Option<&Known>,
) -> Result<Option<(PasswordHash, bool)>, Problem> {
    let Some(hash) = known.and_then(Known::hash) else {
        app.sign_in.hasher.verify_nothing(password).await?;
        return Ok(None);
    };
    Ok(match app.sign_in.hasher.verify(password, hash).await {
        Ok(Verdict::Right { rehash }) => Some((hash.clone(), rehash)),
        Ok(Verdict::Wrong) => None,
        Err(HashError::Unverifiable) => {
            tracing::error!("a stored password's hash can't be verified: its person has to reset it");
            None
        }
        Err(error) => return Err(error.into()),
    })
}

/// Judges a person's new password by what all their tenants ask, and hashes it (FR-AUTH-006). `joining`: the tenant whose
/// invitation they are about to accept.
///
/// # Errors
/// ERR-VAL-422 `weak_password`, with the rules it breaks; ERR-RATE-429; ERR-SYS-503.
pub async fn new_password(
    app: &App,
    password: &Password,
    known: &Known,
    joining: Option<TenantId>,
) -> Result<PasswordHash, Problem> {
    let hasher = &app.sign_in.hasher;
    let policy = app.access.current(false)?.password_policy(known.person, joining);
    let broken = hasher.judge(policy, password, &known.about()).await?;
    if !broken.is_empty() {
        let error = |rule: &crate::passwords::Broken| {
            FieldError::body("/password", format!("{}: {rule}", rule.word()))
        };
        let errors = broken.iter().map(error).collect();
        return Err(Problem { errors, ..Problem::rule("weak_password") });
    }
    Ok(hasher.hash(password).await?)
}

/// For which tenant a session is to be: the one that is asked for, else the person's only one, else none in particular.
///
/// # Errors
/// ERR-AUTH-403 `wrong_org`: they don't belong to the one that was asked for, or to none at all. ERR-SYS-503.
pub fn tenant_of_session(
    app: &App,
    person: PersonId,
    asked: Option<TenantId>,
) -> Result<Option<TenantId>, Problem> {
    let memberships = app.access.current(false)?.active_memberships(person);
    let wrong = || Problem::forbidden("wrong_org");
    match (asked, &memberships[..]) {
        (Some(asked), all) if all.iter().any(|member| member.tenant == asked) => Ok(Some(asked)),
        (Some(_), _) | (None, []) => Err(wrong()),
        (None, [only]) => Ok(Some(only.tenant)),
        (None, _) => Ok(None),
    }
}

/// For what takes the second factor away, or stands in for it: the password alone is not enough.
///
/// # Errors
/// ERR-AUTH-401 `fresh_authentication_required`: the session began without it.
pub fn showed_second_factor<B>(write: &Write<B>) -> Result<(), Problem> {
    match write.caller.session {
        Some(session) if session.second_factor => Ok(()),
        _ => Err(Problem::unauthenticated("fresh_authentication_required")),
    }
}

/// A login that is about to be decided.
pub struct Begin {
    pub person: PersonId,
    pub tenant: Option<TenantId>,
    pub checked: Checked,
    pub device: Uuid,
    pub second_factor: Option<SecondFactor>,
    /// If a tenant's provider vouched for them.
    pub sso: Option<BySso>,
}

/// What is otherwise in a session that a tenant's provider began.
#[derive(Clone, Copy, Debug)]
pub struct BySso {
    /// The one that can come of the sign-in.
    pub session: SessionId,
    /// What ends the member or the provider after this ends the session too, and may come before its beginning.
    pub known_at: Position,
    pub authenticated_at: DateTime<Utc>,
}

/// What became of it.
pub enum Begun {
    Session(Box<Response>),
    /// ERR-AUTH-461
    SecondFactorRequired,
    /// ERR-AUTH-461, and a code is to be mailed.
    MailedCodeRequired,
    SecondFactorWrong,
    /// Meanwhile the password was changed, or the person disabled.
    Refused,
}

/// Begins a session, and answers with its tokens.
///
/// # Errors
/// Whatever dispatch refuses but for what [`Begun`] names.
pub async fn begin<B>(write: &mut Write<B>, wish: Begin, account: &[u8; 32]) -> Result<Begun, Problem> {
    let now = write.now();
    let session = wish.sso.map_or_else(|| SessionId(write.app.ids.fresh()), |sso| sso.session);
    let secret = random::<32>().map_err(|_| Problem::unexpected())?;
    let shown = Shown::of(&wish.checked, wish.second_factor.as_ref());
    act_as(write, wish.person, wish.tenant)?;
    let command = UserCommand::LogIn(Box::new(LogIn {
        session,
        tenant: wish.tenant,
        checked: wish.checked,
        second_factor: wish.second_factor,
        asks_if_unusual: write.app.sign_in.risk == SignInRisk::Ask,
        device: wish.device,
        origin: risk::origin(write),
        token_hash: hash_of(&secret),
        now,
        expires_at: now + crate::tickets::SESSION_IDLE_MAX,
    }));
    let receipt = match write.try_dispatch::<User>(wish.person.0, command).await {
        Ok(receipt) => receipt,
        Err(DispatchError::Rejected { rejection, .. }) => {
            return Ok(match rejection {
                UserRejection::SecondFactorRequired => Begun::SecondFactorRequired,
                UserRejection::MailedCodeRequired => Begun::MailedCodeRequired,
                UserRejection::SecondFactorWrong => Begun::SecondFactorWrong,
                _ => Begun::Refused,
            });
        }
        Err(error) => return Err(error.into()),
    };
    // Somebody had this session before.
    if !receipt.changed() {
        return Ok(Begun::Refused);
    }
    let began_at = receipt.position.ok_or_else(Problem::unexpected)?.position;
    let (began_at, authenticated_at) =
        wish.sso.map_or((began_at, now), |sso| (began_at.min(sso.known_at), sso.authenticated_at));
    let tickets = &write.app.sign_in.tickets;
    let of = (wish.person, session, wish.tenant);
    let token = tickets.first_refresh_token(of, began_at, authenticated_at, shown, secret);
    // What a provider vouches for makes no device known.
    let device = wish.sso.is_none().then(|| tickets.device_text(account, wish.device));
    Ok(Begun::Session(Box::new(issue(&write.app, &token, write.caller.role, device, now)?)))
}

/// From here on the request is the person's, who has shown who they are.
///
/// # Errors
/// ERR-SYS-503
pub fn act_as<B>(write: &mut Write<B>, person: PersonId, tenant: Option<TenantId>) -> Result<(), Problem> {
    let role = role_in(&write.app, person, tenant)?;
    write.caller = Caller::of_person(person, tenant, role);
    write.tenant = tenant;
    if let Some(tenant) = tenant {
        write.in_tenant(tenant);
    }
    Ok(())
}

/// The role of a membership; `None` if there is none, or no tenant.
///
/// # Errors
/// ERR-SYS-503
pub fn role_in(app: &App, person: PersonId, tenant: Option<TenantId>) -> Result<Option<Role>, Problem> {
    let Some(tenant) = tenant else { return Ok(None) };
    Ok(app.access.current(false)?.membership(tenant, person).map(|member| member.role))
}

/// The problem that asks for the second factor, and what goes on with it.
pub fn second_factor_wanted(app: &App, challenge: &Challenge, known: &Known) -> Problem {
    let of = &known.state.sign_in;
    let passkey = passkeys::second_factor_options(app, challenge, known);
    let methods = [
        ("totp", of.totp.is_some()),
        ("passkey", passkey.is_some()),
        ("recovery_code", !of.recovery_codes.is_empty()),
    ];
    let methods: Vec<_> = methods.into_iter().filter(|(_, there)| *there).map(|(method, _)| method).collect();
    let mut members = json!({
        "challenge": *app.sign_in.tickets.challenge_text(challenge),
        "methods": methods,
        "expires_in": CHALLENGE_TTL.num_seconds(),
    });
    if let Some(options) = passkey {
        members["passkey"] = options;
    }
    let serde_json::Value::Object(members) = members else { return Problem::unexpected() };
    Problem::second_factor(members)
}
