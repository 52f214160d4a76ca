//! How this node is: whether it should get requests, what is wrong, and what can be done about it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Pool, PoolError};
use engine::Engine;
use engine::follow::{FollowerHealth, FollowerState, against_a_common_head};
use engine::jobs::JobRunner;
use engine::process::Processes;
use engine::projection::{Memories, Projector};
use serde::Serialize;
use tokio_postgres::error::SqlState;

use crate::policy::PolicyMemory;
use crate::state::FRESH_FOR;
use crate::view::audience::{EVERYONE, OPERATOR};
use crate::view::fields::fields;

/// How long the database may take to answer the simplest question.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// A job that has been due for so long waits because nobody takes it.
const OVERDUE_AFTER: Duration = Duration::from_secs(600);
/// Followers, or aggregates, that a hint names at most.
const NAMED_MAX: usize = 5;

/// What readiness is made of.
#[derive(Clone)]
pub struct Readiness {
    engine: Engine,
    memories: Arc<Memories>,
    projector: Arc<Projector>,
    processes: Arc<Processes>,
    policies: Arc<PolicyMemory>,
    jobs: Arc<JobRunner>,
    database: Arc<Mutex<Database>>,
    stopping: Arc<AtomicBool>,
}

/// How much of it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ComponentStatus, example = "ok")]
pub enum Status {
    Ok,
    /// It works, but not all of it: somebody should look.
    Degraded,
    /// It doesn't work now.
    Down,
}

/// One component's state.
#[derive(Clone, Debug, PartialEq, utoipa::ToSchema)]
#[schema(example = json!({
    "name": "projections", "ready": true, "status": "degraded", "detail": "parked",
    "hint": "tenant_directory: 3 events are parked: mend the fold, then run `replay dead-letters --retry tenant_directory`"
}))]
pub struct Component {
    #[schema(value_type = String)]
    pub name: &'static str,
    /// False if this node should get no requests because of it.
    pub ready: bool,
    pub status: Status,
    /// A machine's word.
    #[schema(value_type = String)]
    pub detail: &'static str,
    /// What to do next, for people; `null` if there is nothing to do.
    pub hint: Option<String>,
}

fields! { Component {
    name: EVERYONE,
    ready: EVERYONE,
    status: EVERYONE,
    detail: EVERYONE,
    // It names insides, and `/ready` answers strangers (CON-SEC-009).
    hint: OPERATOR,
} }

impl Component {
    const fn ok(name: &'static str, detail: &'static str) -> Self {
        Self { name, ready: true, status: Status::Ok, detail, hint: None }
    }

    fn degraded(name: &'static str, detail: &'static str, hint: impl Into<String>) -> Self {
        Self { name, ready: true, status: Status::Degraded, detail, hint: Some(hint.into()) }
    }

    fn down(name: &'static str, detail: &'static str, hint: impl Into<String>) -> Self {
        Self { name, ready: false, status: Status::Down, detail, hint: Some(hint.into()) }
    }
}

/// What was heard of the database last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Database {
    #[default]
    Unasked,
    Reachable,
    Busy,
    Full,
    Unreachable,
}

impl Readiness {
    pub fn new(
        engine: Engine,
        memories: Arc<Memories>,
        projector: Arc<Projector>,
        processes: Arc<Processes>,
        policies: Arc<PolicyMemory>,
        jobs: Arc<JobRunner>,
    ) -> Self {
        let (database, stopping) = Default::default();
        Self { engine, memories, projector, processes, policies, jobs, database, stopping }
    }

    /// From now on not ready: load balancers look elsewhere while what is under way ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Asks the database how it is, so that nobody who asks us makes us ask it.
    pub async fn ask_database(&self, pool: &Pool) {
        let asked = async { pool.get().await?.simple_query("").await.map_err(PoolError::Backend) };
        let heard = match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(_)) => Database::Reachable,
            Err(_) | Ok(Err(PoolError::Timeout(_))) => Database::Busy,
            Ok(Err(PoolError::Backend(error))) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => {
                Database::Full
            }
            Ok(Err(_)) => Database::Unreachable,
        };
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *database, heard) != heard {
            tracing::info!(database = ?heard, "the database's state changed");
        }
    }

    /// All components. What lags, is parked or is set aside is told of but stops no request: the others go on.
    pub fn components(&self) -> Vec<Component> {
        vec![
            self.server(),
            self.database(),
            self.journal(),
            self.access(),
            self.policies(),
            self.aggregates(),
            projections(&self.followers()),
            self.jobs(),
        ]
    }

    /// Read models in tables and in memory, and process managers, measured against one head.
    pub fn followers(&self) -> Vec<FollowerHealth> {
        let mut all = self.projector.health();
        all.extend(self.memories.health());
        all.extend(self.processes.health());
        against_a_common_head(&mut all);
        all
    }

    /// Records the gauges as they are now.
    pub fn record(&self) {
        engine::telemetry::record(&self.engine.health(), &self.followers(), &self.jobs.health());
    }

    fn server(&self) -> Component {
        if self.stopping.load(Ordering::Acquire) {
            return Component::down("server", "stopping", "it ends what is under way; ask another node");
        }
        Component::ok("server", "running")
    }

    fn database(&self) -> Component {
        let name = "database";
        match *self.database.lock().unwrap_or_else(PoisonError::into_inner) {
            Database::Unasked => Component::ok(name, "not_asked_yet"),
            Database::Reachable => Component::ok(name, "reachable"),
            Database::Busy => Component::degraded(
                name,
                "slow",
                "it doesn't answer in time: look for long transactions in pg_stat_activity and at its disk",
            ),
            Database::Full => Component::down(
                name,
                "too_many_connections",
                "all its connections are taken: end sessions that are not needed (pg_stat_activity) or raise \
                 max_connections; the server connects again by itself",
            ),
            Database::Unreachable => Component::down(
                name,
                "unreachable",
                "start PostgreSQL, or look at its log and its disk; the server connects again by itself",
            ),
        }
    }

    fn journal(&self) -> Component {
        let (name, health) = ("journal", self.engine.health());
        let again = "commands are refused with Retry-After meanwhile, nothing acknowledged is lost";
        match (health.shard, &health.trouble) {
            ("owned", None) => Component::ok(name, "owned"),
            ("owned", Some(trouble)) if trouble.contains("53100") => Component::degraded(
                name,
                "disk_full",
                format!("PostgreSQL's disk is full: make room; it goes on by itself; {again}"),
            ),
            ("owned", Some(_)) => Component::degraded(
                name,
                "refused",
                format!("PostgreSQL refused the last append: its log says why; {again}"),
            ),
            ("waiting", _) => Component::down(
                name,
                "waiting",
                "another node owns the shard, or died less than ten seconds ago: send commands to that one, or wait",
            ),
            ("recovering", _) => Component::down(
                name,
                "recovering",
                format!(
                    "the database can't be reached or a commit is being settled: look after PostgreSQL; {again}"
                ),
            ),
            _ => Component::down(name, "stopped", "the server is ending; ask another node"),
        }
    }

    fn access(&self) -> Component {
        let name = "access";
        if !self.memories.are_ready(FRESH_FOR) {
            let stuck = self.memories.health().iter().any(|health| health.state == FollowerState::Stuck);
            return if stuck {
                Component::down(name, "stuck", "it met an event it can't fold: deploy a binary that can")
            } else {
                Component::down(
                    name,
                    "catching_up",
                    "it reads the journal, or can't: wait, and look after the database if this lasts",
                )
            };
        }
        let closed: u64 = self.memories.health().iter().map(|health| health.dead_letters).sum();
        if closed > 0 {
            return Component::degraded(
                name,
                "closed_streams",
                "streams that can't be folded open nothing: deploy a binary that can fold them, and start it",
            );
        }
        Component::ok(name, "current")
    }

    fn policies(&self) -> Component {
        let name = "policies";
        let unreadable = self.policies.unreadable();
        if !unreadable.is_empty() {
            let named: Vec<String> = unreadable.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let hint = format!(
                "{} published policies can't be read by this server and refuse what they name: look at them under \
                 /api/operator/policies, and publish them anew or withdraw them: {}",
                unreadable.len(),
                named.join(", ")
            );
            return Component::degraded(name, "unreadable", hint);
        }
        let erring = self.policies.authorizer().erring();
        if erring.is_empty() {
            return Component::ok(name, "in_force");
        }
        let named: Vec<String> =
            erring.iter().take(NAMED_MAX).map(|(policy, times)| format!("{policy} {times} times")).collect();
        let hint = format!(
            "policies could not be evaluated, and refused: mend or withdraw them; the log says why: {}",
            named.join(", ")
        );
        Component::degraded(name, "erring", hint)
    }

    fn aggregates(&self) -> Component {
        let set_aside = self.engine.health().quarantined;
        if set_aside.is_empty() {
            return Component::ok("aggregates", "fine");
        }
        let named: Vec<&str> = set_aside.iter().take(NAMED_MAX).map(|one| one.stream.as_str()).collect();
        let hint = format!(
            "{} aggregates can't be loaded and are set aside, their neighbours work on: look at them with `replay inspect \
             {}`, and deploy a binary that reads them; they are tried again by themselves",
            set_aside.len(),
            named.join(", ")
        );
        Component::degraded("aggregates", "quarantined", hint)
    }

    fn jobs(&self) -> Component {
        let (name, health) = ("jobs", self.jobs.health());
        let words = health.words.join(", ");
        if let Some(trouble) = health.trouble {
            Component::degraded(name, "unreadable", format!("{trouble}: look after the database; they wait"))
        } else if health.died_lately > 0 {
            let hint = format!(
                "{} jobs died within a day ({words}): docs/operations.md says what the words mean and how they are tried \
                 again",
                health.died_lately
            );
            Component::degraded(name, "dead", hint)
        } else if health.struggling > 0 {
            let hint = format!(
                "{} jobs failed several times ({words}) and are tried again with growing pauses: docs/operations.md says \
                 what the words mean",
                health.struggling
            );
            Component::degraded(name, "retrying", hint)
        } else if health.overdue > OVERDUE_AFTER {
            Component::degraded(
                name,
                "overdue",
                "jobs that are due are not taken: a binary that can do them is missing, or there are too many",
            )
        } else {
            Component::ok(name, "working")
        }
    }
}

fn projections(followers: &[FollowerHealth]) -> Component {
    let ill: Vec<&FollowerHealth> = followers.iter().filter(|follower| !follower.is_healthy()).collect();
    if ill.is_empty() {
        return Component::ok("projections", "following");
    }
    let is = |state| ill.iter().any(|follower| follower.state == state);
    let detail = if is(FollowerState::Stuck) {
        "stuck"
    } else if is(FollowerState::Retrying) {
        "retrying"
    } else if ill.iter().any(|follower| follower.dead_letters > 0) {
        "parked"
    } else {
        "starting"
    };
    let named = ill.iter().take(NAMED_MAX).map(|follower| {
        let advice = follower.advice.as_deref().unwrap_or("it is not there yet: wait");
        format!("{} is {} events behind: {advice}", follower.name, follower.lag_events)
    });
    Component::degraded("projections", detail, named.collect::<Vec<_>>().join("; "))
}
