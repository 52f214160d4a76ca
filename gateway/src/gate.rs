//! The gate: every request passes it, and it carries out what its endpoint's entry in the URL map says.
//!
//! Rate limits → authenticate → `x-org` → tenant, its status and access mode → policies → handler → audit (REQUIREMENTS §4). The gate
//! finds out who asks for what; whether they may is for the policies to say ([`crate::policy`]), and what none permits
//! is refused. Everything runs in a task of its own, so that a client that hangs up can't keep its call out of the
//! audit trail.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use engine::ledger::LedgerError;
use futures::FutureExt;
use kernel::{ActorKind, TenantId};
use projections::{AccessMemory, FlagMemory};
use schemas::values::{AccessMode, MembershipKind, TenantStatus};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;
use uuid::Uuid;

use crate::admission::{Share, ShareIsFull};
use crate::audit::Call;
use crate::authenticate::{authenticate, in_tenant, picked_tenant};
use crate::caller::Caller;
use crate::endpoint::{Audited, Endpoint, FRESH_FOR, TenantRule};
use crate::policy::{Authorizer, Decision, Detail, PolicyId, Question, Resource};
use crate::problem::{Code, Problem};
use crate::rates::{Class, Exceeded, Standing};
use crate::report::Report;
use crate::request::RequestInfo;
use crate::state::{App, AppState};

/// How long an answer waits for its entry in the audit trail. The entry may still be written after that.
const AUDITED_WITHIN: Duration = Duration::from_secs(10);

/// The gate of one endpoint.
#[derive(Clone)]
pub struct Gate {
    pub app: AppState,
    pub endpoint: Arc<Endpoint>,
}

/// Beside each request that was let in: who, what, on which tenant. Extractors take it from there.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub endpoint: Arc<Endpoint>,
    pub caller: Caller,
    /// The tenant it concerns.
    pub tenant: Option<TenantId>,
    /// The policies that let it in.
    pub policies: Arc<[PolicyId]>,
    pub info: RequestInfo,
    pub report: Report,
}

/// The middleware.
pub async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Gate { app, endpoint } = gate;
    let Some(info) = request.extensions().get::<RequestInfo>().cloned() else {
        tracing::error!("a request reached the gate without what the outermost layer knows of it");
        return Problem::unexpected().into_response();
    };
    let mut call =
        Call { action: endpoint.action, caller: Caller::stranger(), tenant: None, resource: None, info };
    // Before anything is done for it: also who asks without end with forged tokens.
    if let Err(over) = arrive(&app, &endpoint, &call) {
        return over.standing.beside(turned_away(&app, &call, over.problem()));
    }
    let (mut parts, body) = request.into_parts();
    // Waits for nothing, so that nothing gathers before it is known whose it is.
    let checked = match RawPathParams::from_request_parts(&mut parts, &()).await {
        Ok(params) => {
            call.resource = resource(&endpoint, &params);
            check(&app, &endpoint, &parts, &params, &mut call)
        }
        Err(_) => Err(Problem::parameter("path", "is not valid UTF-8")),
    };
    let standing = match ask(&app, &endpoint, &call) {
        Ok(standing) => standing,
        Err(over) => return over.standing.beside(turned_away(&app, &call, over.problem())),
    };
    let beside = move |response| match &standing {
        Some(standing) => standing.beside(response),
        None => response,
    };
    let room = match admit(&app, &endpoint, &call) {
        Ok(room) => room,
        Err(problem) => return beside(turned_away(&app, &call, problem)),
    };
    let request = Request::from_parts(parts, body);
    let work = async move {
        let response = carry_out(&app, &endpoint, call, checked, request, next).await;
        drop(room);
        response
    };
    match tokio::spawn(work.in_current_span()).await {
        Ok(response) => beside(response),
        Err(error) => {
            tracing::error!(%error, "a request's task ended early");
            Problem::unexpected().into_response()
        }
    }
}

/// Refuses what there is no room for.
fn turned_away(app: &App, call: &Call, problem: Problem) -> Response {
    // It is refused in any case; strangers' kinds always have room, and so have most others.
    let _ = app.audit.refused(call, call.fact(problem.status.as_u16(), Some(&problem)));
    problem.into_response()
}

/// Counts a request for its address; the rest is not known yet.
fn arrive(app: &App, endpoint: &Endpoint, call: &Call) -> Result<(), Exceeded> {
    Class::of(endpoint).map_or(Ok(()), |_| app.rates.arrives(call.info.address, app.clock.now()))
}

/// Counts a request for its caller and its tenant, whatever it will be answered.
fn ask(app: &App, endpoint: &Endpoint, call: &Call) -> Result<Option<Standing>, Exceeded> {
    let Some(class) = Class::of(endpoint) else { return Ok(None) };
    app.rates.asks(class, &call.caller, call.info.address, call.tenant, app.clock.now())
}

/// Room for a request, while it is under way.
type Room = Option<(Option<Share>, OwnedSemaphorePermit)>;

/// Finds room for a request: first in its tenant's share, so that one tenant's flood leaves the node's to its neighbours.
fn admit(app: &App, endpoint: &Endpoint, call: &Call) -> Result<Room, Problem> {
    // Probes must be answered, most of all under load.
    if matches!(endpoint.audited, Audited::Never(_)) {
        return Ok(None);
    }
    let share = call.tenant.map(|tenant| app.admission.share_of(tenant)).transpose();
    let share = share.map_err(|ShareIsFull| Problem::new(Code::TooMany, "overloaded"))?;
    let permit = app.admission.enter().ok_or_else(|| Problem::unavailable("overloaded"))?;
    Ok(Some((share, permit)))
}

async fn carry_out(
    app: &AppState,
    endpoint: &Arc<Endpoint>,
    call: Call,
    checked: Result<Vec<PolicyId>, Problem>,
    mut request: Request,
    next: Next,
) -> Response {
    let report = Report::default();
    let response = match checked {
        Ok(policies) => {
            request.extensions_mut().insert(Admitted {
                endpoint: Arc::clone(endpoint),
                caller: call.caller.clone(),
                tenant: call.tenant,
                policies: policies.into(),
                info: call.info.clone(),
                report: report.clone(),
            });
            handle(app, endpoint, request, next).await
        }
        Err(problem) => problem.into_response(),
    };
    audit(app, endpoint, call, &report, response).await
}

/// Runs the handler: in bounded time, and a panic is its own affair.
async fn handle(app: &App, endpoint: &Endpoint, request: Request, next: Next) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(app.limits.handler_timeout, handled).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(action = endpoint.action, "a handler panicked");
            Problem::unexpected().into_response()
        }
        // What was handed to the journal's writer may still be carried out.
        Err(_) if endpoint.mutates => Problem::unavailable("outcome_unknown").into_response(),
        Err(_) => Problem::unavailable("timeout").into_response(),
    }
}

/// Who, whether, and on which tenant: the policies that let it in. `call` tells as much as was found out before a refusal.
fn check(
    app: &App,
    endpoint: &Endpoint,
    parts: &Parts,
    params: &RawPathParams,
    call: &mut Call,
) -> Result<Vec<PolicyId>, Problem> {
    let target = if endpoint.anyone {
        Ok(None)
    } else {
        call.caller = authenticate(app, &parts.headers, endpoint.serves_stale)?;
        call.tenant = call.caller.tenant;
        call.caller.tenant = picked_tenant(&parts.headers, &call.caller)?;
        in_tenant(app, &mut call.caller, endpoint.serves_stale)?;
        target(endpoint, parts, params, &mut call.caller)
    };
    let Weighed { tenant, decision, refusal, .. } =
        Knowledge::at_the_gate(app, endpoint.serves_stale).weigh(endpoint, &call.caller, target);
    // Whose tenant it is hears of it, but not of a stranger.
    let concerns = !decision.determining.is_empty() && decision.detail != Some(Detail::Hidden);
    if let (true, Some(tenant)) = (concerns, tenant) {
        call.tenant = Some(tenant);
    }
    match refusal {
        None => Ok(decision.determining),
        Some(problem) => {
            tracing::debug!(action = endpoint.action, policies = ?decision.determining, "refused");
            Err(problem)
        }
    }
}

/// What a decision rests on: at the gate, what this node knows now; where it is explained, what was so then. Nothing else
/// is asked, so that an explanation says what the gate says.
pub(crate) struct Knowledge<'a> {
    pub authorizer: &'a Authorizer,
    pub access: &'a AccessMemory,
    pub flags: &'a FlagMemory,
    /// Why it can't be known whether other policies are in force.
    pub policies_doubt: Option<Problem>,
    /// Why it can't be known whether access is otherwise by now.
    pub access_doubt: Option<Problem>,
    pub now: DateTime<Utc>,
}

/// What comes of a call.
pub(crate) struct Weighed<'a> {
    /// The tenant it is about.
    pub tenant: Option<TenantId>,
    pub question: Question<'a>,
    pub decision: Decision,
    /// What the caller hears, unless they are let in.
    pub refusal: Option<Problem>,
}

impl<'a> Knowledge<'a> {
    fn at_the_gate(app: &'a App, stale: bool) -> Self {
        Self {
            authorizer: &app.authorizer,
            access: &app.access.memory,
            flags: &app.flags.memory,
            policies_doubt: app.policies.current(stale).err(),
            access_doubt: app.access.current(stale).err(),
            now: app.clock.now(),
        }
    }

    /// A personal token counts as one that showed a second factor while its person has one; a session is short.
    fn has_it_still(&self, caller: &Caller) -> bool {
        let limited = caller.limited.as_ref().and_then(|_| caller.person());
        limited.is_none_or(|person| self.access.has_second_factor(person))
    }

    /// Whether a caller is let in. `target`: the tenant it is about, or why that can't be told.
    pub(crate) fn weigh<'q>(
        &self,
        endpoint: &'q Endpoint,
        caller: &'q Caller,
        target: Result<Option<TenantId>, Problem>,
    ) -> Weighed<'q> {
        let Known { tenant, resource, kind, holds, connected, doubt } =
            Known::of(self, endpoint, caller, target);
        let question = Question {
            action: endpoint.action,
            caller,
            kind,
            holds,
            mfa: caller.second_factor() && self.has_it_still(caller),
            resource,
            connected,
            mutates: endpoint.mutates,
            when_blocked: endpoint.when_blocked,
            now: self.now,
        };
        let decision = self.authorizer.decide(&question);
        let refusal = match (decision.detail, doubt) {
            (None | Some(Detail::Blocked), Some(doubt)) => Some(doubt),
            (None, None) if endpoint.fresh && !is_fresh(self.now, caller) => {
                Some(Problem::unauthenticated("fresh_authentication_required"))
            }
            (None, None) => None,
            (Some(detail), _) => Some(told(self.access, caller, detail)),
        };
        Weighed { tenant, question, decision, refusal }
    }
}

/// How a refusal is told. Who lacks a second factor hears how to get in with one: who has none enrols first.
fn told(access: &AccessMemory, caller: &Caller, detail: Detail) -> Problem {
    if detail != Detail::MfaRequired {
        return detail.problem();
    }
    // Whom a provider let in enrols nothing.
    let enrolled =
        caller.is_by_sso() || caller.person().is_some_and(|person| access.has_second_factor(person));
    let method = if enrolled { "log_in" } else { "enrol" };
    detail.problem().with_members(Map::from_iter([("methods".to_owned(), Value::from(vec![method]))]))
}

/// The tenant it is about. `None`: none in particular.
fn target(
    endpoint: &Endpoint,
    parts: &Parts,
    params: &RawPathParams,
    caller: &mut Caller,
) -> Result<Option<TenantId>, Problem> {
    match endpoint.tenant {
        TenantRule::Platform => Ok(caller.tenant.filter(|_| caller.application().is_some())),
        TenantRule::Caller => Ok(caller.tenant),
        TenantRule::Own => caller.tenant.map(Some).ok_or_else(|| Problem::forbidden("wrong_org")),
        TenantRule::Path(name) => of_path(params, name).map(Some),
        TenantRule::Connected => named(parts, caller).map(Some),
    }
}

/// RFC 9470
fn is_fresh(now: DateTime<Utc>, caller: &Caller) -> bool {
    caller.session.is_some_and(|session| now - session.authenticated_at < FRESH_FOR)
}

fn of_path(params: &RawPathParams, name: &str) -> Result<TenantId, Problem> {
    let text = params.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    text.and_then(|text| Uuid::try_parse(text).ok())
        .map(TenantId)
        .ok_or_else(|| Problem::parameter(name, "is not a UUID"))
}

/// The tenant an application names, by `?tenant=` or by `x-org`.
fn named(parts: &Parts, caller: &mut Caller) -> Result<TenantId, Problem> {
    let query = parts.uri.query().unwrap_or_default();
    let mut asked = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "tenant");
    let tenant = match (asked.next(), asked.next()) {
        (_, Some(_)) => return Err(Problem::parameter("tenant", "is given twice")),
        (Some((_, text)), None) => {
            let tenant = Uuid::try_parse(&text).map_err(|_| Problem::parameter("tenant", "is not a UUID"))?;
            Some(TenantId(tenant))
        }
        (None, None) => None,
    };
    let tenant = match (tenant, caller.tenant) {
        (Some(asked), Some(own)) if asked != own => return Err(Problem::forbidden("wrong_org")),
        (Some(tenant), _) | (None, Some(tenant)) => tenant,
        (None, None) => return Err(Problem::parameter("tenant", "is missing: name it here or by x-org")),
    };
    caller.tenant = Some(tenant);
    Ok(tenant)
}

/// What policies are told of the tenant, and of the caller in it.
struct Known {
    tenant: Option<TenantId>,
    resource: Resource,
    kind: MembershipKind,
    /// What they were given in it covers the action.
    holds: bool,
    connected: bool,
    /// Why it can't be carried out even if the policies let it in: they were asked on an assumption. Told only to whom
    /// they don't refuse for another reason, so that nobody learns by it what they may not know.
    doubt: Option<Problem>,
}

impl Known {
    fn of(
        knowledge: &Knowledge<'_>,
        endpoint: &Endpoint,
        caller: &Caller,
        target: Result<Option<TenantId>, Problem>,
    ) -> Self {
        let kind = MembershipKind::Staff;
        let nowhere = Self {
            tenant: None,
            resource: Resource::Platform,
            kind,
            holds: false,
            connected: false,
            doubt: None,
        };
        if endpoint.tenant == TenantRule::Caller {
            // Whatever becomes of the tenant, they look after themselves.
            let doubt = knowledge.policies_doubt.clone();
            return Self { tenant: caller.tenant, resource: Resource::Account, doubt, ..nowhere };
        }
        match target {
            // Whoever is to sign in must not get past what was forbidden a moment ago.
            Ok(None) if endpoint.anyone && endpoint.mutates => {
                Self { doubt: knowledge.policies_doubt.clone(), ..nowhere }
            }
            Ok(None) => nowhere,
            Ok(Some(tenant)) => Self::of_tenant(knowledge, endpoint, caller, tenant),
            // It can't be told which tenant they mean: would they be let in if it were theirs, and active?
            Err(problem) => {
                let id = caller.tenant.unwrap_or(TenantId(Uuid::nil()));
                let (mode, status) = (AccessMode::Active, Some(TenantStatus::Active));
                let resource =
                    Resource::Tenant { id, mode, status, mfa_required: false, sso_required: false };
                Self { resource, connected: true, doubt: Some(problem), ..nowhere }
            }
        }
    }

    /// A tenant's status and access mode decide what its members and applications may do in it (REQUIREMENTS §4).
    fn of_tenant(knowledge: &Knowledge<'_>, endpoint: &Endpoint, caller: &Caller, id: TenantId) -> Self {
        let Knowledge { access, flags, policies_doubt, access_doubt, now, .. } = knowledge;
        // Who runs the platform, and what works in a blocked tenant, goes on with what this node knew last.
        let bound = !(caller.is_platform() || endpoint.when_blocked);
        let doubt = match policies_doubt.as_ref().or(access_doubt.as_ref()) {
            Some(problem) if bound => Some(problem.clone()),
            None if bound && access.tenant_is_closed(id) => Some(Problem::unavailable("quarantined")),
            _ => None,
        };
        let kind = kind(access, id, caller);
        // On what was known last, if nothing newer can be: then it opens nothing, and they hear of the doubt.
        let holds = caller.person().is_some_and(|person| access.was_given(id, person, endpoint.action));
        let state = access.tenant(id).filter(|_| doubt.is_none());
        // A tenant that isn't there lets nobody do anything.
        let mode = state.map_or(AccessMode::Blocked, |state| state.effective(kind, *now));
        let (status, of_all) = state.map_or((None, false), |it| (Some(it.status()), it.mfa_required));
        let member = caller.person().and_then(|person| access.membership(id, person));
        let mfa_required = of_all || member.is_some_and(|member| member.mfa_required && doubt.is_none());
        let sso_required = access.sso_required(id) && doubt.is_none();
        let resource = Resource::Tenant { id, mode, status, mfa_required, sso_required };
        // An application sees the tenants it is connected to, and no others.
        let connected = caller.application().is_some_and(|application| {
            flags.tenant(id).is_some_and(|flags| flags.applications.contains(&application))
        });
        Self { tenant: Some(id), resource, kind, holds, connected, doubt }
    }
}

/// Applications count as staff.
fn kind(access: &AccessMemory, tenant: TenantId, caller: &Caller) -> MembershipKind {
    let member = caller.person().and_then(|person| access.membership(tenant, person));
    member.map_or(MembershipKind::Staff, |member| member.kind)
}

/// What the path names, unless it is no id or key: then it could be anything, and is not written down.
fn resource(endpoint: &Endpoint, params: &RawPathParams) -> Option<(&'static str, String)> {
    let (kind, name) = endpoint.resource?;
    let (_, id) = params.iter().find(|(key, _)| *key == name)?;
    let plain = (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    plain.then(|| (kind, id.to_owned()))
}

/// Exactly one entry for the call: the event it made, or one in the ledger.
async fn audit(
    app: &AppState,
    endpoint: &Endpoint,
    mut call: Call,
    report: &Report,
    response: Response,
) -> Response {
    let told = report.told();
    if told.changed || matches!(endpoint.audited, Audited::Never(_)) {
        return response;
    }
    call.tenant = told.tenant.or(call.tenant);
    let told_of_somebody = told.resource.is_some();
    call.resource = told.resource.or(call.resource);
    let problem = response.extensions().get::<Problem>();
    let mut fact = call.fact(response.status().as_u16(), problem);
    // The code tells already what was heard.
    if problem.is_some_and(|problem| problem.code == Code::SecondFactor) {
        fact.detail = told.reasons.or(fact.detail);
    }
    // What strangers try is counted, so that they can't fill the disk, unless it concerns somebody we know: how much
    // of that there may be, the ladder bounds. Nobody waits for either, so that nobody can tell which it was.
    let is_stranger = call.caller.actor.kind == ActorKind::Anonymous;
    let audited = match endpoint.audited {
        _ if is_stranger && told_of_somebody => app.audit.enqueue(&call, fact),
        _ if is_stranger => app.audit.count(&call, &fact),
        // It does not wait for the disk it was refused for.
        _ if problem.is_some_and(Problem::is_no_decision) => app.audit.refused(&call, fact),
        Audited::Queued => app.audit.enqueue(&call, fact),
        Audited::Durably | Audited::Never(_) => {
            let recorded = app.audit.record(call.metadata(), fact);
            tokio::time::timeout(AUDITED_WITHIN, recorded).await.unwrap_or(Err(LedgerError::Unavailable))
        }
    };
    match audited {
        Ok(()) => response,
        Err(error) => {
            tracing::error!(%error, action = endpoint.action, "a call could not be audited, so it fails");
            Problem::unavailable("audit_unavailable").into_response()
        }
    }
}

#[cfg(test)]
mod tests;
