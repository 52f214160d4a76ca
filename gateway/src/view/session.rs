//! A session, as its person and the administrators of its tenant see it.

use aggregates::user::Session;
use chrono::{DateTime, Utc};
use kernel::{Origin, Personal, SessionId, TenantId};
use projections::AccessMemory;
use utoipa::ToSchema;
use uuid::Uuid;

use super::audience::{EVERYONE, MANAGERS, THEMSELF};
use super::fields::fields;
use crate::sign_in::Known;

/// A person signed in somewhere.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = Session, example = json!({
    "id": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b17", "tenant": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b11",
    "device": "018f6b1e-8c3a-7d52-9a4f-3f1f0c9d2b18", "address": "203.0.113.7", "user_agent": "Mozilla/5.0",
    "began_at": "2027-01-01T09:00:00Z", "refreshed_at": "2027-01-01T09:15:00Z",
    "expires_at": "2027-01-08T09:15:00Z", "current": true
}))]
pub struct SessionView {
    pub id: Uuid,
    /// `null`: it is good for all tenants of the person's.
    pub tenant: Option<Uuid>,
    /// The same for all sessions of one device.
    pub device: Uuid,
    /// Where the login came from.
    pub address: Option<String>,
    /// What the device called itself then.
    pub user_agent: Option<String>,
    pub began_at: DateTime<Utc>,
    pub refreshed_at: DateTime<Utc>,
    /// Unless it is refreshed before.
    pub expires_at: DateTime<Utc>,
    /// The one that asks.
    pub current: bool,
}

fields! { SessionView {
    id: EVERYONE,
    // Whether it is good for several tells who belongs to others too.
    tenant: THEMSELF,
    // Where somebody is and with what is theirs to see, and who answers for the tenant's safety.
    device: MANAGERS.or(THEMSELF),
    address: MANAGERS.or(THEMSELF),
    user_agent: MANAGERS.or(THEMSELF),
    began_at: EVERYONE,
    refreshed_at: EVERYONE,
    expires_at: EVERYONE,
    current: EVERYONE,
} }

/// All sessions that go on.
#[derive(Clone, Debug, ToSchema)]
pub struct SessionList {
    pub items: Vec<SessionView>,
}

fields! { SessionList {
    items: EVERYONE,
} }

impl SessionView {
    /// Those that go on, the one used last first; of a tenant: those that reach it. What a suspension or a change of a membership
    /// ended goes on no more. A session that was used since goes on, whatever happened at the moment it began.
    pub fn list(
        access: &AccessMemory,
        of: &Known,
        current: Option<SessionId>,
        tenant: Option<TenantId>,
        now: DateTime<Utc>,
    ) -> SessionList {
        let sessions = of.state.sign_in.sessions.iter();
        let shown = sessions
            .filter(|(_, session)| session.is_live(now))
            .filter(|(_, session)| tenant.is_none_or(|tenant| session.reaches(tenant)))
            .filter(|(_, session)| {
                let Some(tenant) = tenant.or(session.tenant) else { return true };
                // One that is good for all tenants goes on elsewhere after what ended it here.
                let known = if session.tenant.is_none() { session.began_at } else { session.refreshed_at };
                let after = |ended_on| known >= ended_on;
                access.tenant(tenant).is_some_and(|tenant| after(tenant.ended_on))
                    && access.membership(tenant, of.person).is_some_and(|member| after(member.ended_on))
            });
        let mut items: Vec<Self> =
            shown.map(|(id, session)| Self::of(*id, session, Some(*id) == current)).collect();
        items.sort_by_key(|view| std::cmp::Reverse(view.refreshed_at));
        SessionList { items }
    }

    fn of(id: SessionId, session: &Session, current: bool) -> Self {
        let origin: Option<&Origin> = session.origin.as_ref().and_then(Personal::reveal);
        Self {
            id: id.0,
            tenant: session.tenant.map(|tenant| tenant.0),
            device: session.device,
            address: origin.and_then(|origin| origin.address.clone()),
            user_agent: origin.and_then(|origin| origin.user_agent.clone()),
            began_at: session.began_at,
            refreshed_at: session.refreshed_at,
            expires_at: session.expires_at,
            current,
        }
    }
}
