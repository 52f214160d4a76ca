//! From credentials to a caller: access tokens, API keys, personal access tokens, tokens that services sign
//! (REQUIREMENTS §3).

use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use kernel::{Actor, ActorKind, PersonId, Position, TenantId};
use projections::AccessMemory;
use schemas::values::{MembershipStatus, Role, UserStatus};
use uuid::Uuid;

use crate::api_key::{self, ApiKey};
use crate::caller::{Caller, Login};
use crate::personal_token::{self, Limited, PersonalToken};
use crate::problem::Problem;
use crate::state::App;
use crate::token::Claims;

/// Who sent it, as far as the credentials say. `stale`: see [`crate::state::Access::current`].
///
/// # Errors
/// ERR-AUTH-401, ERR-AUTH-440, ERR-SYS-503. An unknown key, a wrong secret and a revoked key look and time alike
/// (CON-SEC-009).
pub fn authenticate(app: &App, headers: &HeaderMap, stale: bool) -> Result<Caller, Problem> {
    let credentials = bearer(headers)?;
    let now = app.clock.now();
    if credentials.starts_with(api_key::PREFIX) {
        return application(app.access.current(stale)?, credentials, now);
    }
    let caller = if credentials.starts_with(personal_token::PREFIX) {
        limited(app.access.current(stale)?, credentials, now)?
    } else {
        match app.keys.tokens.verify(credentials, now) {
            Ok(claims) => holder(claims)?,
            Err(_) => return service(app, credentials, now),
        }
    };
    if let Some(person) = caller.person() {
        still_stands(app.access.current(stale)?, &caller, person)?;
    }
    Ok(caller)
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next().ok_or_else(|| Problem::unauthenticated("missing_token"))?;
    if all.next().is_some() {
        return Err(Problem::unauthenticated("invalid_token"));
    }
    let invalid = || Problem::unauthenticated("invalid_token");
    let (scheme, credentials) = value.to_str().map_err(|_| invalid())?.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::unauthenticated("missing_token"));
    }
    Ok(credentials.trim_start_matches(' '))
}

fn application(access: &AccessMemory, credentials: &str, now: DateTime<Utc>) -> Result<Caller, Problem> {
    let refused = || Problem::unauthenticated("invalid_token");
    let key = ApiKey::parse(credentials).ok_or_else(refused)?;
    let known = access.key(key.id);
    // A key that is not there is compared too.
    let matches = key.matches(known.as_ref().map(|known| &known.hash));
    let known = known.filter(|known| matches && known.is_usable(now)).ok_or_else(refused)?;
    Ok(Caller::of_application(known.application, &known.scopes))
}

/// A person, by a token of theirs: in its tenant, in the role they have there now, within its permissions. An unknown token,
/// a wrong secret, a revoked and an expired one look and time alike (CON-SEC-009).
fn limited(access: &AccessMemory, credentials: &str, now: DateTime<Utc>) -> Result<Caller, Problem> {
    let refused = || Problem::unauthenticated("invalid_token");
    let token = PersonalToken::parse(credentials).ok_or_else(refused)?;
    let known = access.token(token.id);
    // A token that is not there is compared too.
    let matches = token.matches(known.as_ref().map(|known| &known.hash));
    let known = known.filter(|known| matches && known.is_usable(now)).ok_or_else(refused)?;
    let member = access.membership(known.tenant, known.person).ok_or_else(Problem::session_ended)?;
    Ok(Caller {
        scopes: known.permissions.iter().map(|permission| permission.as_str().to_owned()).collect(),
        limited: Some(Limited {
            token: token.id,
            permissions: known.permissions,
            began_at: known.began_at,
            second_factor: known.second_factor,
        }),
        ..Caller::of_person(known.person, Some(known.tenant), Some(member.role))
    })
}

/// A service of ours, by a token that it signed itself. It is asked last, so that nothing else takes longer for it.
fn service(app: &App, credentials: &str, now: DateTime<Utc>) -> Result<Caller, Problem> {
    let service = app.services.verify(credentials, now);
    let service = service.map_err(|_| Problem::unauthenticated("invalid_token"))?;
    Ok(Caller {
        actor: service.actor(),
        role: Some(Role::InternalService),
        scopes: service.scopes.clone(),
        tenant: None,
        session: None,
        limited: None,
    })
}

pub(crate) fn holder(claims: Claims) -> Result<Caller, Problem> {
    let invalid = || Problem::unauthenticated("invalid_token");
    let is_platform = claims.role.is_some_and(Role::is_platform);
    let kind = if is_platform { ActorKind::Operator } else { ActorKind::User };
    let actor = Actor { kind, id: claims.sub };
    let session = Login {
        id: claims.sid.into(),
        began_at: Position(claims.ver),
        authenticated_at: DateTime::from_timestamp(claims.auth_time, 0).ok_or_else(invalid)?,
        second_factor: claims.amr.iter().any(|method| method == "mfa"),
        sso: claims.amr.iter().any(|method| method == "sso"),
    };
    let caller = Caller {
        actor,
        role: claims.role,
        scopes: claims.scopes,
        tenant: claims.tid,
        session: Some(session),
        limited: None,
    };
    match claims.role {
        // A machine has a key; a tenant's role without a tenant is nothing, and nobody's is the persons' alone.
        Some(role) if role.is_machine() || (role.is_tenant() && claims.tid.is_none()) => Err(invalid()),
        None if caller.person().is_none() || claims.tid.is_some() => Err(invalid()),
        _ => Ok(caller),
    }
}

/// A token outlives nothing it rests on: the session, if it is one's, and the person (revocation is immediate).
pub(crate) fn still_stands(access: &AccessMemory, caller: &Caller, person: PersonId) -> Result<(), Problem> {
    let goes_on = match (&caller.session, &caller.limited) {
        (Some(session), _) => access.session_stands(person, session.id, session.began_at),
        (None, Some(limited)) => access.person_stands(person, limited.began_at),
        (None, None) => false,
    };
    let stands = goes_on
        && match access.person(person) {
            // A platform role is the identity provider's to give; a person that is known must not be disabled.
            Some(UserStatus::Disabled) => false,
            Some(UserStatus::Active | UserStatus::Invited) => true,
            None => caller.is_platform(),
        };
    if stands { Ok(()) } else { Err(Problem::session_ended()) }
}

/// In the tenant it is about, a token rests on the tenant, on the membership and on its role too. Whose token is good for
/// several has the role of the membership in the one that was picked.
///
/// # Errors
/// ERR-AUTH-440; ERR-AUTH-403 `wrong_org`: the person does not belong to the tenant that was picked; ERR-SYS-503.
pub fn in_tenant(app: &App, caller: &mut Caller, stale: bool) -> Result<(), Problem> {
    stands_in_tenant(caller, || app.access.current(stale))
}

/// The same, by any memory of access; it is asked only if something rests on it.
pub(crate) fn stands_in_tenant<'a>(
    caller: &mut Caller,
    access: impl FnOnce() -> Result<&'a AccessMemory, Problem>,
) -> Result<(), Problem> {
    let (Some(tenant), Some(began_at)) = (caller.tenant, caller.began_at()) else { return Ok(()) };
    if caller.is_platform() {
        return Ok(());
    }
    let access = access()?;
    let ended = access.tenant(tenant).is_some_and(|tenant| began_at < tenant.ended_at)
        || (caller.is_by_sso() && began_at < access.sso_ended_at(tenant));
    if let Some(person) = caller.person() {
        let member = access.membership(tenant, person);
        let active = member.filter(|member| member.status == MembershipStatus::Active);
        if caller.role.is_none() {
            caller.role = Some(active.ok_or_else(|| Problem::forbidden("wrong_org"))?.role);
        }
        let stands =
            active.is_some_and(|member| Some(member.role) == caller.role && began_at >= member.ended_at);
        if !stands {
            return Err(Problem::session_ended());
        }
    }
    if ended { Err(Problem::session_ended()) } else { Ok(()) }
}

/// The tenant that `x-org` picks.
///
/// # Errors
/// ERR-AUTH-403 `wrong_org`: it is no tenant's id, or the credentials are for another one.
pub fn picked_tenant(headers: &HeaderMap, caller: &Caller) -> Result<Option<TenantId>, Problem> {
    let mut all = headers.get_all("x-org").iter();
    let Some(value) = all.next() else { return Ok(caller.tenant) };
    let wrong = || Problem::forbidden("wrong_org");
    if all.next().is_some() {
        return Err(wrong());
    }
    let picked =
        value.to_str().ok().and_then(|text| Uuid::try_parse(text).ok()).map(TenantId).ok_or_else(wrong)?;
    match caller.tenant {
        Some(tenant) if tenant != picked => Err(wrong()),
        _ => Ok(Some(picked)),
    }
}
