//! Why somebody is let in or refused, now or at any time since the journal began: which policies say so, and which events
//! made it so.
//!
//! It is decided by what decides at the gate ([`crate::gate::Knowledge`]), on the same memories, folded from the journal up
//! to a position. The present is a position too, so that both can't differ. Policies that come with the binary are those of
//! this binary, whatever time is asked about; those that operators publish are those of that time.

mod evidence;
mod facts;
mod past;
mod session;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use engine::feed::FeedError;
use engine::journal::ReadError;
use kernel::{ApplicationId, KeyId, PersonId, Position, PositionToken, SessionId, ShardId, TenantId};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::authenticate::{stands_in_tenant, still_stands};
use crate::caller::{Caller, Login};
use crate::endpoint::{Endpoint, TenantRule};
use crate::gate::Knowledge;
use crate::policy::{Authorizer, Detail, Effect, PolicyId, Question, Resource};
use crate::problem::Problem;
use crate::state::App;
use crate::url_map::url_map;
use crate::view::{AsOfView, EventView, ExplanationView, HeardView, ReasonView};

use past::Past;

/// Every endpoint, as its rules are.
static ENDPOINTS: LazyLock<Vec<Arc<Endpoint>>> =
    LazyLock::new(|| url_map().endpoints().map(Arc::clone).collect());

/// How many explanations a node makes at once: each reads what may be a long past, and leaves the database to others.
const AT_ONCE_MAX: usize = 8;

static UNDER_WAY: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// The endpoint that an action is the name of.
pub fn endpoint(action: &str) -> Option<Arc<Endpoint>> {
    ENDPOINTS.iter().find(|endpoint| endpoint.action == action).cloned()
}

/// Whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    User {
        id: PersonId,
        /// `None`: as if they had signed in at that moment.
        session: Option<SessionId>,
    },
    Application {
        id: ApplicationId,
        /// `None`: with all keys that are usable, as if they were one.
        key: Option<KeyId>,
    },
}

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct About {
    pub subject: Subject,
    pub endpoint: Arc<Endpoint>,
    pub tenant: TenantId,
    /// Whether a second factor is part of the sign-in. `None`: as the session says; of no session, if they have one.
    pub second_factor: Option<bool>,
}

/// When it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    Now,
    Time(DateTime<Utc>),
    Position(PositionToken),
}

/// A moment: everything up to the position had happened, and it was that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub position: Position,
    pub time: DateTime<Utc>,
}

impl Moment {
    /// The moment that is asked about. Now is as far as this node's memories are.
    ///
    /// # Errors
    /// ERR-VAL-400: it is still to come, or no place in this journal. ERR-SYS-503: the journal can't be read.
    pub async fn of(app: &App, as_of: AsOf) -> Result<Self, Problem> {
        let (shard, now) = (ShardId::default(), app.clock.now());
        match as_of {
            AsOf::Now => {
                let memories = [&app.access.handle, &app.policies.handle, &app.flags.handle];
                let position = memories.iter().filter_map(|handle| handle.position(shard)).max();
                Ok(Self { position: position.unwrap_or_default(), time: now })
            }
            AsOf::Time(time) if time > now => Err(Problem::field("/as_of", "is still to come")),
            AsOf::Time(time) => {
                let position = app.engine.position_at(shard, time).await.map_err(|error| unread(&error))?;
                Ok(Self { position, time })
            }
            AsOf::Position(PositionToken { shard: of, position }) => {
                let never = || Problem::field("/as_of", "is no position that was taken");
                if of != shard {
                    return Err(never());
                }
                let time = app.engine.recorded_at(shard, position).await.map_err(|error| unread(&error))?;
                Ok(Self { position, time: time.ok_or_else(never)? })
            }
        }
    }
}

/// Explains. `within`: the one tenant whose affairs whoever asks may know; who is none of its people is not there for
/// them, and who acted for others has no name.
///
/// # Errors
/// ERR-RES-404: whoever asks may not know of the subject. ERR-SYS-503: the journal can't be read, or eight are under way.
pub async fn explain(
    app: &App,
    about: &About,
    moment: Moment,
    within: Option<TenantId>,
) -> Result<ExplanationView, Problem> {
    let _turn = UNDER_WAY.try_acquire().map_err(|_| Problem::unavailable("overloaded"))?;
    let past = Past::up_to(app, about, moment).await?;
    if within.is_some() && !past.knows_subject(about) {
        return Err(Problem::hidden());
    }
    let knowledge = Knowledge {
        authorizer: &past.authorizer,
        access: &past.access,
        flags: &past.flags,
        policies_doubt: None,
        access_doubt: None,
        now: moment.time,
    };
    let (endpoint, caller) = (&*about.endpoint, caller(&past, about, moment));
    let weighed = match &caller {
        Ok(caller) => Ok(knowledge.weigh(endpoint, caller, Ok(target(about, caller)))),
        Err(problem) => Err(problem.clone()),
    };
    let refusal = match &weighed {
        Ok(weighed) => weighed.refusal.clone(),
        Err(problem) => Some(problem.clone()),
    };
    let decision = weighed.as_ref().ok().map(|weighed| &weighed.decision);
    let by_policy = decision.and_then(|decision| decision.detail);
    let detail = refusal.as_ref().map(|problem| word(by_policy, problem).to_owned());
    let reasons = decision.map_or(&[][..], |decision| &decision.determining);
    let view = |event: &kernel::Envelope| EventView::of(event, within);
    Ok(ExplanationView {
        decision: if refusal.is_none() { "allow" } else { "deny" },
        would_be_asked: would_be_asked(about, detail.as_deref()),
        detail,
        heard: refusal.as_ref().map(HeardView::from),
        policies: reasons
            .iter()
            .map(|policy| reason(&past, endpoint.action, policy, &view, within))
            .collect(),
        facts: past.evidence.told(|fact| past.matters(about, fact) && is_theirs(fact.0, within), view),
        question: weighed.as_ref().ok().map(|weighed| question(&past.authorizer, &weighed.question)),
        as_of: AsOfView::of(moment),
        policy_version: env!("CARGO_PKG_VERSION"),
    })
}

/// How somebody signs in is no tenant's to know, nor an application's.
fn is_theirs(name: &evidence::Name, within: Option<TenantId>) -> bool {
    within.is_none() || name.fact != "person.second_factor"
}

/// Who would stand at the gate: whoever is signed in or has a key, as far as that still stands.
fn caller(past: &Past, about: &About, moment: Moment) -> Result<Caller, Problem> {
    if about.endpoint.anyone {
        return Ok(Caller::stranger());
    }
    match about.subject {
        Subject::User { id, session } => {
            let (login, of_tenant) = match session {
                Some(_) => past.session(about, moment.time)?,
                None => {
                    let second_factor = past.access.has_second_factor(id);
                    let (began_at, authenticated_at) = (moment.position, moment.time);
                    let id = SessionId(Uuid::nil());
                    // Where members come by a provider of the tenant's, so would they.
                    let in_tenant = about.endpoint.tenant != TenantRule::Caller;
                    let sso = in_tenant && past.access.sso_required(about.tenant);
                    (Login { id, began_at, authenticated_at, second_factor, sso }, false)
                }
            };
            let second_factor = about.second_factor.unwrap_or(login.second_factor);
            let session = Some(Login { second_factor, ..login });
            let mut caller = Caller { session, ..Caller::of_person(id, Some(about.tenant), None) };
            still_stands(&past.access, &caller, id)?;
            let stands = stands_in_tenant(&mut caller, || Ok(&past.access));
            // A session for one tenant ends with the membership; one for all is just not for this tenant.
            stands.map_err(|problem| if of_tenant { Problem::session_ended() } else { problem })?;
            Ok(caller)
        }
        Subject::Application { id, key } => {
            let keys = past.access.keys_of(id).into_iter();
            let usable = keys.filter(|known| known.is_usable(moment.time));
            let scopes: Vec<_> = match key {
                None => usable.map(|known| known.scopes).collect(),
                Some(key) => usable.filter(|known| known.key == key).map(|known| known.scopes).collect(),
            };
            if scopes.is_empty() {
                return Err(Problem::unauthenticated("invalid_token"));
            }
            let scopes: BTreeSet<_> = scopes.into_iter().flatten().collect();
            Ok(Caller { tenant: Some(about.tenant), ..Caller::of_application(id, &scopes) })
        }
    }
}

/// The tenant that the call is about: the one that is asked about, wherever the endpoint says which.
fn target(about: &About, caller: &Caller) -> Option<TenantId> {
    match about.endpoint.tenant {
        TenantRule::Platform => caller.tenant.filter(|_| caller.application().is_some()),
        TenantRule::Caller => caller.tenant,
        TenantRule::Own | TenantRule::Path(_) | TenantRule::Connected => Some(about.tenant),
    }
}

/// Why they are refused: in the policies' word if it is for them, else in that of the problem.
fn word(by_policy: Option<Detail>, problem: &Problem) -> &str {
    match by_policy {
        Some(detail) if detail.problem().detail == problem.detail => detail.as_str(),
        _ => &problem.detail,
    }
}

/// What they would have to show in addition.
fn would_be_asked(about: &About, detail: Option<&str>) -> Vec<&'static str> {
    const FRESH: &str = "fresh_authentication_required";
    let signed_in = matches!(about.subject, Subject::User { .. }) && !about.endpoint.anyone;
    match detail {
        Some(detail) if detail == Detail::MfaRequired.as_str() => vec!["second_factor"],
        Some(FRESH) => vec!["fresh_authentication"],
        None if about.endpoint.fresh && signed_in => vec!["fresh_authentication"],
        _ => vec![],
    }
}

/// A policy that the decision rests on.
fn reason(
    past: &Past,
    action: &str,
    policy: &PolicyId,
    view: &impl Fn(&kernel::Envelope) -> EventView,
    within: Option<TenantId>,
) -> ReasonView {
    let read = past.authorizer.policy(action, policy);
    let id = policy.to_string();
    let published = id.parse().ok().and_then(|id: Uuid| past.published.get(&id));
    let effect = match read.as_ref().map(crate::policy::Policy::effect) {
        Some(Effect::Permit) => "permit",
        Some(Effect::Forbid) => "forbid",
        None => "unreadable",
    };
    let text = match published {
        // It may speak of others, and says how to get around it.
        Some(_) if within.is_some() => None,
        Some(published) => Some(published.text.clone()),
        None => read.map(|policy| policy.to_string()),
    };
    ReasonView {
        source: if id.parse::<Uuid>().is_ok() { "published" } else { "built_in" },
        id,
        effect,
        text,
        published_by: published.map(|published| view(&published.event)),
    }
}

/// What policies were told, by the names they have for it.
fn question(authorizer: &Authorizer, question: &Question<'_>) -> Value {
    let (principal, resource) = authorizer.types(question);
    let caller = question.caller;
    let asks = match principal.as_str() {
        "Person" => json!({
            "type": principal, "role": caller.role, "kind": question.kind, "holds": question.holds,
            "within": caller.is_within(question.action), "mfa": question.mfa, "sso": caller.is_by_sso(),
            "scopes": caller.scopes,
        }),
        "Individual" => json!({
            "type": principal, "mfa": question.mfa, "limited": caller.limited.is_some(),
            "sso": caller.is_by_sso(), "scopes": caller.scopes,
        }),
        "Application" => json!({
            "type": principal, "role": caller.role, "scopes": caller.scopes, "connected": question.connected,
        }),
        _ => json!({"type": principal}),
    };
    let about = match question.resource {
        Resource::Platform | Resource::Account => json!({"type": resource}),
        Resource::Tenant { mode, status, mfa_required, sso_required, .. } => {
            let status = status.map_or("unknown", |status| status.as_str());
            json!({
                "type": resource, "mode": mode, "status": status, "mfa_required": mfa_required,
                "sso_required": sso_required,
            })
        }
    };
    json!({
        "principal": asks, "action": question.action, "resource": about,
        "context": {"mutates": question.mutates, "when_blocked": question.when_blocked, "now": question.now},
    })
}

fn unread(error: &FeedError) -> Problem {
    tracing::warn!(%error, "the journal could not be read for an explanation");
    Problem::unavailable("database")
}

fn unreadable(error: &ReadError) -> Problem {
    tracing::warn!(%error, "the journal could not be read for an explanation");
    Problem::unavailable("database")
}

#[cfg(test)]
mod tests;
