//! What a decision rests on, by name. Each fact is asked of the memories that the gate asks.

use chrono::{DateTime, Utc};
use kernel::{ApplicationId, PersonId, RoleId};
use projections::{AccessMemory, FlagMemory};
use schemas::values::{MembershipStatus, Permission};
use serde_json::{Value, json};

use super::evidence::Name;
use super::session::Session;
use super::{About, Subject};

pub(super) const KEY_SCOPES: &str = "key.scopes";
pub(super) const ROLE_PERMISSION: &str = "role.permission";

type Facts = Vec<(Name, Value)>;

/// Where facts come from.
pub(super) struct Sources<'a> {
    pub access: &'a AccessMemory,
    pub flags: &'a FlagMemory,
    pub session: Option<&'a Session>,
    /// The role of the tenant's own that the member has, or had.
    pub role: Option<RoleId>,
}

/// What is so. A thing that is not there has a status of `null`, and no more facts.
pub(super) fn all(of: &Sources<'_>, about: &About, now: DateTime<Utc>) -> Facts {
    let Sources { access, flags, session, role } = *of;
    let mut facts = of_tenant(access, about);
    match about.subject {
        Subject::User { id, .. } => {
            facts.extend(of_person(access, id));
            facts.extend(of_membership(access, about, id));
            facts.extend(role.into_iter().flat_map(|role| of_role(access, about, role)));
            facts.extend(session.map(|session| of_session(access, session, about, id, now)));
        }
        Subject::Application { id, .. } => {
            facts.extend(of_application(access, id, now));
            let connected = flags.tenant(about.tenant).is_some_and(|flags| flags.applications.contains(&id));
            facts.push((
                Name::new("application.connected"),
                if connected { json!(true) } else { Value::Null },
            ));
        }
    }
    facts
}

fn of_tenant(access: &AccessMemory, about: &About) -> Facts {
    let Some(tenant) = access.tenant(about.tenant) else {
        return vec![(Name::new("tenant.status"), Value::Null)];
    };
    let mut facts = vec![
        (Name::new("tenant.status"), json!(tenant.status())),
        (Name::new("tenant.access_mode"), json!(tenant.mode)),
        (Name::new("tenant.mfa_required"), json!(tenant.mfa_required)),
        (Name::new("tenant.sso_required"), json!(access.sso_required(about.tenant))),
        (Name::new("tenant.plan"), json!(access.plan(about.tenant))),
    ];
    if tenant.unverified {
        facts.push((Name::new("tenant.unverified"), json!(true)));
    }
    facts.extend(tenant.trial_ends_at.map(|end| (Name::new("tenant.trial_ends_at"), json!(end))));
    facts
}

fn of_person(access: &AccessMemory, person: PersonId) -> Facts {
    let status = access.person(person);
    let mut facts = vec![(Name::new("person.status"), json!(status))];
    if status.is_some() {
        facts.push((Name::new("person.second_factor"), json!(access.has_second_factor(person))));
    }
    facts
}

fn of_membership(access: &AccessMemory, about: &About, person: PersonId) -> Facts {
    let Some(member) = access.membership(about.tenant, person) else {
        return vec![(Name::new("membership.status"), Value::Null)];
    };
    let mut facts = vec![(Name::new("membership.status"), json!(member.status))];
    // Who was removed has no role any more; whoever is invited again is given one anew.
    if member.status == MembershipStatus::Removed {
        return facts;
    }
    facts.push((Name::new("membership.role"), json!(member.role)));
    facts.push((Name::new("membership.kind"), json!(member.kind)));
    facts.push((Name::new("membership.mfa_required"), json!(member.mfa_required)));
    let given = access.grants(member.membership);
    facts.extend(given.custom_role.map(|role| (Name::new("membership.custom_role"), json!(role))));
    let covers = |permission: &&Permission| permission.covers_action(about.endpoint.action);
    let alone = given.permissions.iter().filter(covers);
    facts.extend(alone.map(|it| (Name::one_of("membership.permission", it), json!(true))));
    facts
}

/// What a role of the tenant's own gives that covers the action.
fn of_role(access: &AccessMemory, about: &About, role: RoleId) -> Facts {
    let role = access.role(role).filter(|role| role.tenant == about.tenant);
    let gives = role.map(|role| role.permissions).unwrap_or_default();
    let covering = gives.iter().filter(|permission| permission.covers_action(about.endpoint.action));
    covering.map(|it| (Name::one_of(ROLE_PERMISSION, it), json!(true))).collect()
}

/// Open, ended or expired; `null`: it never began.
fn of_session(
    access: &AccessMemory,
    session: &Session,
    about: &About,
    person: PersonId,
    now: DateTime<Utc>,
) -> (Name, Value) {
    let name = Name::new("session.status");
    let Some(begun) = session.begun else { return (name, Value::Null) };
    let began_at = begun.login.began_at;
    let member = access.membership(about.tenant, person);
    let ended = session.ended
        || !access.session_stands(person, begun.login.id, began_at)
        || access.tenant(about.tenant).is_some_and(|tenant| began_at < tenant.ended_at)
        || (begun.login.sso && began_at < access.sso_ended_at(about.tenant))
        || member.is_some_and(|member| began_at < member.ended_at);
    let word = match (ended, begun.expires_at <= now) {
        (true, _) => "ended",
        (false, true) => "expired",
        (false, false) => "open",
    };
    (name, json!(word))
}

fn of_application(access: &AccessMemory, application: ApplicationId, now: DateTime<Utc>) -> Facts {
    let mut facts = vec![(Name::new("application.status"), json!(access.application(application)))];
    for key in access.keys_of(application) {
        // A disabled application's keys are there; that it is disabled says its status.
        if !key.revoked && key.expires_at.is_none_or(|end| now < end) {
            facts.push((Name::one_of(KEY_SCOPES, key.key), json!(key.scopes)));
        }
    }
    facts
}
