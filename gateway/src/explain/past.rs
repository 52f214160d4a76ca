//! The memories of access as they were: folded from the streams that concern a question, up to a position.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use aggregates::{Application, Membership, Policy, Role, Tenant, User, membership};
use chrono::{DateTime, Utc};
use engine::history::Told;
use engine::projection::MemoryProjection;
use kernel::{Decider, Envelope, PersonId, Position, RoleId, ShardId, StreamId};
use projections::{AccessMemory, FlagMemory};
use schemas::events::{MembershipEvent, PolicyEvent, UserEvent};
use uuid::Uuid;

use super::evidence::{Evidence, Known, Name};
use super::session::Session;
use super::{About, Moment, Subject, facts, unreadable};
use crate::caller::Login;
use crate::policy::{Authorizer, PolicyMemory};
use crate::problem::Problem;
use crate::state::App;

/// How many published policies are looked for at once.
const POLICIES_AT_ONCE_MAX: usize = 100;

/// What was known at a moment, as far as a question is concerned.
pub(super) struct Past {
    pub access: AccessMemory,
    pub flags: FlagMemory,
    /// With the policies that were published then.
    pub authorizer: Arc<Authorizer>,
    pub published: BTreeMap<Uuid, PublishedThen>,
    pub evidence: Evidence,
    session: Option<Session>,
    /// The role of the tenant's own that a member was given last: others give nothing any more.
    role: Option<RoleId>,
    /// Streams that can't be folded any further.
    parked: HashSet<StreamId>,
}

/// A published policy, and the event that put it in force.
pub(super) struct PublishedThen {
    pub text: String,
    pub event: Envelope,
}

impl Past {
    /// Folds what concerns the question. It reads each stream in pages, and holds one page of each at a time.
    ///
    /// # Errors
    /// ERR-SYS-503: the journal can't be read.
    pub async fn up_to(app: &App, about: &About, moment: Moment) -> Result<Self, Problem> {
        let Moment { position: until, time } = moment;
        let (authorizer, published) = policies(app, about.endpoint.action, until).await?;
        let session = match about.subject {
            Subject::User { session, .. } => session.map(Session::new),
            Subject::Application { .. } => None,
        };
        let mut past = Self {
            access: AccessMemory::new(),
            flags: FlagMemory::new(),
            authorizer,
            published,
            evidence: Evidence::default(),
            session,
            role: custom_role(app, about, until).await?,
            parked: HashSet::new(),
        };
        past.look(about, time, None);
        let mut history = app.engine.history(streams(about, past.role), until);
        while let Some(told) = history.next().await.map_err(|error| unreadable(&error))? {
            match told {
                Told::Event(event) => {
                    past.fold(&event);
                    past.look(about, time, Some(&event));
                }
                Told::Unreadable(stream) => {
                    past.park(ShardId::default(), &stream);
                    past.look(about, time, None);
                }
            }
        }
        Ok(past)
    }

    /// As the followers of these memories do.
    fn fold(&mut self, event: &Envelope) {
        if self.parked.contains(&event.stream) {
            return;
        }
        let kind = event.stream.aggregate_type.as_ref();
        let mut folded = self.access.apply(event);
        if kind == Tenant::TYPE && folded.is_ok() {
            folded = self.flags.apply(event);
        }
        if kind == User::TYPE
            && let (Some(session), Ok(event_of_user)) = (&mut self.session, event.decode::<UserEvent>())
        {
            session.fold(event, &event_of_user);
        }
        if let Err(error) = folded {
            tracing::error!(stream = %event.stream, %error, "a stream can't be folded for an explanation");
            self.park(event.shard, &event.stream);
        }
    }

    fn park(&mut self, shard: ShardId, stream: &StreamId) {
        self.access.close(shard, stream);
        self.parked.insert(stream.clone());
    }

    fn look(&mut self, about: &About, now: DateTime<Utc>, event: Option<&Envelope>) {
        let of = facts::Sources {
            access: &self.access,
            flags: &self.flags,
            session: self.session.as_ref(),
            role: self.role,
        };
        let facts = facts::all(&of, about, now);
        self.evidence.look(facts, event);
    }

    /// The session that is asked about, as its tokens tell of it, and whether it is for this tenant alone.
    ///
    /// # Errors
    /// ERR-AUTH-440: it had not begun, or had ended. ERR-AUTH-403 `wrong_org`: it is for another tenant.
    pub fn session(&self, about: &About, now: DateTime<Utc>) -> Result<(Login, bool), Problem> {
        let session = self.session.as_ref().ok_or_else(Problem::session_ended)?;
        let begun = session.begun.filter(|begun| !session.ended && now < begun.expires_at);
        let begun = begun.ok_or_else(Problem::session_ended)?;
        if begun.tenant.is_some_and(|tenant| tenant != about.tenant) {
            return Err(Problem::forbidden("wrong_org"));
        }
        Ok((begun.login, begun.tenant.is_some()))
    }

    /// True if the subject is, or was by then, among the people of the tenant, or is an application: these are looked at
    /// by whom they are.
    pub fn knows_subject(&self, about: &About) -> bool {
        match about.subject {
            Subject::User { id, .. } => {
                self.access.membership_by_id(membership::id_of(about.tenant, id)).is_some()
            }
            Subject::Application { .. } => true,
        }
    }

    /// True if a fact is worth telling: of keys, those that are usable, and the one that was named; of a role, what it gives
    /// to whoever has it, and what it gave.
    pub fn matters(&self, about: &About, (name, known): (&Name, &Known)) -> bool {
        match about.subject {
            Subject::Application { key: Some(key), .. } => {
                name.fact != facts::KEY_SCOPES || name.of.as_deref() == Some(key.to_string().as_str())
            }
            Subject::Application { key: None, .. } => {
                name.fact != facts::KEY_SCOPES || !known.value.is_null()
            }
            Subject::User { id, .. } => {
                let membership = membership::id_of(about.tenant, id);
                name.fact != facts::ROLE_PERMISSION
                    || known.value.is_null()
                    || self.access.grants(membership).custom_role == self.role
            }
        }
    }
}

/// The streams that the question is about.
fn streams(about: &About, role: Option<RoleId>) -> Vec<StreamId> {
    let tenant = StreamId::new(Tenant::TYPE, about.tenant.0);
    match about.subject {
        Subject::Application { id, .. } => vec![tenant, StreamId::new(Application::TYPE, id.0)],
        Subject::User { id, .. } => {
            let streams = [tenant, StreamId::new(User::TYPE, id.0), member(about, id)];
            streams.into_iter().chain(role.map(|role| StreamId::new(Role::TYPE, role.0))).collect()
        }
    }
}

fn member(about: &About, person: PersonId) -> StreamId {
    StreamId::new(Membership::TYPE, membership::id_of(about.tenant, person).0)
}

/// The role that a member was given last.
async fn custom_role(app: &App, about: &About, until: Position) -> Result<Option<RoleId>, Problem> {
    let Subject::User { id, .. } = about.subject else { return Ok(None) };
    let mut history = app.engine.history(vec![member(about, id)], until);
    let mut last = None;
    while let Some(told) = history.next().await.map_err(|error| unreadable(&error))? {
        if let Told::Event(event) = told
            && let Ok(MembershipEvent::CustomRoleSet { role: Some(role) }) = event.decode()
        {
            last = Some(role);
        }
    }
    Ok(last)
}

/// What decides about an action by the policies that were published up to a position, and these.
async fn policies(
    app: &App,
    action: &str,
    until: Position,
) -> Result<(Arc<Authorizer>, BTreeMap<Uuid, PublishedThen>), Problem> {
    let cannot = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "policies of the past can't be put in force");
        Problem::unexpected()
    };
    let authorizer = Arc::new(app.authorizer.about(action).map_err(|error| cannot(&error))?);
    let (memory, mut published) = (PolicyMemory::new(authorizer.clone()), BTreeMap::new());
    let mut after = None;
    loop {
        let streams = app.engine.streams(Policy::TYPE, after, until, POLICIES_AT_ONCE_MAX).await;
        let streams = streams.map_err(|error| unreadable(&error))?;
        for stream in &streams {
            let last = last_of(app, &memory, stream, until).await?;
            let Some((PolicyEvent::Published { text }, event)) = last else { continue };
            // Reading a policy takes long, and most are in force still.
            let read = app.policies.memory.get(stream.id).filter(|known| known.sequence == event.sequence);
            let folded = match read {
                Some(known) => memory.take(event.shard, known),
                None => memory.apply(&event),
            };
            folded.map_err(|error| cannot(&error))?;
            published.insert(stream.id, PublishedThen { text: text.into(), event });
        }
        after = streams.last().map(|stream| stream.id);
        if streams.len() < POLICIES_AT_ONCE_MAX {
            return Ok((authorizer, published));
        }
    }
}

/// The last event of a policy. Of one that can't be folded none: it is closed.
async fn last_of(
    app: &App,
    memory: &PolicyMemory,
    stream: &StreamId,
    until: Position,
) -> Result<Option<(PolicyEvent, Envelope)>, Problem> {
    let mut history = app.engine.history(vec![stream.clone()], until);
    let mut last = None;
    while let Some(told) = history.next().await.map_err(|error| unreadable(&error))? {
        let read = match told {
            Told::Event(event) => event.decode().ok().map(|decoded| (decoded, *event)),
            Told::Unreadable(_) => None,
        };
        if read.is_none() {
            memory.close(ShardId::default(), stream);
            return Ok(None);
        }
        last = read;
    }
    Ok(last)
}
