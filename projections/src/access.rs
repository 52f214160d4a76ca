//! Access in memory: who may still do anything. Folded for every request's checks, so it fails closed.

mod application;
mod grants;
mod sign_in;
mod sso;
mod tenant;
mod tokens;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, TimeDelta, Utc};
use engine::projection::{FoldError, MemoryProjection};
use kernel::{
    ApplicationId, Envelope, KeyId, MembershipId, PasskeyId, PersonId, Position, RoleId, SessionId, ShardId,
    StreamId, TenantId,
};
use schemas::events::{MembershipEvent, TenantEvent, UserEvent};
use schemas::values::{ApplicationStatus, MembershipKind, MembershipStatus, Role, UserStatus};
use uuid::Uuid;

pub use application::KeyAccess;
use grants::GrantBook;
pub use grants::{MemberGrants, RoleAccess};
use sso::SsoBook;
pub use tenant::TenantAccess;
pub use tokens::TokenAccess;
use tokens::TokenBook;

/// For how long an ended session is remembered: longer than the longest access token, 15 minutes, with room for clocks
/// that differ. After that no token of it is valid anyway.
const ENDED_FOR: TimeDelta = TimeDelta::minutes(30);

/// What every access check asks: keys, applications, tenants, people and memberships as they are now.
#[derive(Debug, Default)]
pub struct AccessMemory {
    known: RwLock<Known>,
}

/// A person's place in a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberAccess {
    pub membership: MembershipId,
    pub tenant: TenantId,
    pub person: PersonId,
    pub role: Role,
    pub kind: MembershipKind,
    pub status: MembershipStatus,
    /// False while it is only an invitation, disabled or not.
    pub accepted: bool,
    /// A second factor is asked of them, whatever the tenant asks of all.
    pub mfa_required: bool,
    /// What began before has ended: the membership has another role, or was disabled or removed.
    pub ended_at: Position,
    /// When that was.
    pub ended_on: DateTime<Utc>,
}

impl MemberAccess {
    fn end(&mut self, by: &Envelope) {
        (self.ended_at, self.ended_on) = (by.position, by.recorded_at);
    }
}

#[derive(Clone, Debug)]
struct Person {
    active: bool,
    disabled: bool,
    /// What they have as a second factor to sign in with.
    one_time_codes: bool,
    passkeys: BTreeSet<PasskeyId>,
    /// What began before has ended: the password changed, the person was disabled, or all sessions were ended.
    ended_at: Position,
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<KeyId, (ShardId, KeyAccess)>,
    applications: HashMap<ApplicationId, (ShardId, bool)>,
    tenants: HashMap<TenantId, (ShardId, TenantAccess)>,
    people: HashMap<PersonId, (ShardId, Person)>,
    memberships: HashMap<MembershipId, (ShardId, MemberAccess)>,
    by_person: HashMap<(TenantId, PersonId), MembershipId>,
    /// What members were given beside their roles.
    grants: GrantBook,
    /// What people's scripts act with.
    tokens: TokenBook,
    /// Whom tenants' people sign in by.
    sso: SsoBook,
    /// Every membership a person ever had.
    of_person: HashMap<PersonId, BTreeSet<MembershipId>>,
    /// Sessions that ended by themselves, while a token of theirs may be valid.
    ended: HashMap<SessionId, ShardId>,
    /// The same in the order they ended, with the time.
    ended_in_order: VecDeque<(DateTime<Utc>, SessionId)>,
    /// Streams that can't be folded: what they say opens nothing.
    closed: HashMap<StreamId, ShardId>,
}

impl AccessMemory {
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key, also one that is revoked; `None` if it was never issued.
    pub fn key(&self, key: KeyId) -> Option<KeyAccess> {
        let known = self.read();
        let (_, access) = known.keys.get(&key)?;
        let application_disabled = known.is_closed("application", access.application.0)
            || known.applications.get(&access.application).is_none_or(|(_, disabled)| *disabled);
        Some(KeyAccess { application_disabled, ..access.clone() })
    }

    /// Every key of an application, also those that are revoked, in the order of their ids. All keys there are are looked at.
    pub fn keys_of(&self, application: ApplicationId) -> Vec<KeyAccess> {
        let of = |(key, (_, access)): (&KeyId, &(ShardId, KeyAccess))| {
            (access.application == application).then_some(*key)
        };
        let keys: BTreeSet<KeyId> = self.read().keys.iter().filter_map(of).collect();
        keys.into_iter().filter_map(|key| self.key(key)).collect()
    }

    /// Whether an application may do anything; `None`: it was never registered. One whose stream can't be folded counts as
    /// disabled.
    pub fn application(&self, application: ApplicationId) -> Option<ApplicationStatus> {
        let known = self.read();
        let disabled = known.applications.get(&application).map(|(_, disabled)| *disabled);
        let disabled = disabled.map(|disabled| disabled || known.is_closed("application", application.0));
        disabled
            .map(|disabled| if disabled { ApplicationStatus::Disabled } else { ApplicationStatus::Active })
    }

    /// True if an application is registered and not disabled.
    pub fn application_is_active(&self, application: ApplicationId) -> bool {
        self.application(application) == Some(ApplicationStatus::Active)
    }

    /// What may be done in a tenant; `None` if it isn't there, or if its stream can't be folded.
    pub fn tenant(&self, tenant: TenantId) -> Option<TenantAccess> {
        let known = self.read();
        let access = known.tenants.get(&tenant).map(|(_, access)| *access);
        access.filter(|_| !known.is_closed("tenant", tenant.0))
    }

    /// True if a tenant's stream can't be folded, so that nobody knows what may be done in it.
    pub fn tenant_is_closed(&self, tenant: TenantId) -> bool {
        self.read().is_closed("tenant", tenant.0)
    }

    /// A person whose stream can't be folded counts as disabled.
    pub fn person(&self, person: PersonId) -> Option<UserStatus> {
        let known = self.read();
        if known.is_closed("user", person.0) {
            return Some(UserStatus::Disabled);
        }
        known.people.get(&person).map(|(_, person)| match (person.disabled, person.active) {
            (true, _) => UserStatus::Disabled,
            (false, true) => UserStatus::Active,
            (false, false) => UserStatus::Invited,
        })
    }

    /// True if a session of a person's that began at a place in the journal goes on, as far as the person is concerned. A
    /// token that is no session's begins with the last event that was known when it was made.
    /// A tenant and a membership may have ended it too: they say so themselves.
    pub fn session_stands(&self, person: PersonId, session: SessionId, began_at: Position) -> bool {
        let known = self.read();
        !known.ended.contains_key(&session) && known.person_stands(person, began_at)
    }

    /// The memberships of a person that are active, in the order of their ids.
    pub fn active_memberships(&self, person: PersonId) -> Vec<MemberAccess> {
        let known = self.read();
        let all = known.of_person.get(&person).into_iter().flatten();
        all.filter(|membership| !known.is_closed("membership", membership.0))
            .filter_map(|membership| known.memberships.get(membership))
            .map(|(_, access)| *access)
            .filter(|access| access.status == MembershipStatus::Active)
            .collect()
    }

    /// All memberships of a person but those that were removed, also invitations. `None`: one can't be folded, so nobody
    /// knows whose it is.
    pub fn memberships(&self, person: PersonId) -> Option<Vec<MemberAccess>> {
        let known = self.read();
        if known.closed.keys().any(|stream| stream.aggregate_type == "membership") {
            return None;
        }
        let all = known.of_person.get(&person).into_iter().flatten();
        let all = all.filter_map(|membership| known.memberships.get(membership)).map(|(_, access)| *access);
        Some(all.filter(|access| access.status != MembershipStatus::Removed).collect())
    }

    /// True if a person belongs to a tenant other than this one, be it as an invited or a disabled member. What a stranger
    /// registered in their name makes them belong nowhere before they have verified it.
    pub fn belongs_elsewhere(&self, person: PersonId, tenant: TenantId) -> bool {
        let known = self.read();
        let memberships = known.of_person.get(&person).into_iter().flatten();
        let mut memberships = memberships.filter_map(|membership| known.memberships.get(membership));
        // Whose a membership is that can't be folded, nobody knows.
        known.closed.keys().any(|stream| stream.aggregate_type == "membership")
            || memberships.any(|(_, access)| {
                let unverified = known.tenants.get(&access.tenant).is_some_and(|(_, it)| it.unverified);
                access.tenant != tenant && access.status != MembershipStatus::Removed && !unverified
            })
    }

    /// A membership by its id, also one that is disabled or removed.
    pub fn membership_by_id(&self, membership: MembershipId) -> Option<MemberAccess> {
        self.read().memberships.get(&membership).map(|(_, access)| *access)
    }

    /// A person's membership in a tenant, also one that is disabled or removed.
    pub fn membership(&self, tenant: TenantId, person: PersonId) -> Option<MemberAccess> {
        let known = self.read();
        let membership = known.by_person.get(&(tenant, person))?;
        if known.is_closed("membership", membership.0) {
            return None;
        }
        known.memberships.get(membership).map(|(_, access)| *access)
    }
}

impl Known {
    fn is_closed(&self, kind: &'static str, id: Uuid) -> bool {
        !self.closed.is_empty() && self.closed.contains_key(&StreamId::new(kind, id))
    }

    fn person(&mut self, envelope: &Envelope, id: PersonId, event: UserEvent) -> Result<(), FoldError> {
        let Envelope { shard, position, recorded_at, .. } = *envelope;
        if let UserEvent::Registered { status, .. } = event {
            let person = Person {
                active: status == UserStatus::Active,
                disabled: status == UserStatus::Disabled,
                one_time_codes: false,
                passkeys: BTreeSet::new(),
                ended_at: Position::ZERO,
            };
            self.people.insert(id, (shard, person));
            return Ok(());
        }
        if let UserEvent::SessionRevoked { session, .. } | UserEvent::RefreshReuseDetected { session } = event
        {
            self.end(shard, session, recorded_at);
            return Ok(());
        }
        let person = &mut self.people.get_mut(&id).ok_or_else(|| unknown("person"))?.1;
        self.tokens.fold(envelope, id, person.ended_at, &event);
        match event {
            UserEvent::Activated {} => person.active = true,
            UserEvent::Disabled { .. } | UserEvent::SubjectForgotten {} => {
                (person.disabled, person.ended_at) = (true, position);
            }
            UserEvent::Enabled {} => person.disabled = false,
            UserEvent::MfaEnrolled { .. } => person.one_time_codes = true,
            UserEvent::MfaRemoved {} => person.one_time_codes = false,
            UserEvent::PasskeyAdded { passkey, .. } => {
                person.passkeys.insert(passkey);
            }
            UserEvent::PasskeyRemoved { passkey } => {
                person.passkeys.remove(&passkey);
            }
            UserEvent::PasswordChanged { .. } | UserEvent::SessionsRevoked { .. } => {
                person.ended_at = position;
            }
            // Registered, tokens and the end of one session were folded above; the others end nothing and open nothing.
            UserEvent::Registered { .. }
            | UserEvent::TokenIssued { .. }
            | UserEvent::TokenRevoked { .. }
            | UserEvent::ProfileUpdated { .. }
            | UserEvent::EmailChanged { .. }
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::PasswordResetRequested { .. }
            | UserEvent::LoginSucceeded { .. }
            | UserEvent::LoginChallenged { .. }
            | UserEvent::TokenRefreshed { .. }
            | UserEvent::RefreshReuseDetected { .. }
            | UserEvent::SessionRevoked { .. }
            | UserEvent::MfaVerified { .. }
            | UserEvent::PasskeyUsed { .. }
            | UserEvent::RecoveryCodesReplaced { .. } => {}
        }
        Ok(())
    }

    /// Remembers an ended session, and forgets those whose tokens have all expired. Times of the journal never decrease.
    fn end(&mut self, shard: ShardId, session: SessionId, at: DateTime<Utc>) {
        while let Some((ended, former)) = self.ended_in_order.front()
            && *ended + ENDED_FOR < at
        {
            self.ended.remove(former);
            self.ended_in_order.pop_front();
        }
        if self.ended.insert(session, shard).is_none() {
            self.ended_in_order.push_back((at, session));
        }
    }

    fn membership(
        &mut self,
        envelope: &Envelope,
        membership: MembershipId,
        event: MembershipEvent,
    ) -> Result<(), FoldError> {
        let shard = envelope.shard;
        self.grants.membership(shard, membership, &event);
        if let MembershipEvent::Invited { tenant, person, role, kind, .. } = event {
            let access = MemberAccess {
                membership,
                tenant,
                person,
                role,
                kind,
                status: MembershipStatus::Invited,
                accepted: false,
                mfa_required: false,
                ended_at: envelope.position,
                ended_on: envelope.recorded_at,
            };
            self.memberships.insert(membership, (shard, access));
            self.by_person.insert((tenant, person), membership);
            self.of_person.entry(person).or_default().insert(membership);
            return Ok(());
        }
        let access = &mut self.memberships.get_mut(&membership).ok_or_else(|| unknown("membership"))?.1;
        match event {
            MembershipEvent::Accepted {} => {
                access.accepted = true;
                access.status = MembershipStatus::Active;
            }
            MembershipEvent::Enabled {} => {
                access.status =
                    if access.accepted { MembershipStatus::Active } else { MembershipStatus::Invited };
            }
            MembershipEvent::RoleChanged { to, .. } => {
                access.role = to;
                access.end(envelope);
            }
            MembershipEvent::KindChanged { to, .. } => access.kind = to,
            MembershipEvent::SecurityChanged { mfa_required } => access.mfa_required = mfa_required,
            MembershipEvent::Disabled {} => {
                access.status = MembershipStatus::Disabled;
                access.end(envelope);
            }
            MembershipEvent::Removed {} => {
                access.status = MembershipStatus::Removed;
                access.end(envelope);
            }
            // Invited was folded above; a link that was sent anew changes no access.
            MembershipEvent::Invited { .. }
            | MembershipEvent::Resent { .. }
            | MembershipEvent::SsoLinked { .. } => {}
            // What a member was given ends nothing: it is asked anew for each request.
            MembershipEvent::CustomRoleSet { .. }
            | MembershipEvent::PermissionGranted { .. }
            | MembershipEvent::PermissionRevoked { .. }
            | MembershipEvent::ModuleGranted { .. }
            | MembershipEvent::ModuleRevoked { .. }
            | MembershipEvent::DelegationChanged { .. } => {}
        }
        Ok(())
    }
}

fn unknown(what: &str) -> FoldError {
    FoldError::Event(format!("it is about a {what} that is not there"))
}

impl MemoryProjection for AccessMemory {
    fn name(&self) -> &'static str {
        "access"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["tenant", "user", "membership", "application", "role"]
    }

    fn fails_closed(&self) -> bool {
        true
    }

    fn reset(&self, shard: ShardId) {
        let mut known = self.write();
        let Known {
            keys,
            applications,
            tenants,
            people,
            memberships,
            by_person,
            grants,
            tokens,
            sso,
            of_person,
            ended,
            ended_in_order,
            closed,
        } = &mut *known;
        closed.retain(|_, of| *of != shard);
        grants.reset(shard);
        tokens.reset(shard);
        sso.reset(shard);
        ended.retain(|_, of| *of != shard);
        ended_in_order.retain(|(_, session)| ended.contains_key(session));
        keys.retain(|_, (of, _)| *of != shard);
        applications.retain(|_, (of, _)| *of != shard);
        tenants.retain(|_, (of, _)| *of != shard);
        people.retain(|_, (of, _)| *of != shard);
        memberships.retain(|_, (of, _)| *of != shard);
        by_person.retain(|_, membership| memberships.contains_key(membership));
        of_person.retain(|_, all| {
            all.retain(|membership| memberships.contains_key(membership));
            !all.is_empty()
        });
    }

    fn close(&self, shard: ShardId, stream: &StreamId) -> bool {
        let mut known = self.write();
        known.grants.close(shard, stream);
        known.closed.insert(stream.clone(), shard);
        true
    }

    fn apply(&self, event: &Envelope) -> Result<(), FoldError> {
        let (shard, id) = (event.shard, event.stream.id);
        // Decoded before the lock is taken: requests wait for the change only.
        match event.stream.aggregate_type.as_ref() {
            "tenant" => {
                let change: Arc<TenantEvent> = event.event()?;
                let mut known = self.write();
                let tenant = &mut known.tenants.entry(TenantId(id)).or_insert((shard, TenantAccess::NEW)).1;
                let before = *tenant;
                tenant.fold(&change, event.position, event.recorded_at);
                let after = *tenant;
                known.grants.tenant(shard, TenantId(id), &change, (before, after));
                known.sso.fold(shard, TenantId(id), &change, event.position);
            }
            "user" => {
                let change = Arc::unwrap_or_clone(event.event()?);
                self.write().person(event, PersonId(id), change)?;
            }
            "membership" => {
                let change = Arc::unwrap_or_clone(event.event()?);
                self.write().membership(event, MembershipId(id), change)?;
            }
            "role" => {
                let change = Arc::unwrap_or_clone(event.event()?);
                self.write().grants.role(shard, RoleId(id), change)?;
            }
            _ => {
                let change = Arc::unwrap_or_clone(event.event()?);
                self.write().application(shard, ApplicationId(id), change)?;
            }
        }
        Ok(())
    }
}
